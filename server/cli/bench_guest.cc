#include "server/cli/bench_guest.h"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "policy/hook/decision.h"
#include "server/cli/bench_timing.h"
#include "server/cli/exit_codes.h"
#include "server/cli/local_guest.h"
#include "server/cli/quoted.h"
#include "server/guest_setup.h"

namespace callgate::cli {
namespace {

using policy::Budget;

// More than any measurement uses, far from the end of 63 bits.
constexpr uint64_t kPlentyOfFuel = uint64_t{1} << 60;

class ProceedHook final : public CallHook {
 public:
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
};

class DeafSink final : public policy::DecisionSink {
 public:
  void OnDecision(const policy::DecisionRecord&) override {}
  void OnEngineFault(const policy::StoreFacts&, absl::string_view) override {}
};

absl::Time MonotonicNow() {
  return absl::UnixEpoch() + absl::Nanoseconds(SteadyNs());
}

Failure Trapped(const Trap& trap) {
  Failure failure;
  failure.exit_code = kExitTrapped;
  failure.message =
      trap.exit_code().has_value()
          ? absl::StrCat("the guest exited with ", *trap.exit_code(),
                         ", so there is nothing to time")
          : absl::StrCat("the guest was stopped: ", trap.message());
  return failure;
}

}  // namespace

BenchGuest::BenchGuest(
    const Engine& engine, std::shared_ptr<const Module> module,
    const BenchOptions& options,
    std::vector<std::shared_ptr<const policy::Policy>> policies)
    : engine_(engine),
      module_(std::move(module)),
      options_(options),
      policies_(std::move(policies)),
      budgets_(policy::ComputeEffectiveBudgets(policies_)) {}

OrFailure<std::unique_ptr<BenchGuest>> BenchGuest::Prepare(
    const Engine& engine, std::shared_ptr<const Module> module,
    const BenchOptions& options,
    std::vector<std::shared_ptr<const policy::Policy>> policies) {
  auto guest = absl::WrapUnique(
      new BenchGuest(engine, std::move(module), options, std::move(policies)));
  const bool has_prices = std::any_of(
      guest->policies_.begin(), guest->policies_.end(), [](const auto& policy) {
        return !policy->budgets().host_call_prices.empty();
      });
  const bool limits_fuel = guest->budgets_[Budget::kFuelPerCall].has_value() ||
                           guest->budgets_[Budget::kFuelPerStore].has_value() ||
                           has_prices;
  if (limits_fuel && !options.engine.fuel) {
    return WrongUsage(
        absl::StrCat("--policy ", Quoted(options.policy->filename),
                     " limits fuel, which is not counted; give --fuel on"));
  }

  wasi::Options wasi;
  wasi.args = {ProgramName(options.file)};
  wasi.stdin_fd = STDIN_FILENO;
  wasi.stdout_sink = [](absl::Span<const uint8_t>) { return true; };
  wasi.stderr_sink = wasi.stdout_sink;
  if (const auto max = guest->budgets_.Max(Budget::kOpenHandles)) {
    wasi.open_handles_max = static_cast<uint32_t>(
        std::min<uint64_t>(*max, std::numeric_limits<uint32_t>::max()));
  }
  absl::StatusOr<std::shared_ptr<wasi::Context>> context =
      wasi::Context::Create(std::move(wasi));
  if (!context.ok()) return FailureOf(context.status());
  absl::Status status = wasi::AddToLinker(guest->linker_, *std::move(context));
  if (!status.ok()) return FailureOf(status);
  SpecByImport specs = WasiSpecs();
  status = AddStubs(*guest->module_, StubsOf(options.stubs), guest->linker_,
                    specs, guest->warnings_);
  if (!status.ok()) return FailureOf(status);
  status =
      CheckPolicies(*guest->module_, guest->policies_, specs, guest->warnings_);
  if (!status.ok()) return FailureOf(status);

  switch (options.hook) {
    case BenchHook::kNone:
      break;
    case BenchHook::kNull:
      guest->hook_ = std::make_unique<ProceedHook>();
      break;
    case BenchHook::kPolicy: {
      guest->sink_ = std::make_unique<DeafSink>();
      auto hook = std::make_unique<policy::PolicyHook>(
          guest->policies_,
          policy::StoreFacts{"bench", "default", "", ProgramName(options.file)},
          MonotonicNow, *guest->sink_);
      status = PrepareHook(*guest->module_, *hook, guest->hook_options_,
                           guest->warnings_);
      if (!status.ok()) return FailureOf(status);
      guest->hook_ = std::move(hook);
      break;
    }
  }
  return guest;
}

CallOptions BenchGuest::BudgetOfCall() const {
  CallOptions call;
  call.wall = budgets_.wall_per_call();
  call.cpu = budgets_.cpu_per_call();
  if (!options_.engine.fuel) return call;
  uint64_t fuel = kPlentyOfFuel;
  if (const auto max = budgets_.Max(Budget::kFuelPerCall)) {
    fuel = std::min(fuel, *max);
  }
  if (const auto max = budgets_.Max(Budget::kFuelPerStore)) {
    fuel = std::min(fuel, *max - std::min(*max, fuel_used_));
  }
  call.fuel = fuel;
  return call;
}

std::optional<Failure> BenchGuest::Instantiate() {
  store_ = std::make_unique<Store>(engine_, StoreLimitsUnder(budgets_));
  if (hook_ != nullptr) {
    const absl::Status status = store_->SetCallHook(*hook_, hook_options_);
    if (!status.ok()) return FailureOf(status);
  }
  absl::StatusOr<Instantiation> made = linker_.Instantiate(
      *store_, module_, ProgramName(options_.file), BudgetOfCall());
  if (!made.ok()) return FailureOf(LinkStatus(made.status()));
  fuel_used_ += made->usage.fuel;
  if (made->trap.has_value()) return Trapped(*made->trap);
  instance_ = made->instance;
  return std::nullopt;
}

std::optional<Failure> BenchGuest::Choose(const std::string& export_name) {
  const absl::StatusOr<Func> func = instance_->GetFunc(export_name);
  if (!func.ok()) return FailureOf(func.status());
  func_ = *func;
  return std::nullopt;
}

OrFailure<CallResult> BenchGuest::Call(const std::vector<Value>& args) {
  absl::StatusOr<CallResult> called = func_->Call(args, BudgetOfCall());
  if (!called.ok()) return FailureOf(called.status());
  fuel_used_ += called->usage.fuel;
  if (called->trap.has_value()) return Trapped(*called->trap);
  return *std::move(called);
}

}  // namespace callgate::cli
