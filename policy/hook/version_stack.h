// The versions of a Store's rules that are in use: the one by which the next
// call is judged, and while host calls are in progress that began under earlier
// ones, those.
//
// A host call is told by its depth: of two in progress the one further in has
// the greater. A version that came at the call of depth d judges every call
// from there inwards, and later all calls; those further out that had begun
// before end under theirs. The Store's thread.

#ifndef CALLGATE_POLICY_HOOK_VERSION_STACK_H_
#define CALLGATE_POLICY_HOOK_VERSION_STACK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "policy/hook/rules_version.h"
#include "runtime/check.h"

namespace callgate::policy {

class VersionStack {
 public:
  // Where versions go that nothing needs any more.
  using Retire = std::function<void(std::unique_ptr<RulesVersion>)>;

  explicit VersionStack(std::unique_ptr<RulesVersion> first) {
    in_use_.push_back({std::move(first), 0});
  }

  RulesVersion& current() const { return *in_use_.back().version; }
  bool has_older() const { return in_use_.size() > 1; }

  // At the beginning of a host call of this depth, or, with depth 0, outside of
  // any: `next` is current from there on.
  void Adopt(std::unique_ptr<RulesVersion> next, uint32_t depth,
             const Retire& retire) {
    CALLGATE_CHECK(next != nullptr, "a version has rules");
    // No call further out began under these.
    while (in_use_.size() > 0 &&
           (in_use_.back().from >= depth || depth <= kOutermostDepth)) {
      retire(std::move(in_use_.back().version));
      in_use_.pop_back();
    }
    in_use_.push_back({std::move(next), depth <= kOutermostDepth ? 0 : depth});
  }

  // The same without a new version, where there are older ones.
  void Begin(uint32_t depth, const Retire& retire) {
    Entry newest = std::move(in_use_.back());
    in_use_.pop_back();
    if (depth < newest.from) newest.from = depth;
    while (!in_use_.empty() &&
           (in_use_.back().from >= newest.from || depth <= kOutermostDepth)) {
      retire(std::move(in_use_.back().version));
      in_use_.pop_back();
    }
    if (in_use_.empty()) newest.from = 0;
    in_use_.push_back(std::move(newest));
  }

  // The version under which the host call in progress at `depth` began.
  RulesVersion& At(uint32_t depth) const {
    for (size_t i = in_use_.size(); i-- > 1;) {
      if (depth >= in_use_[i].from) return *in_use_[i].version;
    }
    return *in_use_.front().version;
  }

 private:
  // An embedder's call into the guest is 1, the guest's call of the host 2.
  static constexpr uint32_t kOutermostDepth = 2;

  struct Entry {
    std::unique_ptr<RulesVersion> version;
    // It judges the calls in progress from this depth on.
    uint32_t from = 0;
  };
  // Never empty but within a function; newest last, `from` ascending.
  std::vector<Entry> in_use_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_VERSION_STACK_H_
