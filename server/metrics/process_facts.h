// What the system says about this process, for the process_* families.

#ifndef CALLGATE_SERVER_METRICS_PROCESS_FACTS_H_
#define CALLGATE_SERVER_METRICS_PROCESS_FACTS_H_

namespace callgate::metrics {

// A fact that the system does not tell is 0.
struct ProcessFacts {
  double cpu_seconds = 0;
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double open_fds = 0;
  double max_fds = 0;
  double start_time_seconds = 0;
};

// Any thread.
ProcessFacts ReadProcessFacts();

}  // namespace callgate::metrics

#endif  // CALLGATE_SERVER_METRICS_PROCESS_FACTS_H_
