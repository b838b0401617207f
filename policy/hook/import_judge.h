// Judges the calls of one import by one policy's conditions.
//
// For each call: Begin() takes the facts, copying the arguments that conditions
// read, and the rest evaluates against them. The bytes that are judged are the
// bytes that the host function will use. What is judged when the call is over
// sees the same facts again: Keep() them, since the same import may be called
// meanwhile, then Resume() with what the host function came to. Nothing is
// allocated once the buffers have their size, but for messages.
//
// One thread, the Store's.

#ifndef CALLGATE_POLICY_HOOK_IMPORT_JUDGE_H_
#define CALLGATE_POLICY_HOOK_IMPORT_JUDGE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/argument.h"
#include "policy/expression/expression.h"
#include "policy/expression/ip_address.h"
#include "policy/expression/scratch.h"
#include "policy/hook/decision.h"
#include "policy/hook/handle_names.h"
#include "policy/specialisation_cache.h"
#include "policy/specialised_import.h"
#include "runtime/call_hook.h"

namespace callgate::policy {

// What a hook gives its judges for one call.
class CallMoment final : public expression::LazyFacts {
 public:
  CallMoment(CallContext& call, const StoreFacts& store, uint64_t calls_before,
             absl::Time (*wall_clock)(), HandleNames* handles)
      : call_(call),
        store_(store),
        calls_before_(calls_before),
        wall_clock_(wall_clock),
        handles_(handles) {}

  expression::Value Compute(uint32_t slot) override;
  // One reading for the whole call.
  absl::Time Now();

  CallContext& call() const { return call_; }
  const StoreFacts& store() const { return store_; }
  uint64_t calls_before() const { return calls_before_; }
  HandleNames* handles() const { return handles_; }

 private:
  CallContext& call_;
  const StoreFacts& store_;
  const uint64_t calls_before_;
  absl::Time (*const wall_clock_)();
  HandleNames* const handles_;
  std::optional<absl::Time> now_;
};

class ImportJudge {
 public:
  // `type` is the function's and outlives this.
  ImportJudge(std::shared_ptr<const Specialisation> made, const FuncType& type);

  const SpecialisedImport& import() const { return *import_; }
  bool reads_paths() const { return reads_paths_; }

  // A denial: an argument cannot be copied, and facts of it are absent. A bad
  // status is a fault of ours.
  absl::StatusOr<std::optional<ArgumentDenial>> Begin(CallMoment& moment);

  // Facts of a call that goes on.
  struct Kept {
    std::vector<expression::Value> values;
    std::string text;
  };
  void Keep(Kept* kept) const;
  // At kReturningFromHost.
  void Resume(const Kept& kept, CallMoment& moment);
  // The call does not happen; the guest gets this errno, or -1 if it gets none.
  void SetRefused(int64_t guest_errno);

  // The facts by slot; behind those of the import, room for others.
  absl::Span<expression::Value> facts() { return absl::MakeSpan(facts_); }
  // A fact, read if that has not been done yet.
  expression::Value FactAt(uint32_t slot, CallMoment& moment) const;
  expression::Evaluation Evaluate(const expression::Program& program,
                                  CallMoment& moment,
                                  expression::Scratch* scratch) const {
    return program.Evaluate(facts_, scratch, &moment);
  }

  enum class Answer : uint8_t { kNo, kYes, kFailed };
  struct Outcome {
    Answer answer = Answer::kNo;
    // Of kFailed, until the scratch is used again.
    expression::Value error;
    // Of kNo, if the condition holds and this lets the call go.
    const RuleException* exception = nullptr;
  };
  // The exception that holds, or null.
  const RuleException* ExceptionOf(const SpecialisedRule& rule,
                                   CallMoment& moment,
                                   expression::Scratch* scratch) const;
  bool IsExcepted(const SpecialisedRule& rule, CallMoment& moment,
                  expression::Scratch* scratch) const {
    return ExceptionOf(rule, moment, scratch) != nullptr;
  }
  // Whether the rule matches, exceptions considered.
  Outcome Judge(const SpecialisedRule& rule, CallMoment& moment,
                expression::Scratch* scratch) const;
  // The rule's message for this call, one line.
  std::string MessageOf(const SpecialisedRule& rule, CallMoment& moment,
                        expression::Scratch* scratch) const;

  // Adds what is known of the call to `facts`, but for names that are there.
  void DescribeFacts(CallMoment& moment, std::vector<FactText>* facts) const;

 private:
  expression::Value ValueOf(const ArgumentFact& fact, CallMoment& moment);
  void SetResults(CallMoment& moment);

  // The buffers of what a host function wrote.
  struct Written {
    std::vector<uint8_t> bytes;
    std::vector<expression::IpKey> keys;
    std::vector<expression::Value> items;
  };

  std::shared_ptr<const Specialisation> made_;
  const SpecialisedImport* import_;  // in it
  const FuncType* type_;
  bool reads_paths_ = false;
  std::vector<expression::Value> facts_;
  std::vector<CapturedArgument> captured_;  // by argument
  std::vector<std::string> texts_;          // by argument fact
  std::vector<Written> written_;            // by result fact
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_IMPORT_JUDGE_H_
