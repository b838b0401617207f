// A leaf function of which the hook wants events (leaf_function.h).
//
// Nothing but the hook and the function's body runs in such a call: no guest,
// no other host function, no growth. So of what the Store does around a host
// call only what the hook can ask for has to be there, and all of that which is
// the same for every call is made once, when the function is linked: the event,
// whom it is about, and room for the arguments, which the hook sees after the
// call, too. Not where the hook may call guests itself.
//
// What the hook says other than "proceed" is done as for any host function.

#ifndef CALLGATE_RUNTIME_WATCHED_LEAF_H_
#define CALLGATE_RUNTIME_WATCHED_LEAF_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "runtime/backend.h"
#include "runtime/hook_call.h"
#include "runtime/store_impl.h"

namespace callgate {

class WatchedLeaf final : public backend::WatchedLeaf {
 public:
  // Both outlive it.
  WatchedLeaf(StoreImpl& store, const StoreImpl::Binding& binding);
  ~WatchedLeaf() = default;
  WatchedLeaf(const WatchedLeaf&) = delete;
  WatchedLeaf& operator=(const WatchedLeaf&) = delete;

  bool Call(backend::GuestFrames& frames, RawValue* values) override;
  backend::Stop TakeStop() override;

  // Which events: as the binding's, and to be kept so.
  void SetWanted(TransitionSet wanted) { wanted_ = wanted; }

 private:
  // The rest of the call, when the hook has said this at its beginning.
  bool GoOn(Disposition said, RawValue* values);
  // When it has said this at its end.
  bool End(Disposition said);
  // What both come to.
  bool Ended(std::optional<backend::Stop> stop);

  StoreImpl& store_;
  const LeafFunction::Body leaf_;
  const void* const leaf_data_;
  const uint32_t params_;
  const uint32_t results_;
  const std::unique_ptr<RawValue[]> args_;
  TransitionSet wanted_;
  const StoreImpl::Binding& binding_;
  StoreImpl::HostCallState state_;
  HookCall event_;
  std::optional<backend::Stop> stop_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WATCHED_LEAF_H_
