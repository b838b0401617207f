#include "runtime/native/worker/limits.h"

#include <algorithm>

namespace callgate::native {
namespace {

constexpr int kWallFactor = 10;

std::chrono::milliseconds TimeOf(const Order& order,
                                 const CompileLimits& limits) {
  const CompileTime& time = order.request.level == Level::kOptimised
                                ? limits.optimised
                                : limits.baseline;
  const auto kibibytes =
      static_cast<int64_t>((order.module_bytes + 1023) / 1024);
  return std::min(time.max, time.base + kibibytes * time.per_kibibyte);
}

}  // namespace

std::chrono::seconds ProcessorTimeOf(const Order& order,
                                     const CompileLimits& limits) {
  return std::chrono::ceil<std::chrono::seconds>(TimeOf(order, limits));
}

std::chrono::milliseconds WallTimeOf(const Order& order,
                                     const CompileLimits& limits) {
  return kWallFactor * TimeOf(order, limits);
}

Order MakeOrder(const CompileRequest& request, uint64_t module_bytes,
                const CompileLimits& limits) {
  Order order;
  order.request = request;
  order.module_bytes = module_bytes;
  order.memory_bytes =
      limits.memory_bytes + module_bytes * limits.memory_bytes_per_module_byte;
  order.answer_bytes_max = std::min(limits.answer_bytes, kAnswerBytesCeiling);
  order.cpu_seconds =
      static_cast<uint64_t>(ProcessorTimeOf(order, limits).count());
  return order;
}

}  // namespace callgate::native
