#include "runtime/watched_leaf.h"

#include <optional>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/types/span.h"
#include "runtime/check.h"

namespace callgate {

WatchedLeaf::WatchedLeaf(StoreImpl& store, const StoreImpl::Binding& binding)
    : store_(store),
      leaf_(binding.definition->leaf.body),
      leaf_data_(binding.definition->leaf.data.get()),
      params_(static_cast<uint32_t>(binding.definition->type.params.size())),
      results_(binding.results),
      args_(std::make_unique<RawValue[]>(params_)),
      binding_(binding),
      event_(store) {
  state_.binding = &binding;
  state_.args = absl::MakeConstSpan(args_.get(), params_);
  event_.ForLeaf(binding.identity, state_, state_.args);
}

// Little is kept from one call to the next in it, since what is kept has to be
// saved first: `wanted_` is read where it is needed, and after the event that
// may change it.
bool WatchedLeaf::Call(backend::GuestFrames& frames, RawValue* values) {
  // Half by half: they were written so just now, and to read back a whole one
  // would wait for that.
  for (uint32_t i = 0; i < params_; ++i) args_[i].CopyHalves(values[i]);
  state_.frames = &frames;
  state_.outer = store_.host_call_;
  event_.AtDepth(++store_.depth_);
  store_.in_hook_ = true;
  if (wanted_.Contains(Transition::kCallingHost)) {
    event_.CallingLeaf();
    const Disposition said = store_.hook_->OnTransition(event_);
    if (ABSL_PREDICT_FALSE(said != Disposition::kProceed)) {
      return GoOn(said, values);
    }
  }
  leaf_(leaf_data_, values);
  // The hook may have changed its mind about this very call.
  if (wanted_.Contains(Transition::kReturningFromHost)) {
    event_.ReturningFromLeaf(values, results_);
    const Disposition said = store_.hook_->OnTransition(event_);
    if (ABSL_PREDICT_FALSE(said != Disposition::kProceed)) return End(said);
  }
  store_.in_hook_ = false;
  --store_.depth_;
  if (ABSL_PREDICT_FALSE(state_.captured != nullptr)) {
    store_.GiveBackCopies(state_);
  }
  return true;
}

__attribute__((noinline)) bool WatchedLeaf::GoOn(Disposition said,
                                                 RawValue* values) {
  store_.in_hook_ = false;
  store_.host_call_ = &state_;
  std::optional<backend::Stop> stop =
      store_.RunRestOfLeaf(said, event_, binding_, state_, state_.args, values);
  store_.host_call_ = state_.outer;
  return Ended(std::move(stop));
}

__attribute__((noinline)) bool WatchedLeaf::End(Disposition said) {
  store_.in_hook_ = false;
  std::optional<backend::Stop> stop;
  store_.Follow(said, event_, {}, stop);
  return Ended(std::move(stop));
}

bool WatchedLeaf::Ended(std::optional<backend::Stop> stop) {
  --store_.depth_;
  if (state_.captured != nullptr) store_.GiveBack(state_);
  if (!stop.has_value()) return true;
  stop_ = std::move(stop);
  return false;
}

backend::Stop WatchedLeaf::TakeStop() {
  std::optional<backend::Stop> stop = std::exchange(stop_, std::nullopt);
  CALLGATE_CHECK(stop.has_value(), "a leaf's call was stopped by something");
  return *std::move(stop);
}

}  // namespace callgate
