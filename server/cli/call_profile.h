// Where a run spent its time among the functions that are probed, and, if
// wanted, each of their calls as a line.
//
// Own time is that between a function's entry and its end in which no other
// probed function was open further in: functions that are not probed, and host
// functions, count to the one that called them. Total time is from entry to
// end, and of a function that is open several times (recursion) the outermost
// call's alone. Probes take time themselves, which counts as the guest's.
//
// Threads: the Store's. Memory is bounded: by the functions that are probed, by
// the calls that the guest's stack has room for, and by kTraceLinesMax.

#ifndef CALLGATE_SERVER_CLI_CALL_PROFILE_H_
#define CALLGATE_SERVER_CLI_CALL_PROFILE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "runtime/probe.h"
#include "server/probing_hook.h"

namespace callgate::cli {

// Of one probed function.
struct FunctionTimes {
  // Untrusted bytes.
  std::string module;
  std::string name;  // may be empty
  uint32_t func_index = 0;
  uint64_t calls = 0;
  absl::Duration total;
  absl::Duration own;
};

// What is told of it.
struct ProbeReport {
  std::vector<FunctionTimes> functions;  // by own time, the longest first
  std::vector<std::string> trace;        // lines, escaped
  uint64_t trace_lines_omitted = 0;
};

class CallProfile final : public ProbeWatcher {
 public:
  static constexpr size_t kTraceLinesMax = 1'000;
  // Of a line; what is further in is not indented further.
  static constexpr size_t kIndentMax = 40;
  static constexpr size_t kArgumentsMax = 16;

  // Must not go backwards.
  using Clock = std::function<absl::Time()>;

  CallProfile(Clock clock, bool keeps_trace);

  void OnEnter(const FunctionEntry& entry) override;
  void OnLeave(const FunctionExit& exit) override;

  // The functions that were called, and of the lines, "  > parse(1, 0.5)" and
  // "  < parse: trap", the first kTraceLinesMax.
  ProbeReport Report() const;

 private:
  struct Known {
    FunctionTimes times;
    uint32_t open = 0;
  };
  struct Open {
    uint32_t probe = 0;
    absl::Time since;
  };

  // Since the last event, to the innermost open function.
  void CountTime(absl::Time now);
  // Null: it is one line too many, and has been counted.
  std::string* NewTraceLine(uint32_t depth, const ProbedFunction& function,
                            char sign);

  const Clock clock_;
  const bool keeps_trace_;
  std::vector<Known> known_;  // by probe
  std::vector<Open> open_;
  absl::Time last_;
  std::vector<std::string> trace_;
  uint64_t trace_lines_omitted_ = 0;
};

// "parse", escaped and cut to a readable length, or "#12" where it has no name.
std::string FunctionLabel(const std::string& name, uint32_t func_index);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_CALL_PROFILE_H_
