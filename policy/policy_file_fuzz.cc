#include "policy/policy_file_fuzz.h"

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "policy/fake_call.h"
#include "policy/policy_compiler.h"
#include "policy/policy_file.h"
#include "policy/policy_hook.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

class NoSink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord&) override {}
  void OnEngineFault(const StoreFacts&, absl::string_view) override {
    CALLGATE_CHECK(false, "nothing here can surprise the engine");
  }
};

void CheckProblems(const std::vector<Problem>& problems) {
  CALLGATE_CHECK(problems.size() <= kProblemsMax, "problems are bounded");
  for (const Problem& problem : problems) {
    CALLGATE_CHECK(!problem.message.empty(), "a problem says what it is");
    CALLGATE_CHECK(problem.line >= 0 && problem.column >= 0,
                   "places are counted from 1");
    for (const char c : problem.message) {
      CALLGATE_CHECK(c == '\n' || static_cast<unsigned char>(c) >= 0x20,
                     "what is shown is escaped");
    }
  }
}

void CheckPolicy(const std::shared_ptr<const Policy>& policy) {
  NoSink sink;
  PolicyHook hook(
      {policy}, {"s", "t", "", ""}, [] { return absl::UnixEpoch(); }, sink);
  const FuncType type;
  FunctionIdentity stranger;
  // Longer than any name that the mutations come up with.
  stranger.module = "a module that nobody names";
  stranger.name = "a function that nobody names";
  stranger.type = &type;
  stranger.binding = 0;
  hook.OnLink(stranger);
  FakeCall call(Transition::kCallingHost, stranger);
  const bool open = policy->mode() == Mode::kAudit ||
                    !StopsCall(policy->unlisted_import().verdict);
  const bool over_budget =
      policy->mode() == Mode::kEnforce &&
      policy->budgets()[Budget::kHostCallsPerCall] == uint64_t{0};
  CALLGATE_CHECK((hook.OnTransition(call) == Disposition::kProceed) ==
                     (open && !over_budget),
                 "a policy denies what it does not name");
}

}  // namespace
}  // namespace callgate::policy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace callgate::policy;  // NOLINT: this is a function of C
  if (size == 0) return 0;
  // The first bit chooses the encoding.
  // SAFETY: bytes may be looked at as characters.
  const absl::string_view text(reinterpret_cast<const char*>(data) + 1,
                               size - 1);
  const LoadResult loaded = (data[0] & 1) != 0 ? LoadPolicyTextproto(text, "f")
                                               : LoadPolicyYaml(text, "f");
  CheckProblems(loaded.problems);
  CALLGATE_CHECK(loaded.ok() == loaded.problems.empty(),
                 "a file or problems, not both");
  if (!loaded.ok()) return 0;
  const CompileResult compiled = CompilePolicy(*loaded.file);
  CheckProblems(compiled.problems);
  CheckProblems(compiled.warnings);
  CALLGATE_CHECK(compiled.ok() == compiled.problems.empty(),
                 "a policy or problems, not both");
  if (compiled.ok()) CheckPolicy(compiled.policy);
  return 0;
}
