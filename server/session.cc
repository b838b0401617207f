#include "server/session.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "policy/hook/policy_hook.h"
#include "policy/import_name.h"
#include "runtime/check.h"
#include "runtime/linker.h"
#include "runtime/store.h"
#include "runtime/wasi/wasi.h"
#include "server/error_reason.h"
#include "server/events/escape.h"
#include "server/guest_setup.h"
#include "server/module_admission.h"
#include "server/turn_queue.h"
#include "server/verdict_tally.h"

namespace callgate {
namespace {

using policy::Budget;

// From any origin, as the hook wants it.
absl::Time MonotonicNow() {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

absl::Status BadArgument(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                         reason::kBadArgument, message);
}

absl::Status OutOfBounds(uint64_t address, uint64_t length, uint64_t bytes) {
  return ErrorWithReason(
      absl::StatusCode::kOutOfRange, reason::kOutOfBounds,
      absl::StrCat(length, " bytes at ", address,
                   " are not inside the memory of ", bytes, " bytes"));
}

// Why there is no WASI context: options of the caller's, or a directory.
absl::Status ContextStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return BadArgument(events::EscapeText(status.message()));
    case absl::StatusCode::kPermissionDenied:
      return ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                             reason::kDirNotAllowed,
                             events::EscapeText(status.message()));
    default:
      return status;
  }
}

// Gives the turn back when the scope ends.
class Turn {
 public:
  explicit Turn(TurnQueue& queue) : queue_(queue) {}
  ~Turn() { queue_.Give(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  TurnQueue& queue_;
};

// The budget that a trap of this code has used up; empty if it is about none.
absl::string_view BudgetOfTrap(TrapCode code, bool fuel_of_store) {
  switch (code) {
    case TrapCode::kProcessorTimeExceeded:
      return policy::BudgetName(Budget::kCpuPerCall);
    case TrapCode::kOutOfFuel:
      return policy::BudgetName(fuel_of_store ? Budget::kFuelPerStore
                                              : Budget::kFuelPerCall);
    case TrapCode::kDeadlineExceeded:
      return policy::BudgetName(Budget::kWallPerCall);
    case TrapCode::kGrowthLimited:
      return policy::BudgetName(Budget::kMemoryBytesTotal);
    case TrapCode::kHostBytesExceeded:
      return policy::BudgetName(Budget::kHostBytesPerCall);
    default:
      return "";
  }
}

// What a guest's WASI handles were opened as.
class WasiHandleNames final : public policy::HandleNames {
 public:
  // Before anything is linked.
  void set_context(wasi::Context* context) { context_ = context; }

  std::optional<absl::string_view> PathOf(const FunctionIdentity& function,
                                          uint64_t handle) override {
    if (context_ == nullptr || function.module != wasi::kModuleName ||
        handle > std::numeric_limits<uint32_t>::max()) {
      return std::nullopt;
    }
    const auto fd = static_cast<uint32_t>(handle);
    const absl::string_view path = context_->GuestPathOf(fd);
    if (path.empty() && !context_->IsStream(fd)) return std::nullopt;
    return path;
  }
  void RefuseLinks(const FunctionIdentity& function) override {
    if (context_ != nullptr && function.module == wasi::kModuleName) {
      context_->RefuseLinks(function.name);
    }
  }

 private:
  wasi::Context* context_ = nullptr;
};

// Every name that rules may know a function of the module by.
std::vector<std::string> NamesOf(const Module& module, uint32_t func_index) {
  std::vector<std::string> names = {
      std::string(module.FunctionName(func_index))};
  for (const ExportType& exported : module.exports()) {
    if (exported.type.kind == ExternKind::kFunc &&
        exported.index == func_index) {
      names.push_back(exported.name);
    }
  }
  return names;
}

policy::PolicyHook::Options HookOptionsWith(const SessionConfig& config,
                                            policy::HandleNames* handles) {
  policy::PolicyHook::Options options;
  options.handles = handles;
  options.profiles = config.profiles;
  options.states = config.rule_states;
  options.keep_answers = config.keep_answers;
  if (config.recorder != nullptr) {
    options.wall_clock = policy::trial::RecordingHook::WallClock;
  }
  return options;
}

uint32_t OpenHandlesUnder(const policy::EffectiveBudgets& budgets) {
  const auto max = budgets.Max(Budget::kOpenHandles);
  if (!max.has_value()) return wasi::Options().open_handles_max;
  return static_cast<uint32_t>(
      std::min<uint64_t>(*max, std::numeric_limits<uint32_t>::max()));
}

// "name@version", the version in short.
std::vector<std::string> PolicyNames(
    absl::Span<const std::shared_ptr<const policy::Policy>> policies) {
  std::vector<std::string> names;
  for (const auto& policy : policies) {
    names.push_back(absl::StrCat(policy->name(), "@", policy->short_version()));
  }
  return names;
}

std::string TrapMessage(const Trap& trap) {
  return events::EscapeText(trap.message());
}

}  // namespace

absl::string_view SessionStateName(SessionState state) {
  switch (state) {
    case SessionState::kIdle:
      return "idle";
    case SessionState::kRunning:
      return "running";
    case SessionState::kKilled:
      return "killed";
    case SessionState::kPolicyKilled:
      return "policy_killed";
    case SessionState::kExited:
      return "exited";
  }
  return "unknown";
}

class Session::Impl {
 public:
  Impl(const Engine& engine, SessionConfig config)
      : config_(std::move(config)),
        budgets_(policy::ComputeEffectiveBudgets(config_.policies)),
        tally_(config_.observer),
        recording_hook_(MakeRecordingHook()),
        hook_(config_.policies,
              policy::StoreFacts{config_.store_id, config_.tenant,
                                 config_.module_digest, config_.module_name},
              JudgesClock(), JudgesSink(),
              HookOptionsWith(config_, &handle_names_)),
        store_(engine, StoreLimitsUnder(budgets_)),
        turns_(
            config_.waiting_max, [this] { store_.Interrupt(); },
            [this] { store_.ResetInterrupt(); }) {
    policies_ = config_.policies;
    facts_.last_used = absl::Now();
    if (recording_hook_ != nullptr) {
      recording_hook_->Attach(
          hook_, {config_.module_labels.begin(), config_.module_labels.end()},
          [module = config_.module](uint32_t func_index) {
            return NamesOf(*module, func_index);
          });
    }
  }
  ~Impl() { FinishLearning(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  absl::Status Prepare(const HostModules& host_modules);

  absl::StatusOr<Outcome> Instantiate(
      absl::Time deadline, const std::shared_ptr<CallTicket>& ticket);
  absl::StatusOr<Outcome> Call(const CallRequest& request,
                               const std::shared_ptr<CallTicket>& ticket);
  absl::StatusOr<MemoryRead> ReadMemory(absl::string_view name,
                                        uint64_t address, uint64_t length,
                                        absl::Time deadline);
  absl::StatusOr<uint64_t> WriteMemory(absl::string_view name, uint64_t address,
                                       absl::string_view bytes,
                                       absl::Time deadline);

  void Cancel(const std::shared_ptr<CallTicket>& ticket) {
    turns_.Cancel(ticket);
  }
  void Kill(absl::string_view why) {
    End(SessionState::kKilled, std::string(why));
  }

  SessionFacts facts() const;
  absl::Time running_until() const {
    const std::lock_guard<std::mutex> lock(mu_);
    return running_until_;
  }
  const SessionConfig& config() const { return config_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  std::vector<std::shared_ptr<const policy::Policy>> policies() const {
    const std::lock_guard<std::mutex> lock(mu_);
    return policies_;
  }
  std::vector<policy::Problem> ReplacePolicies(
      std::vector<std::shared_ptr<const policy::Policy>> policies,
      absl::Status refusal);
  void CollectReplaced() { hook_.CollectReplaced(); }

 private:
  // Null where nobody will record.
  std::unique_ptr<policy::trial::RecordingHook> MakeRecordingHook() {
    if (config_.recorder == nullptr) return nullptr;
    return std::make_unique<policy::trial::RecordingHook>(
        *config_.recorder, tally_, &handle_names_,
        policy::trial::RecordingHook::Clocks{MonotonicNow, absl::Now});
  }
  CallHook& Judge() {
    if (recording_hook_ != nullptr) return *recording_hook_;
    return hook_;
  }
  policy::MonotonicClock JudgesClock() {
    if (recording_hook_ != nullptr) return recording_hook_->clock();
    return MonotonicNow;
  }
  policy::DecisionSink& JudgesSink() {
    if (recording_hook_ != nullptr) return *recording_hook_;
    return tally_;
  }

  // The budgets of one call, and whose they are.
  struct Armed {
    CallOptions options;
    policy::PolicyHook::Arming arming;
  };
  Armed Arm(std::optional<uint64_t> fuel, std::optional<absl::Duration> wall,
            absl::Time deadline);

  // The Store, and what it may open, are given the budgets that are in force.
  void TakeBudgets(const policy::EffectiveBudgets& budgets);

  // Which of the two the engine holds.
  Budget StackBudget() const {
    return store_.engine().name() == "reference" ? Budget::kCallDepth
                                                 : Budget::kStackBytes;
  }
  void WarnOfStackBudgets();
  // Gives the Store what its hook wants of it.
  absl::Status InstallHook(const HookOptions& options) {
    if (probing_hook_.has_value()) {
      return store_.SetCallHook(*probing_hook_, options);
    }
    return store_.SetCallHook(Judge(), options);
  }
  // Policies that came since the last call count, and the Store watches what
  // they want watched. FailedPrecondition POLICY_REFUSED where it cannot: then
  // there is no call.
  absl::Status TakePolicies();
  absl::Status ReinstallHook();

  // How a guest's activation ended, whichever way it was entered.
  struct Ended {
    std::vector<Value> values;
    std::optional<Trap> trap;
    CallUsage usage;
  };
  Outcome Conclude(const Armed& armed, Ended ended);
  void Classify(const Armed& armed, const Ended& ended, Outcome& outcome);
  void TakeOutput(Outcome& outcome);
  void Tell(const Outcome& outcome, const VerdictTally::Answered& answered);
  void End(SessionState state, std::string why);
  // When no call is to come any more.
  void FinishLearning();

  absl::StatusOr<Memory> FindMemory(absl::string_view name) const;

  const SessionConfig config_;
  // Those that the Store was made with.
  const policy::EffectiveBudgets budgets_;
  std::vector<std::string> warnings_;

  // In this order: what stands later uses what stands before.
  VerdictTally tally_;
  WasiHandleNames handle_names_;
  // In front of hook_ and behind it, if wanted.
  std::unique_ptr<policy::trial::RecordingHook> recording_hook_;
  policy::PolicyHook hook_;
  std::optional<ProbingHook> probing_hook_;  // in front of hook_, if wanted
  std::shared_ptr<wasi::Context> wasi_;
  Store store_;
  Linker linker_;
  TurnQueue turns_;

  // Of whoever has the turn.
  bool instantiation_begun_ = false;
  bool unwatched_ = false;
  std::optional<Instance> instance_;
  uint64_t fuel_used_ = 0;

  // Guarded by mu_.
  mutable std::mutex mu_;
  std::vector<std::shared_ptr<const policy::Policy>> policies_;
  absl::Status refusal_;  // why none applies
  SessionFacts facts_;
  absl::Time running_until_ = absl::InfiniteFuture();
};

absl::Status Session::Impl::Prepare(const HostModules& host_modules) {
  wasi::Options options;
  options.args.push_back(config_.program_name);
  options.args.insert(options.args.end(), config_.args.begin(),
                      config_.args.end());
  options.env = config_.env;
  options.stdin_fd = config_.stdin_fd;
  options.terminal = config_.terminal;
  if (OutputSink* sink = config_.output; sink != nullptr) {
    const auto to = [sink](OutputStream stream) {
      return [sink, stream](absl::Span<const uint8_t> bytes) {
        // SAFETY: any object may be read as char.
        return sink->OnOutput(
            stream,
            absl::string_view(reinterpret_cast<const char*>(bytes.data()),
                              bytes.size()));
      };
    };
    options.stdout_sink = to(OutputStream::kStdout);
    options.stderr_sink = to(OutputStream::kStderr);
  }
  for (const GuestDirectory& dir : config_.dirs) {
    options.preopens.push_back(wasi::Preopen{dir.host_path, dir.guest_path,
                                             dir.read_only, dir.inside});
  }
  options.open_handles_max = OpenHandlesUnder(budgets_);
  options.on_open_handle = [this](uint64_t number, bool refused) {
    hook_.ReportHandle(number, refused);
  };
  absl::StatusOr<std::shared_ptr<wasi::Context>> context =
      wasi::Context::Create(std::move(options));
  if (!context.ok()) return ContextStatus(context.status());
  wasi_ = *std::move(context);
  handle_names_.set_context(wasi_.get());

  SpecByImport specs = WasiSpecs();
  absl::Status status = wasi::AddToLinker(linker_, wasi_);
  if (!status.ok()) return status;
  for (HostFunctionEntry& entry : host_modules.FunctionsFor(
           {config_.tenant, config_.store_id, config_.module_digest})) {
    specs[{entry.module, entry.name}] = entry.definition.spec;
    status = linker_.DefineFunc(entry.module, entry.name,
                                std::move(entry.definition));
    if (!status.ok()) return status;
  }
  status = AddStubs(*config_.module, config_.stubs, linker_, specs, warnings_);
  if (!status.ok()) return status;
  status = CheckPolicies(*config_.module, config_.policies, specs, warnings_);
  if (!status.ok()) return status;
  WarnOfStackBudgets();
  HookOptions hook_options;
  hook_options.probes = config_.probes;
  status = PrepareHook(*config_.module, hook_, hook_options, warnings_);
  if (!status.ok()) return status;
  if (config_.probe_watcher != nullptr) {
    probing_hook_.emplace(Judge(), *config_.probe_watcher,
                          config_.module->FunctionsOf(config_.probes));
  }
  return InstallHook(hook_options);
}

absl::Status Session::Impl::TakePolicies() {
  hook_.TakeOver();
  if (!hook_.TakeReinstallDue()) return absl::OkStatus();
  const absl::Status watched = ReinstallHook();
  if (watched.ok()) {
    if (std::exchange(unwatched_, false) && config_.observer != nullptr) {
      config_.observer->OnWatched(watched);
    }
    return watched;
  }
  // The next call tries again.
  hook_.SetReinstallDue();
  unwatched_ = true;
  const absl::Status refused = ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, reason::kPolicyRefused,
      absl::StrCat("the Store cannot watch the functions that its policies "
                   "have rules about, so it takes no calls: ",
                   std::string(watched.message())));
  if (config_.observer != nullptr) config_.observer->OnWatched(refused);
  return refused;
}

absl::Status Session::Impl::ReinstallHook() {
  HookOptions options;
  options.call_ring = hook_.call_ring();
  options.probes = config_.probes;
  absl::Status status = hook_.AddProbes(&options.probes);
  if (status.ok()) status = InstallHook(options);
  if (!status.ok()) return status;
  for (const policy::InnerRules::Pending& pending : hook_.pending_rules()) {
    tally_.OnRulePending(hook_.facts(), pending.policy->name(),
                         pending.rule->id,
                         absl::StrCat("no function of the module fits ",
                                      events::EscapeText(pending.pattern)));
  }
  return status;
}

void Session::Impl::WarnOfStackBudgets() {
  const Budget other = StackBudget() == Budget::kStackBytes
                           ? Budget::kCallDepth
                           : Budget::kStackBytes;
  if (!budgets_.Max(other).has_value()) return;
  warnings_.push_back(absl::StrCat(
      "policy ", budgets_[other]->policy->name(), ": the ",
      store_.engine().name(), " engine does not hold ",
      policy::BudgetName(other), "; set ", policy::BudgetName(StackBudget())));
}

void Session::Impl::TakeBudgets(const policy::EffectiveBudgets& budgets) {
  const absl::Status set = store_.SetLimits(StoreLimitsUnder(budgets));
  CALLGATE_CHECK(set.ok(), "who has the turn finds no call in progress");
  wasi_->SetOpenHandlesMax(OpenHandlesUnder(budgets));
}

Session::Impl::Armed Session::Impl::Arm(std::optional<uint64_t> fuel,
                                        std::optional<absl::Duration> wall,
                                        absl::Time deadline) {
  using FuelCeiling = policy::PolicyHook::Arming::Fuel;
  const policy::EffectiveBudgets& budgets = hook_.budgets();
  TakeBudgets(budgets);
  Armed armed;
  // The smallest counts; of equal ones the policy's, which comes first.
  const auto tighten_fuel = [&armed](std::optional<uint64_t> max,
                                     FuelCeiling whose) {
    if (!max.has_value()) return;
    if (armed.options.fuel.has_value() && *armed.options.fuel <= *max) return;
    armed.options.fuel = max;
    armed.arming.fuel = whose;
  };
  tighten_fuel(budgets.Max(Budget::kFuelPerCall), FuelCeiling::kPerCallBudget);
  if (const auto max = budgets.Max(Budget::kFuelPerStore)) {
    tighten_fuel(*max - std::min(*max, fuel_used_),
                 FuelCeiling::kPerStoreBudget);
  }
  tighten_fuel(config_.fuel_per_call, FuelCeiling::kOther);
  tighten_fuel(fuel, FuelCeiling::kOther);

  const auto tighten_wall = [&armed](std::optional<absl::Duration> max,
                                     bool is_budget) {
    if (!max.has_value()) return;
    if (armed.options.wall.has_value() && *armed.options.wall <= *max) return;
    armed.options.wall = max;
    armed.arming.wall_is_budget = is_budget;
  };
  tighten_wall(budgets.wall_per_call(), true);
  tighten_wall(config_.wall_per_call, false);
  tighten_wall(wall, false);
  if (!armed.options.wall.has_value()) {
    tighten_wall(config_.default_wall_per_call, false);
  }
  if (deadline != absl::InfiniteFuture()) {
    tighten_wall(std::max(deadline - absl::Now(), absl::ZeroDuration()), false);
  }
  armed.options.cpu = budgets.cpu_per_call();
  if (!armed.options.cpu.has_value() && hook_.measures_cpu()) {
    armed.options.cpu = absl::InfiniteDuration();
  }
  armed.arming.stack = StackBudget();
  hook_.ArmCall(armed.arming);
  const std::lock_guard<std::mutex> lock(mu_);
  running_until_ = armed.options.wall.has_value()
                       ? absl::Now() + *armed.options.wall
                       : absl::InfiniteFuture();
  return armed;
}

std::vector<policy::Problem> Session::Impl::ReplacePolicies(
    std::vector<std::shared_ptr<const policy::Policy>> policies,
    absl::Status refusal) {
  std::vector<policy::Problem> problems = hook_.Replace(policies);
  const std::lock_guard<std::mutex> lock(mu_);
  policies_ = std::move(policies);
  refusal_ = std::move(refusal);
  return problems;
}

void Session::Impl::End(SessionState state, std::string why) {
  if (!turns_.Close(why)) return;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    facts_.state = state;
    facts_.end_reason = std::move(why);
  }
  if (config_.output != nullptr) config_.output->OnSessionEnded();
}

void Session::Impl::FinishLearning() {
  for (const absl::Status& status : hook_.FinishLearning()) {
    // A profile that has become stable meanwhile is nothing to tell of.
    if (absl::IsFailedPrecondition(status) || config_.observer == nullptr) {
      continue;
    }
    if (status.ok()) {
      config_.observer->OnLearned();
    } else {
      config_.observer->OnNotLearned(status);
    }
  }
}

void Session::Impl::Classify(const Armed& armed, const Ended& ended,
                             Outcome& outcome) {
  using FuelCeiling = policy::PolicyHook::Arming::Fuel;
  if (!ended.trap.has_value() && hook_.latched() == nullptr) {
    outcome.kind = OutcomeKind::kReturned;
    return;
  }
  // A verdict that ended the Store counts, whatever a host function made of it
  // on the way out.
  std::shared_ptr<const policy::PolicyViolation> violation = hook_.latched();
  if (violation == nullptr) {
    violation = std::dynamic_pointer_cast<const policy::PolicyViolation>(
        ended.trap->cause());
  }
  if (ended.trap.has_value() && violation == nullptr) {
    if (const auto code = ended.trap->exit_code()) {
      outcome.kind = OutcomeKind::kExited;
      outcome.exit_code = static_cast<int>(*code);
      End(SessionState::kExited, absl::StrCat("the guest exited with ", *code));
      return;
    }
  }
  outcome.exit_code = kExitCodeTrapped;
  outcome.trap.emplace();
  if (ended.trap.has_value()) {
    outcome.trap->code = std::string(TrapCodeName(ended.trap->code()));
    outcome.trap->message = TrapMessage(*ended.trap);
    outcome.trap->frames = ended.trap->backtrace();
  }
  if (violation != nullptr) {
    outcome.trap->code = std::string(TrapCodeName(TrapCode::kRefused));
    outcome.trap->message = violation->message();
    outcome.budget = violation->facts().budget;
    switch (violation->verdict()) {
      case policy::Verdict::kQuarantineModule:
        outcome.kind = OutcomeKind::kPolicyQuarantined;
        break;
      case policy::Verdict::kKillStore:
        outcome.kind = OutcomeKind::kPolicyKilled;
        break;
      default:
        outcome.kind = outcome.budget.empty() ? OutcomeKind::kPolicyTrapped
                                              : OutcomeKind::kBudgetExceeded;
        return;
    }
    End(SessionState::kPolicyKilled, violation->message());
    return;
  }
  outcome.budget = std::string(BudgetOfTrap(
      ended.trap->code(), armed.arming.fuel == FuelCeiling::kPerStoreBudget));
  if (!outcome.budget.empty()) {
    outcome.kind = OutcomeKind::kBudgetExceeded;
  } else if (ended.trap->code() == TrapCode::kInterrupted) {
    outcome.kind = OutcomeKind::kKilled;
    outcome.trap->message = turns_.closed() ? turns_.close_reason()
                                            : "the caller cancelled the call";
  } else {
    outcome.kind = OutcomeKind::kTrapped;
  }
}

void Session::Impl::TakeOutput(Outcome& outcome) {
  if (config_.output == nullptr) {
    outcome.stdout_bytes = wasi_->TakeStdout();
    outcome.stderr_bytes = wasi_->TakeStderr();
    for (std::string* bytes : {&outcome.stdout_bytes, &outcome.stderr_bytes}) {
      if (bytes->size() <= kOutcomeOutputBytesMax) continue;
      outcome.output_omitted_bytes += bytes->size() - kOutcomeOutputBytesMax;
      bytes->resize(kOutcomeOutputBytesMax);
    }
  }
}

void Session::Impl::Tell(const Outcome& outcome,
                         const VerdictTally::Answered& answered) {
  const policy::PolicyHook::Counts counts = hook_.DrainCounts();
  if (config_.observer == nullptr) return;
  CallEnd end{
      outcome,        0, counts.conditions_failed, counts.engine_faults, {},
      hook_.latched()};
  for (const auto& import : counts.imports) {
    HostCallCount calls;
    calls.module = import.function->module;
    calls.name = import.function->name;
    calls.ran = import.allowed + import.allowed_with_record;
    const auto found =
        answered.find({std::string(calls.module), std::string(calls.name)});
    if (found != answered.end()) {
      calls.answered = std::min(found->second, import.stopped);
    }
    calls.refused = import.stopped - calls.answered;
    end.allowed += import.allowed;
    end.host_calls.push_back(calls);
  }
  config_.observer->OnCallEnded(end);
}

Outcome Session::Impl::Conclude(const Armed& armed, Ended ended) {
  fuel_used_ += ended.usage.fuel;
  hook_.ReportUsage({ended.usage.fuel, fuel_used_, ended.usage.host_bytes,
                     ended.usage.wall, ended.usage.cpu});
  Outcome outcome;
  outcome.usage = ended.usage;
  outcome.memory_bytes = store_.bytes_used();
  Classify(armed, ended, outcome);
  if (outcome.kind == OutcomeKind::kReturned) {
    outcome.results = std::move(ended.values);
  }
  outcome.store_usable = !turns_.closed();
  TakeOutput(outcome);
  {
    const std::lock_guard<std::mutex> lock(mu_);
    facts_.usage.fuel += outcome.usage.fuel;
    facts_.usage.host_calls += outcome.usage.host_calls;
    facts_.usage.host_bytes += outcome.usage.host_bytes;
    facts_.usage.wall += outcome.usage.wall;
    facts_.memory_bytes = outcome.memory_bytes;
    facts_.last_used = absl::Now();
    ++facts_.calls;
    running_until_ = absl::InfiniteFuture();
  }
  const VerdictTally::Answered answered = tally_.TakeAnswered();
  tally_.Take(outcome);
  Tell(outcome, answered);
  if (!outcome.store_usable) FinishLearning();
  return outcome;
}

absl::StatusOr<Outcome> Session::Impl::Instantiate(
    absl::Time deadline, const std::shared_ptr<CallTicket>& ticket) {
  absl::Status turn = turns_.Take(deadline, ticket);
  if (!turn.ok()) return turn;
  const Turn mine(turns_);
  CALLGATE_CHECK(!instantiation_begun_, "a Session is instantiated once");
  instantiation_begun_ = true;

  const absl::Status watched = TakePolicies();
  if (!watched.ok()) {
    End(SessionState::kKilled, std::string(watched.message()));
    return watched;
  }
  const Armed armed = Arm(std::nullopt, std::nullopt, deadline);
  absl::StatusOr<Instantiation> made = linker_.Instantiate(
      store_, config_.module, config_.module_name, armed.options);
  if (!made.ok()) {
    End(SessionState::kKilled, "the module could not be linked");
    return LinkStatus(made.status());
  }
  instance_ = made->instance;
  Outcome outcome = Conclude(armed, {{}, std::move(made->trap), made->usage});
  if (outcome.kind != OutcomeKind::kReturned) {
    End(SessionState::kKilled, "the instantiation did not succeed");
    outcome.store_usable = false;
  }
  return outcome;
}

absl::StatusOr<Outcome> Session::Impl::Call(
    const CallRequest& request, const std::shared_ptr<CallTicket>& ticket) {
  absl::Status turn = turns_.Take(request.deadline, ticket);
  if (!turn.ok()) return turn;
  const Turn mine(turns_);
  CALLGATE_CHECK(instance_.has_value(), "calls follow the instantiation");
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (!refusal_.ok()) return refusal_;
  }

  const absl::StatusOr<Func> func = instance_->GetFunc(request.export_name);
  if (!func.ok()) {
    if (request.export_name == "_start") {
      return ErrorWithReason(
          absl::StatusCode::kFailedPrecondition, reason::kNoStart,
          "the module exports no function \"_start\", so it is no command; "
          "name one of its exports to call");
    }
    return ErrorWithReason(absl::StatusCode::kNotFound, reason::kExportNotFound,
                           events::EscapeText(func.status().message()));
  }
  const absl::Status watched = TakePolicies();
  if (!watched.ok()) return watched;
  const Armed armed = Arm(request.fuel, request.wall, request.deadline);
  absl::StatusOr<CallResult> called = func->Call(request.args, armed.options);
  if (!called.ok()) {
    return called.status().code() == absl::StatusCode::kInvalidArgument
               ? WithReason(called.status(), reason::kBadArgument)
               : called.status();
  }
  return Conclude(armed, {std::move(called->values), std::move(called->trap),
                          called->usage});
}

absl::StatusOr<Memory> Session::Impl::FindMemory(absl::string_view name) const {
  std::vector<std::string> names;
  for (const ExportType& exported : config_.module->exports()) {
    if (exported.type.kind != ExternKind::kMemory) continue;
    names.push_back(exported.name);
  }
  const absl::string_view wanted = name.empty() ? "memory" : name;
  const auto found = std::find(names.begin(), names.end(), wanted);
  if (found != names.end()) return instance_->GetMemory(*found);
  if (name.empty() && names.size() == 1) return instance_->GetMemory(names[0]);
  return ErrorWithReason(
      absl::StatusCode::kNotFound, reason::kExportNotFound,
      names.empty()
          ? std::string("the module exports no memory")
          : absl::StrCat(
                "the module exports no memory \"",
                events::EscapeText(wanted, 256), "\"; it exports \"",
                events::EscapeText(absl::StrJoin(names, "\", \""), 1024),
                "\""));
}

absl::StatusOr<Session::MemoryRead> Session::Impl::ReadMemory(
    absl::string_view name, uint64_t address, uint64_t length,
    absl::Time deadline) {
  if (length > kMemoryAccessBytesMax) {
    return BadArgument(
        absl::StrCat("length ", length, " is over the maximum of ",
                     kMemoryAccessBytesMax, " bytes a call; read in parts"));
  }
  absl::Status turn = turns_.Take(deadline, nullptr);
  if (!turn.ok()) return turn;
  const Turn mine(turns_);
  CALLGATE_CHECK(instance_.has_value(), "reads follow the instantiation");
  const absl::StatusOr<Memory> memory = FindMemory(name);
  if (!memory.ok()) return memory.status();
  MemoryRead read;
  read.memory_bytes = memory->bytes();
  // Checked before room is made for the bytes.
  if (address > read.memory_bytes || length > read.memory_bytes - address) {
    return OutOfBounds(address, length, read.memory_bytes);
  }
  read.bytes.resize(length);
  // SAFETY: the string owns `length` bytes, and any object may be written as
  // unsigned char.
  const absl::Status status = memory->Read(
      address,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(&read.bytes[0]), length));
  if (!status.ok()) return status;
  return read;
}

absl::StatusOr<uint64_t> Session::Impl::WriteMemory(absl::string_view name,
                                                    uint64_t address,
                                                    absl::string_view bytes,
                                                    absl::Time deadline) {
  if (bytes.size() > kMemoryAccessBytesMax) {
    return BadArgument(
        absl::StrCat(bytes.size(), " bytes are over the maximum of ",
                     kMemoryAccessBytesMax, " bytes a call; write in parts"));
  }
  absl::Status turn = turns_.Take(deadline, nullptr);
  if (!turn.ok()) return turn;
  const Turn mine(turns_);
  CALLGATE_CHECK(instance_.has_value(), "writes follow the instantiation");
  const absl::StatusOr<Memory> memory = FindMemory(name);
  if (!memory.ok()) return memory.status();
  const uint64_t memory_bytes = memory->bytes();
  if (address > memory_bytes || bytes.size() > memory_bytes - address) {
    return OutOfBounds(address, bytes.size(), memory_bytes);
  }
  const absl::Status status = memory->Write(address, ModuleBytes(bytes));
  if (!status.ok()) return status;
  return memory_bytes;
}

SessionFacts Session::Impl::facts() const {
  const bool busy = turns_.busy();
  const std::lock_guard<std::mutex> lock(mu_);
  SessionFacts facts = facts_;
  facts.busy = busy;
  if (busy && facts.state == SessionState::kIdle) {
    facts.state = SessionState::kRunning;
  }
  return facts;
}

absl::StatusOr<std::unique_ptr<Session>> Session::Create(
    const Engine& engine, const HostModules& host_modules,
    SessionConfig config) {
  CALLGATE_CHECK(config.module != nullptr && !config.policies.empty(),
                 "a Session has a module and a policy");
  auto impl = std::make_unique<Impl>(engine, std::move(config));
  const absl::Status status = impl->Prepare(host_modules);
  if (!status.ok()) return status;
  return absl::WrapUnique(new Session(std::move(impl)));
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

absl::StatusOr<Outcome> Session::Instantiate(
    absl::Time deadline, const std::shared_ptr<CallTicket>& ticket) {
  return impl_->Instantiate(deadline, ticket);
}

absl::StatusOr<Outcome> Session::Call(
    const CallRequest& request, const std::shared_ptr<CallTicket>& ticket) {
  return impl_->Call(request, ticket);
}

std::shared_ptr<CallTicket> Session::NewTicket() {
  return std::make_shared<CallTicket>();
}

void Session::CancelCall(const std::shared_ptr<CallTicket>& ticket) {
  impl_->Cancel(ticket);
}

void Session::Kill(absl::string_view why) { impl_->Kill(why); }

absl::StatusOr<Session::MemoryRead> Session::ReadMemory(
    absl::string_view memory, uint64_t address, uint64_t length,
    absl::Time deadline) {
  return impl_->ReadMemory(memory, address, length, deadline);
}

absl::StatusOr<uint64_t> Session::WriteMemory(absl::string_view memory,
                                              uint64_t address,
                                              absl::string_view bytes,
                                              absl::Time deadline) {
  return impl_->WriteMemory(memory, address, bytes, deadline);
}

SessionFacts Session::facts() const { return impl_->facts(); }
absl::Time Session::running_until() const { return impl_->running_until(); }
const SessionConfig& Session::config() const { return impl_->config(); }
const std::vector<std::string>& Session::warnings() const {
  return impl_->warnings();
}

std::vector<policy::Problem> Session::ReplacePolicies(
    std::vector<std::shared_ptr<const policy::Policy>> policies) {
  return impl_->ReplacePolicies(std::move(policies), absl::OkStatus());
}

void Session::RefuseForWantOfPolicy(
    absl::Status why, std::shared_ptr<const policy::Policy> stand_in) {
  CALLGATE_CHECK(!why.ok(), "a refusal has a reason");
  impl_->ReplacePolicies({std::move(stand_in)}, std::move(why));
}

void Session::CollectReplaced() { impl_->CollectReplaced(); }

bool Session::IsJudgedBy(
    absl::Span<const std::shared_ptr<const policy::Policy>> policies) const {
  const auto before = impl_->policies();
  return std::equal(before.begin(), before.end(), policies.begin(),
                    policies.end(), [](const auto& a, const auto& b) {
                      return a->name() == b->name() &&
                             a->version() == b->version() &&
                             a->mode() == b->mode();
                    });
}

std::vector<std::string> Session::policy_names() const {
  return PolicyNames(impl_->policies());
}

std::string PermissivePolicyYaml(const std::vector<StubImport>& stubs) {
  std::string yaml =
      "api_version: callgate.policy/v1\n"
      "kind: Policy\n"
      "metadata:\n"
      "  name: local-default\n"
      "  description: WASI and the stubs, nothing else.\n"
      "imports:\n";
  const auto allow = [&yaml](absl::string_view module, absl::string_view name) {
    // As YAML, a double-quoted string.
    const std::string quoted =
        absl::StrReplaceAll(policy::FormatImportName(module, name),
                            {{"\\", "\\\\"}, {"\"", "\\\""}});
    absl::StrAppend(&yaml, "  - { import: \"", quoted, "\", action: allow }\n");
  };
  for (const wasi::FunctionInfo& function : wasi::AllFunctions()) {
    allow(wasi::kModuleName, function.name);
  }
  for (const StubImport& stub : stubs) allow(stub.module, stub.name);
  return yaml;
}

}  // namespace callgate
