#include "policy/hook/call_sites.h"

#include <algorithm>

namespace callgate::policy {

uint32_t CallSites::SiteOf(CallContext& call) {
  if (entries_.empty()) entries_.resize(kRemembered);
  Entry asked;
  asked.binding = call.function().binding;
  uint64_t mixed = asked.binding;
  if (words_ > 0) {
    asked.count = static_cast<uint32_t>(
        call.CallChain(absl::MakeSpan(asked.words).first(words_)));
    for (uint32_t i = 0; i < asked.count; ++i) {
      mixed = (mixed ^ asked.words[i]) * 0x9e3779b97f4a7c15;
      mixed ^= mixed >> 32;
    }
  }
  // Two places, the newer in the first.
  Entry* const places = &entries_[mixed % (kRemembered / 2) * 2];
  const auto is_asked = [&asked](const Entry& entry) {
    return entry.binding == asked.binding && entry.count == asked.count &&
           std::equal(entry.words.begin(), entry.words.begin() + entry.count,
                      asked.words.begin());
  };
  if (is_asked(places[0])) return places[0].site;
  if (is_asked(places[1])) return places[1].site;
  asked.site = LookUp(call, asked);
  places[1] = places[0];
  places[0] = asked;
  return asked.site;
}

uint32_t CallSites::LookUp(CallContext& call, const Entry& asked) {
  std::array<uint32_t, anomaly::kSiteFunctionsMax> functions;
  const size_t count =
      call.ChainFunctions(absl::MakeConstSpan(asked.words).first(asked.count),
                          absl::MakeSpan(functions));
  return stream_.AddSite(call.function().module, call.function().name,
                         absl::MakeConstSpan(functions).first(count));
}

anomaly::ErrnoClass ErrnoClassOf(const CallContext& call) {
  using anomaly::ErrnoClass;
  if (call.ending() != Ending::kValue && call.ending() != Ending::kAnswered) {
    return ErrnoClass::kStopped;
  }
  const HostFunctionSpec* spec = call.function().spec;
  if (spec == nullptr || !spec->errno_result || call.results().empty()) {
    return ErrnoClass::kOk;
  }
  return anomaly::ClassOfErrno(call.results()[0].u32());
}

}  // namespace callgate::policy
