#include "policy/trial/trace_fuzz.h"

#include <memory>
#include <string>

#include "policy/compiler/policy_compiler.h"
#include "policy/trial/replay.h"
#include "policy/trial/trace_reader.h"
#include "runtime/check.h"

namespace callgate::policy::trial {
namespace {

// Reads what it can of every call.
std::shared_ptr<const Policy> NosyPolicy() {
  static const auto* const policy =
      new std::shared_ptr<const Policy>(CompilePolicyText(R"(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: nosy }
defaults: { unlisted_import: log }
budgets: { host_calls_per_call: 3, memory_bytes_total: 100000 }
imports:
  - { import: net.send, action: allow, args: [ { name: data, index: 0, type: bytes, len_index: 1 } ] }
rules:
  - { id: path, when: 'has(args.path) && args.path.startsWith("/a")', action: deny }
  - { id: data, when: 'has(args.data) && size(args.data) > 3', action: alert }
  - { id: fd, when: 'has(args.fd.path) && args.fd.path == "/b"', action: trap, mode: audit }
  - { id: grown, event: memory_grow, when: 'store.memory_bytes + store.fuel_used > 9', action: deny }
  - { id: inner, event: function, function: 'par*', when: 'args.p0 > 2', action: log }
  - { id: rich, when: 'store.fuel_used > 5', action: log }
  - { id: site, when: 'call.site == 7 || call.caller == "main"', action: log }
)",
                                                          "nosy")
                                            .policy);
  CALLGATE_CHECK(*policy != nullptr, "it compiles");
  return *policy;
}

// Makes the checksums of all whole frames good.
void Repair(std::string* trace) {
  size_t at = kTraceMagicBytes;
  while (at < trace->size()) {
    size_t length = 0;
    size_t bytes = 0;
    while (at + bytes < trace->size() && bytes < 4) {
      const auto byte = static_cast<uint8_t>((*trace)[at + bytes]);
      length |= static_cast<size_t>(byte & 0x7f) << (7 * bytes);
      ++bytes;
      if ((byte & 0x80) == 0) break;
    }
    at += bytes;
    if (length > trace->size() || at + length + 4 > trace->size()) return;
    uint32_t sum = TraceChecksum(absl::string_view(*trace).substr(at, length));
    at += length;
    for (int i = 0; i < 4; ++i, sum >>= 8) {
      (*trace)[at++] = static_cast<char>(sum);
    }
  }
}

}  // namespace
}  // namespace callgate::policy::trial

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace callgate::policy::trial;  // NOLINT: this is a function of C
  if (size == 0) return 0;
  // SAFETY: bytes may be looked at as characters.
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 1) != 0) Repair(&bytes);
  ReplayOptions options;
  options.judges = [](const ReplayedStore&) {
    return ReplayJudges{{NosyPolicy()}, false};
  };
  const auto run = [&] {
    TraceReader reader(bytes);
    ReplayReport report;
    const absl::Status status = Replay(reader, options, &report);
    CALLGATE_CHECK(report.changed <= report.events &&
                       report.changes.size() <= ReplayReport::kChangesMax,
                   "what is reported is bounded");
    return absl::StrCat(status.ToString(), report.ToString());
  };
  CALLGATE_CHECK(run() == run(), "a replay depends on the trace alone");
  return 0;
}
