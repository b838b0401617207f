#include "policy/specialised_import.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "policy/expression/macro_set.h"
#include "policy/expression/schema.h"
#include "policy/import_name.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

using expression::CompileOptions;
using expression::Fact;
using expression::Presence;
using expression::Program;
using expression::Schema;
using expression::Type;
using expression::TypeKind;

class Specialiser {
 public:
  Specialiser(const Policy& policy, const LinkedImport& import,
              std::vector<Problem>* problems)
      : policy_(policy),
        import_(import),
        entry_(policy.FindImport(import.module, import.name)),
        problems_(problems),
        names_{FormatImportName(import.module, import.name),
               std::string(import.module), std::string(import.name)} {}

  SpecialisedImport Run() {
    out_.listed = entry_ != nullptr && entry_->listed;
    out_.allowed = entry_ != nullptr && entry_->allowed;
    if (NeedsPrograms()) {
      DeclareCallFacts(&names_, &schema_);
      for (const std::string& fact : policy_.vocabulary().arguments) {
        DeclareArgument(fact);
      }
      DeclareLists(policy_.vocabulary(), &schema_);
      AddMacros(policy_.vocabulary(), schema_, &macros_, problems_);
      out_.fact_count = schema_.facts().size();
    }
    if (entry_ != nullptr) {
      for (const uint32_t r : entry_->restrictions) Add(r);
      for (const uint32_t r : entry_->conditional_allows) AddAllow(r);
    }
    for (const uint32_t r : policy_.call_rules()) Add(r);
    KeepArgumentsRead();
    return std::move(out_);
  }

 private:
  bool NeedsPrograms() const {
    const auto has = [this](uint32_t r) {
      const Rule& rule = policy_.rules()[r];
      return !rule.when.empty() || !rule.exceptions.empty() ||
             !rule.message_parts.empty();
    };
    if (std::any_of(policy_.call_rules().begin(), policy_.call_rules().end(),
                    has)) {
      return true;
    }
    return entry_ != nullptr && (!entry_->conditional_allows.empty() ||
                                 std::any_of(entry_->restrictions.begin(),
                                             entry_->restrictions.end(), has));
  }

  // The import's argument of this name, if it has one. A wrong description by
  // the file is reported by Policy::CheckAgainst.
  std::optional<ArgSpec> FindArgument(const std::string& name) const {
    ArgumentRule rule;
    rule.name = name;
    if (entry_ != nullptr) {
      for (const ArgumentRule& described : entry_->args) {
        if (described.name == name) rule = described;
      }
    }
    return ResolveArgument(rule, *import_.type, import_.spec, nullptr);
  }

  void DeclareArgument(const std::string& fact_name) {
    const ArgumentFactName split = SplitArgumentFact(fact_name);
    const std::optional<ArgSpec> arg = FindArgument(split.argument);
    std::optional<Type> type;
    if (arg) {
      type = TypeOfArgument(*arg, split.part,
                            import_.type->params[arg->index] == ValType::kI64);
    }
    if (!type) {
      DeclareMissingArgument(fact_name, &schema_);
      return;
    }
    Fact fact;
    fact.name = fact_name;
    fact.type = *type;
    // Whether there is one depends on the text.
    if (split.part == ArgumentPart::kPort || split.part == ArgumentPart::kIp) {
      fact.presence = Presence::kOptional;
    }
    fact.bytes_max =
        split.part == ArgumentPart::kPath || arg->kind == ArgKind::kPath
            ? kPathFactBytesMax
            : static_cast<uint32_t>(std::min<uint64_t>(
                  arg->max_bytes, CallContext::kCapturedBytesMax));
    const auto slot = schema_.Declare(std::move(fact));
    CALLGATE_CHECK(slot.ok(), "the compiler names each argument once");
    const auto same = std::find_if(
        out_.arguments.begin(), out_.arguments.end(),
        [&](const ArgSpec& known) { return known.name == arg->name; });
    const auto index = static_cast<uint32_t>(same - out_.arguments.begin());
    if (same == out_.arguments.end()) out_.arguments.push_back(*arg);
    out_.argument_facts.push_back({*slot, index, split.part});
  }

  std::optional<Program> CompileCondition(const Condition& condition,
                                          std::optional<Type> type) {
    CompileOptions options;
    options.type = type;
    options.macros = &macros_;
    expression::CompileResult compiled =
        expression::Compile(condition.source, schema_, options);
    for (const expression::Problem& problem : compiled.problems) {
      problems_->push_back(AtCondition(
          condition, absl::StrCat("for ", names_.import, ": ",
                                  problem.ToString(condition.source))));
    }
    if (!compiled.ok()) return std::nullopt;
    for (const uint32_t slot : compiled.program->slots_read()) {
      read_.push_back(slot);
    }
    return std::move(compiled.program);
  }

  // Nothing if the rule cannot have a say here.
  std::optional<SpecialisedRule> SpecialiseRule(uint32_t index) {
    const Rule& rule = policy_.rules()[index];
    SpecialisedRule special;
    special.rule = index;
    const size_t read_before = read_.size();
    if (!rule.when.empty()) {
      special.when = CompileCondition(rule.when, Type(TypeKind::kBool));
      if (!special.when) return std::nullopt;
      if (const auto constant = special.when->constant()) {
        if (!constant->is_error() && !constant->as_bool()) {
          read_.resize(read_before);
          return std::nullopt;
        }
        if (!constant->is_error()) special.when.reset();
      }
    }
    for (const RuleException& exception : rule.exceptions) {
      AddException(exception, &special);
    }
    for (const MessagePart& part : rule.message_parts) {
      AddPart(part, &special.message);
    }
    return special;
  }

  void AddException(const RuleException& exception, SpecialisedRule* special) {
    std::string why;
    Condition condition;
    condition.path = exception.path;
    condition.file = exception.file;
    condition.position = exception.position;
    const auto source = SourceOfException(exception, schema_, &why);
    if (!source) {
      problems_->push_back(AtCondition(
          condition, absl::StrCat("for ", names_.import, ": ", why)));
      return;
    }
    condition.source = *source;
    // A fact that the import does not have cannot be of an excepted value.
    for (const auto& terms : exception.alternatives) {
      for (const RuleException::Term& term : terms) {
        const std::optional<uint32_t> slot = schema_.FindSlot(term.field);
        if (slot && schema_.facts()[*slot].presence == Presence::kNever) {
          return;
        }
      }
    }
    std::optional<Program> holds =
        CompileCondition(condition, Type(TypeKind::kBool));
    if (!holds) return;
    special->exceptions.push_back({&exception, *std::move(holds)});
  }

  void AddPart(const MessagePart& part, SpecialisedMessage* message) {
    SpecialisedMessage::Part out;
    out.text = part.text;
    out.raw = part.raw;
    if (!part.value.empty()) {
      out.value = CompileCondition(part.value, std::nullopt);
      if (out.value && ReadsRedacted(*out.value)) {
        out.value.reset();
        absl::StrAppend(&out.text, "<redacted>");
      }
    }
    message->parts.push_back(std::move(out));
  }

  bool ReadsRedacted(const Program& program) const {
    for (const uint32_t slot : program.slots_read()) {
      for (const ArgumentFact& fact : out_.argument_facts) {
        if (fact.slot == slot && out_.arguments[fact.argument].redact) {
          return true;
        }
      }
    }
    return false;
  }

  void Add(uint32_t index) {
    if (auto special = SpecialiseRule(index)) {
      out_.restrictions.push_back(*std::move(special));
    }
  }

  void AddAllow(uint32_t index) {
    std::optional<SpecialisedRule> special = SpecialiseRule(index);
    if (!special) return;
    if (special->is_static()) {
      out_.allowed = true;
    } else {
      out_.allows.push_back(*std::move(special));
    }
  }

  void KeepArgumentsRead() {
    std::vector<ArgumentFact> facts;
    std::vector<ArgSpec> arguments;
    std::vector<uint32_t> number(out_.arguments.size(), kNoIndex);
    for (ArgumentFact fact : out_.argument_facts) {
      if (std::find(read_.begin(), read_.end(), fact.slot) == read_.end()) {
        continue;
      }
      uint32_t& argument = number[fact.argument];
      if (argument == kNoIndex) {
        argument = static_cast<uint32_t>(arguments.size());
        arguments.push_back(out_.arguments[fact.argument]);
      }
      fact.argument = argument;
      facts.push_back(fact);
    }
    out_.argument_facts = std::move(facts);
    out_.arguments = std::move(arguments);
  }

  const Policy& policy_;
  const LinkedImport& import_;
  const ImportPolicy* const entry_;
  std::vector<Problem>* const problems_;
  const ImportNames names_;
  Schema schema_;
  expression::MacroSet macros_;
  std::vector<uint32_t> read_;
  SpecialisedImport out_;
};

}  // namespace

SpecialisedImport Specialise(const Policy& policy, const LinkedImport& import,
                             std::vector<Problem>* problems) {
  return Specialiser(policy, import, problems).Run();
}

}  // namespace callgate::policy
