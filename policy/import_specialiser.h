// The work behind Specialise(): one import, one policy.
//
// Programs are compiled against a schema of the import's facts; those of a rule
// that names past events against a copy of it that has these facts, too, behind
// all others.

#ifndef CALLGATE_POLICY_IMPORT_SPECIALISER_H_
#define CALLGATE_POLICY_IMPORT_SPECIALISER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policy/call_facts.h"
#include "policy/condition.h"
#include "policy/expression/expression.h"
#include "policy/expression/macro_set.h"
#include "policy/expression/schema.h"
#include "policy/expression/type.h"
#include "policy/file/problem.h"
#include "policy/policy.h"
#include "policy/specialised_import.h"

namespace callgate::policy {

class ImportSpecialiser {
 public:
  ImportSpecialiser(const Policy& policy, const LinkedImport& import,
                    std::vector<Problem>* problems);
  ImportSpecialiser(const ImportSpecialiser&) = delete;
  ImportSpecialiser& operator=(const ImportSpecialiser&) = delete;

  // Once.
  SpecialisedImport Run();

 private:
  // What a rule's programs are made with.
  struct Words {
    const expression::Schema& schema;
    // Slots that programs read as they are made.
    std::vector<uint32_t> read;
    // Facts of steps; null: there are none. `present`: the step that a call is
    // when the rule has its say.
    const std::vector<PastSlot>* past = nullptr;
    uint32_t present = kNoIndex;
  };

  bool NeedsPrograms() const;
  std::optional<ArgSpec> FindArgument(const std::string& name) const;
  void DeclareArgument(const std::string& fact_name);
  void DeclareResult(const std::string& fact_name,
                     const std::optional<ArgSpec>& arg);

  std::optional<expression::Program> Compile(
      const Condition& condition, std::optional<expression::Type> type,
      Words& words);
  // Whether it can hold: `*when` is then set, or empty if it always does.
  bool CompileWhen(const Condition& condition, Words& words,
                   std::optional<expression::Program>* when);
  // Exceptions and message.
  // "net.send(sock, data)": what rules may name of the import, for problems.
  std::string Signature() const;
  void AddRest(const Rule& rule, Words& words, SpecialisedRule* special);
  void AddException(const RuleException& exception, Words& words,
                    SpecialisedRule* special);
  void AddPart(const MessagePart& part, Words& words,
               SpecialisedMessage* message);
  bool IsRedacted(uint32_t slot) const;
  bool ReadsRedacted(const expression::Program& program,
                     const Words& words) const;
  // What is read for a rule that has a say here has to be there.
  void Use(const Words& words, bool runs_after);

  // Nothing if the rule cannot have a say here.
  std::optional<SpecialisedRule> SpecialiseRule(uint32_t index);
  void AddRule(uint32_t index);
  void AddAllow(uint32_t index);

  // specialised_temporal.cc
  void AddLimit(uint32_t index);
  void AddTemporal(uint32_t index);
  SpecialisedKey KeyOf(const std::vector<Condition>& key, StateScope scope,
                       Words& words);
  void AddSteps(const std::vector<TemporalRule::Step>& steps, Words& words,
                std::vector<SpecialisedStep>* out);
  // The slot of a fact, if the import has it.
  uint32_t SlotOfFact(absl::string_view fact) const;

  void KeepFactsRead();

  const Policy& policy_;
  const LinkedImport& import_;
  const ImportPolicy* const entry_;
  std::vector<Problem>* const problems_;
  const ImportNames names_;
  expression::Schema schema_;
  expression::MacroSet macros_;
  // Slots read by what has a say; and by that of it which is judged later.
  std::vector<uint32_t> read_;
  std::vector<uint32_t> read_after_;
  SpecialisedImport out_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_IMPORT_SPECIALISER_H_
