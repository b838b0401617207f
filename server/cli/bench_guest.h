// A guest to be measured: a Store of its own with the hook that was asked for,
// WASI, and the stubs. What a Session adds to a call (turns, outcomes,
// observers) is left out.
//
// One thread.

#ifndef CALLGATE_SERVER_CLI_BENCH_GUEST_H_
#define CALLGATE_SERVER_CLI_BENCH_GUEST_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/budgets.h"
#include "policy/hook/policy_hook.h"
#include "policy/policy.h"
#include "runtime/call_hook.h"
#include "runtime/engine.h"
#include "runtime/instance.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/store.h"
#include "runtime/wasi/wasi.h"
#include "server/cli/bench_options.h"
#include "server/cli/failure.h"

namespace callgate::cli {

class BenchGuest {
 public:
  // Everything that may be done before the Store is made. `policies` is empty
  // without --hook policy. What was given outlives the guest.
  static OrFailure<std::unique_ptr<BenchGuest>> Prepare(
      const Engine& engine, std::shared_ptr<const Module> module,
      const BenchOptions& options,
      std::vector<std::shared_ptr<const policy::Policy>> policies);

  // Makes the Store and the instance; once. Nullopt when all went well.
  std::optional<Failure> Instantiate();

  // Looks the function up; after Instantiate.
  std::optional<Failure> Choose(const std::string& export_name);
  // Calls it. Its values, or why there are none.
  OrFailure<CallResult> Call(const std::vector<Value>& args);

  // How the policies will treat some imports, in sentences.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  BenchGuest(const Engine& engine, std::shared_ptr<const Module> module,
             const BenchOptions& options,
             std::vector<std::shared_ptr<const policy::Policy>> policies);
  CallOptions BudgetOfCall() const;

  const Engine& engine_;
  const std::shared_ptr<const Module> module_;
  const BenchOptions& options_;
  const std::vector<std::shared_ptr<const policy::Policy>> policies_;
  const policy::EffectiveBudgets budgets_;
  std::vector<std::string> warnings_;

  Linker linker_;
  // In this order: what stands later uses what stands before.
  std::unique_ptr<policy::DecisionSink> sink_;
  std::unique_ptr<CallHook> hook_;
  HookOptions hook_options_;
  std::unique_ptr<Store> store_;
  std::optional<Instance> instance_;
  std::optional<Func> func_;
  uint64_t fuel_used_ = 0;
};

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_BENCH_GUEST_H_
