#include "server/engine_gauges.h"

#include "absl/time/time.h"

namespace callgate {

void EngineGauges::Refresh() {
  const HostedEngine::Stats now = engine_.stats();
  const auto compilations = [&](const char* outcome, uint64_t before,
                                uint64_t after) {
    metrics_.CountCompilations(outcome, after - before);
  };
  const auto& was = last_.compiler;
  const auto& is = now.compiler;
  compilations("compiled", was.compiles, is.compiles);
  compilations("refused", was.refused, is.refused);
  compilations("crashed", was.crashed, is.crashed);
  compilations("timed_out", was.timed_out, is.timed_out);
  compilations("over_memory", was.over_memory, is.over_memory);
  compilations("bad_answer", was.bad_answers, is.bad_answers);
  compilations("unavailable", was.unavailable, is.unavailable);
  compilations("queue_full", was.queue_full, is.queue_full);
  compilations("tenant_queue_full", was.account_queue_full,
               is.account_queue_full);
  compilations("over_tenant_time", was.over_account_time, is.over_account_time);
  metrics_.CountCompileTime(
      "baseline", absl::FromChrono(is.baseline_time - was.baseline_time));
  metrics_.CountCompileTime(
      "optimised", absl::FromChrono(is.optimised_time - was.optimised_time));
  metrics_.CountOptimised("done", now.optimised - last_.optimised);
  metrics_.CountOptimised("failed", now.not_optimised - last_.not_optimised);
  metrics_.CountCacheLookups("hit", now.cache.hits - last_.cache.hits);
  // A corrupt entry is a miss, too, and one thing here.
  metrics_.CountCacheLookups("miss",
                             (now.cache.misses - now.cache.corrupt) -
                                 (last_.cache.misses - last_.cache.corrupt));
  metrics_.CountCacheLookups("corrupt",
                             now.cache.corrupt - last_.cache.corrupt);
  metrics_.SetCacheBytes(now.cache.bytes);
  last_ = now;
}

}  // namespace callgate
