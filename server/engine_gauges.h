// What the engine counts, put on the metrics page.

#ifndef CALLGATE_SERVER_ENGINE_GAUGES_H_
#define CALLGATE_SERVER_ENGINE_GAUGES_H_

#include "runtime/native/hosted_engine.h"
#include "server/metrics/metrics.h"

namespace callgate {

// Turns totals into increases. One thread at a time; both outlive it.
class EngineGauges {
 public:
  EngineGauges(const HostedEngine& engine, metrics::Metrics& metrics)
      : engine_(engine), metrics_(metrics) {}

  void Refresh();

 private:
  const HostedEngine& engine_;
  metrics::Metrics& metrics_;
  HostedEngine::Stats last_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_ENGINE_GAUGES_H_
