// Which functions of a Store are probed, and which calls of them are open.
//
// The execution engine tells of functions that are entered and left while code
// runs. What it does not see, the end of an activation that stops, is settled
// here from the list of open calls. The hook's own guests (allow_reentry) run
// unwatched: nothing of theirs gets into the list.

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "runtime/check.h"
#include "runtime/hook_call.h"
#include "runtime/module.h"
#include "runtime/store_impl.h"

namespace callgate {
namespace {

FunctionEnding Stopped(Ending ending) {
  switch (ending) {
    case Ending::kHostError:
      return FunctionEnding::kHostError;
    case Ending::kRefusal:
      return FunctionEnding::kRefusal;
    case Ending::kExit:
      return FunctionEnding::kExit;
    case Ending::kNotYet:
    case Ending::kValue:
    case Ending::kAnswered:
    case Ending::kTrap:
      break;
  }
  return FunctionEnding::kTrap;
}

}  // namespace

void StoreImpl::AddProbes(const InstanceState& instance,
                          const backend::Probes& probes) {
  for (const uint32_t index : probes.functions) {
    Probe& probe = probes_.emplace_back();
    probe.backend_instance = instance.backend_id;
    probe.function.module = instance.name;
    probe.function.name = instance.module->FunctionName(index);
    probe.function.func_index = index;
    probe.function.probe = static_cast<uint32_t>(probes_.size() - 1);
    has_probed_code_ = true;
  }
}

absl::Status StoreImpl::InstallHook(CallHook* hook,
                                    const HookOptions& options) {
  if (!kCallHookIsCompiledIn && hook != nullptr) {
    return absl::UnimplementedError(
        "this build has no call hook: it measures what one costs");
  }
  std::vector<std::pair<uint32_t, backend::Probes>> all;
  uint32_t count = 0;
  for (const InstanceState& instance : instances_) {
    backend::Probes probes;
    probes.functions = instance.module->FunctionsOf(options.probes);
    probes.first = count;
    count += static_cast<uint32_t>(probes.functions.size());
    all.emplace_back(instance.backend_id, std::move(probes));
  }
  if (count > 0 || has_probed_code_) {
    const absl::Status set = backend_->SetProbes(all);
    if (set.ok()) {
      has_probed_code_ = count > 0;
    } else if (hook != nullptr) {
      return set;
    }
    // Without a hook probes are silent, and no more is promised.
  }
  hook_ = hook;
  hook_options_ = options;
  if (hook != nullptr && event_ == nullptr) {
    event_ = std::make_unique<HookCall>(*this);
  }
  probes_.clear();
  if (hook != nullptr) {
    for (size_t i = 0; i < instances_.size(); ++i) {
      AddProbes(instances_[i], all[i].second);
    }
  }
  for (Binding& binding : bindings_) LinkToHook(binding);
  return absl::OkStatus();
}

// ---------------------------------------------------------------- events

std::optional<backend::Stop> StoreImpl::EnterFunction(
    uint32_t number, uint64_t place, backend::GuestFrames& callers,
    absl::Span<const RawValue> args) {
  if (!TellsProbes()) return std::nullopt;
  CALLGATE_CHECK(number < probes_.size(), "a backend has known probes");
  Probe& probe = probes_[number];
  if (probe.function.type == nullptr) {
    probe.function.type = &backend_->TypeOfFunc(
        backend_->FuncAt(probe.backend_instance, probe.function.func_index));
  }
  const auto who = [this, &callers] { return CallerAt(callers.Newest()); };
  const FunctionEntry entry{probe.function,
                            args,
                            static_cast<uint32_t>(open_functions_.size() + 1),
                            who,
                            fuel_.used(),
                            bytes_used_};
  in_hook_ = in_probe_ = true;
  EntryAnswer answer = hook_->OnFunctionEnter(entry);
  in_hook_ = in_probe_ = false;
  if (answer.error != nullptr) {
    return backend::Stop{TrapCode::kRefused, std::move(answer.error)};
  }
  // It was not refused, so it is left, even if it never comes to run.
  open_functions_.push_back(OpenFunction{number, place});
  if (answer.delay > absl::ZeroDuration() &&
      Wait(-1, absl::Now() + answer.delay) == WakeReason::kInterrupted) {
    return backend::Stop{InterruptCode(), nullptr};
  }
  return std::nullopt;
}

void StoreImpl::LeaveFunction(bool tail_call) {
  if (!TellsProbes()) return;
  CALLGATE_CHECK(open_functions_.size() > open_base_,
                 "what is left was entered in this activation");
  LeaveDownTo(open_functions_.size() - 1,
              tail_call ? FunctionEnding::kTailCall : FunctionEnding::kReturn,
              nullptr);
}

void StoreImpl::LeaveThrown(uint64_t place) {
  if (!TellsProbes()) return;
  size_t open = open_functions_.size();
  while (open > open_base_ && open_functions_[open - 1].place > place) --open;
  LeaveDownTo(open, FunctionEnding::kException, nullptr);
}

void StoreImpl::LeaveStopped(size_t open, Ending ending, const Trap& trap) {
  LeaveDownTo(open, Stopped(ending), &trap);
}

void StoreImpl::LeaveDownTo(size_t open, FunctionEnding ending,
                            const Trap* trap) {
  while (open_functions_.size() > open) {
    const FunctionExit exit{probes_[open_functions_.back().probe].function,
                            static_cast<uint32_t>(open_functions_.size()),
                            ending, trap};
    open_functions_.pop_back();
    in_hook_ = in_probe_ = true;
    hook_->OnFunctionLeave(exit);
    in_hook_ = in_probe_ = false;
  }
}

}  // namespace callgate
