// As with the builtins, each has two halves: one that compiled code calls,
// which holds no object and may leave the activation, and one that does the
// work and answers false when the guest is stopped.

#include "runtime/native/native_probes.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/native/native_store.h"

namespace callgate::native {
namespace {

// How much a probed call shortens the slice, so that a guest which does nothing
// but make them comes to its end, too.
constexpr int64_t kProbeToll = 200;

}  // namespace

class ProbeCalls {
 public:
  static void Enter(ProbeContext* probe, void* context, const void* frame,
                    const RawValue* args) {
    NativeStore& store = StoreOf(context);
    if (!Entered(store, InstanceOf(context), probe->number, frame, args)) {
      store.Leave();
    }
  }

  static void Leave(ProbeContext* /*probe*/, void* context, const void* frame) {
    NativeStore& store = StoreOf(context);
    if (!Left(store, frame)) store.Leave();
  }

 private:
  static NativeStore& StoreOf(void* context) {
    return *reinterpret_cast<NativeStore::Cell*>(
                static_cast<ContextHeader*>(context)->store)
                ->store;
  }
  static const Instance& InstanceOf(void* context) {
    return *static_cast<const Instance*>(
        static_cast<const InstanceContext*>(context)->instance);
  }

  // The frames that an entered function will be on top of.
  class CallersView final : public backend::GuestFrames {
   public:
    CallersView(const NativeStore& store, const void* frame,
                const backend::RawFrame& entered)
        : store_(store), frame_(frame), entered_(entered) {}

    std::vector<backend::RawFrame> Frames(size_t max_frames) override {
      std::vector<backend::RawFrame> frames =
          store_.FramesFrom(frame_, max_frames + 1, &entered_);
      frames.erase(frames.begin());
      return frames;
    }
    backend::CallSite Newest() override {
      const std::vector<backend::RawFrame> newest = Frames(1);
      if (newest.empty()) return {};
      return {newest[0].instance, newest[0].func_index};
    }

   private:
    const NativeStore& store_;
    const void* const frame_;
    const backend::RawFrame& entered_;
  };

  __attribute__((noinline)) static bool Entered(NativeStore& store,
                                                const Instance& instance,
                                                uint32_t number,
                                                const void* frame,
                                                const RawValue* values) {
    // Host code may ask for the counters.
    if (!store.Settle(store.context().fuel)) {
      return store.Stopped(TrapCode::kOutOfFuel, frame, store.context().fuel);
    }
    const backend::Probes& probes = instance.probes();
    const uint32_t index = probes.functions[number];
    const std::vector<ValType>& params =
        instance.image().TypeOfFunction(index).params;
    absl::Span<const RawValue> args(values, params.size());
    std::vector<RawValue> converted;
    if (std::find(params.begin(), params.end(), ValType::kFuncRef) !=
        params.end()) {
      for (size_t i = 0; i < params.size(); ++i) {
        converted.push_back(store.FromGuest(params[i], args[i]));
      }
      args = converted;
    }
    // The function that may not run has no frame, and is part of the story.
    backend::RawFrame entered;
    entered.instance = instance.id();
    entered.func_index = index;
    CallersView callers(store, frame, entered);
    std::optional<backend::Stop> stop = store.host_.EnterFunction(
        probes.first + number,
        store.PlaceOnStack(reinterpret_cast<uintptr_t>(frame)), callers, args);
    if (store.engine_.metered) store.ResumeSlice(kProbeToll);
    if (!stop.has_value()) return true;
    store.Stopped(*std::move(stop), frame, store.context().fuel);
    store.running_->backtrace =
        store.FramesFrom(frame, kBacktraceFramesMax, &entered);
    return false;
  }

  __attribute__((noinline)) static bool Left(NativeStore& store,
                                             const void* frame) {
    if (!store.Settle(store.context().fuel)) {
      return store.Stopped(TrapCode::kOutOfFuel, frame, store.context().fuel);
    }
    store.host_.LeaveFunction(store.context().tail_code != nullptr);
    if (store.engine_.metered) store.ResumeSlice(0);
    return true;
  }
};

ProbeContext NewProbeContext(uint32_t number) {
  ProbeContext probe;
  probe.enter = &ProbeCalls::Enter;
  probe.leave = &ProbeCalls::Leave;
  probe.number = number;
  return probe;
}

}  // namespace callgate::native
