#include "policy/expression/expression_fuzz.h"

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "policy/expression/expression.h"
#include "policy/expression/parser.h"
#include "policy/expression/random_expression.h"
#include "policy/expression/reference_evaluator.h"
#include "runtime/check.h"

namespace callgate::policy::expression {
namespace {

// Beyond it the slow evaluator, which takes no short cut, is too slow.
constexpr uint64_t kComparedCostMax = 20'000;

void CheckProblems(const CompileResult& compiled, absl::string_view source) {
  for (const Problem& problem : compiled.problems) {
    CALLGATE_CHECK(problem.line >= 1 && problem.column >= 1,
                   "problems have a place");
    CALLGATE_CHECK(!problem.message.empty(), "problems say something");
    const std::string text = problem.ToString(source);
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      CALLGATE_CHECK(byte >= 0x20 || c == '\n', "messages are escaped");
    }
  }
}

void CheckProgram(const Program& program, absl::string_view source,
                  TestWorld* world, Scratch* scratch) {
  for (int i = 0; i < 2; ++i) {
    world->Shuffle();
    const Evaluation evaluation = program.Evaluate(world->values(), scratch);
    CALLGATE_CHECK(evaluation.steps <= program.cost(), "steps are bounded");
    if (!evaluation.ok()) {
      CALLGATE_CHECK(!program.Describe(evaluation.value).empty(),
                     "errors can be told");
    }
    if (program.cost() > kComparedCostMax) continue;
    ProblemList problems(source, 1);
    const std::optional<Ast> ast = Parse(source, Limits(), &problems);
    CALLGATE_CHECK(ast.has_value(), "it was parsed before");
    const ReferenceValue slow = EvaluateSlowly(*ast, world->reference());
    CALLGATE_CHECK(SameOutcome(slow, evaluation.value), "the evaluators agree");
  }
}

}  // namespace
}  // namespace callgate::policy::expression

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace callgate::policy::expression;  // NOLINT: a function of C
  static TestWorld* const world = new TestWorld(3);
  static const Schema* const schema = new Schema(world->MakeSchema(false));
  static Scratch* const scratch = new Scratch(1 << 20);
  // SAFETY: bytes may be looked at as characters.
  const absl::string_view source(reinterpret_cast<const char*>(data), size);
  const CompileResult compiled = Compile(source, *schema);
  CheckProblems(compiled, source);
  if (compiled.ok()) CheckProgram(*compiled.program, source, world, scratch);
  return 0;
}
