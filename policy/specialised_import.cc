#include "policy/specialised_import.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "policy/import_name.h"
#include "policy/import_specialiser.h"
#include "runtime/check.h"

namespace callgate::policy {

using expression::CompileOptions;
using expression::Fact;
using expression::Presence;
using expression::Program;
using expression::Type;
using expression::TypeKind;

namespace {

ImportNames NamesOf(const LinkedImport& import) {
  ImportNames names;
  names.import = FormatImportName(import.module, import.name);
  names.module = std::string(import.module);
  names.name = std::string(import.name);
  names.answers_errno = AnswersErrno(import);
  if (!import.type->results.empty()) {
    switch (import.type->results[0]) {
      case ValType::kI32:
      case ValType::kI64:
        names.result = Type(TypeKind::kInt);
        break;
      case ValType::kF32:
      case ValType::kF64:
        names.result = Type(TypeKind::kDouble);
        break;
      default:
        break;
    }
  }
  return names;
}

}  // namespace

ImportSpecialiser::ImportSpecialiser(const Policy& policy,
                                     const LinkedImport& import,
                                     std::vector<Problem>* problems)
    : policy_(policy),
      import_(import),
      entry_(policy.FindImport(import.module, import.name)),
      problems_(problems),
      names_(NamesOf(import)) {}

SpecialisedImport ImportSpecialiser::Run() {
  out_.listed = entry_ != nullptr && entry_->listed;
  out_.allowed = entry_ != nullptr && entry_->allowed;
  out_.names = names_;
  if (NeedsPrograms()) {
    DeclareCallFacts(&names_, &schema_);
    for (const std::string& fact : policy_.vocabulary().arguments) {
      DeclareArgument(fact);
    }
    DeclareLists(policy_.vocabulary(), &schema_);
    AddMacros(policy_.vocabulary(), schema_, &macros_, problems_);
    out_.own_fact_count = out_.fact_count = schema_.facts().size();
  }
  if (entry_ != nullptr) {
    for (const uint32_t r : entry_->restrictions) AddRule(r);
    for (const uint32_t r : entry_->conditional_allows) AddAllow(r);
  }
  for (const uint32_t r : policy_.call_rules()) AddRule(r);
  for (uint32_t l = 0; l < policy_.rate_limits().size(); ++l) AddLimit(l);
  for (uint32_t t = 0; t < policy_.temporal().size(); ++t) AddTemporal(t);
  KeepFactsRead();
  return std::move(out_);
}

bool ImportSpecialiser::NeedsPrograms() const {
  const auto has = [this](uint32_t r) {
    const Rule& rule = policy_.rules()[r];
    return !rule.when.empty() || !rule.exceptions.empty() ||
           !rule.message_parts.empty();
  };
  if (!policy_.rate_limits().empty() || !policy_.temporal().empty() ||
      std::any_of(policy_.call_rules().begin(), policy_.call_rules().end(),
                  has)) {
    return true;
  }
  return entry_ != nullptr && (!entry_->conditional_allows.empty() ||
                               std::any_of(entry_->restrictions.begin(),
                                           entry_->restrictions.end(), has));
}

// The import's argument of this name, if it has one. A wrong description by
// the file is reported by Policy::CheckAgainst.
std::optional<ArgSpec> ImportSpecialiser::FindArgument(
    const std::string& name) const {
  ArgumentRule rule;
  rule.name = name;
  if (entry_ != nullptr) {
    for (const ArgumentRule& described : entry_->args) {
      if (described.name == name) rule = described;
    }
  }
  return ResolveArgument(rule, *import_.type, import_.spec, nullptr);
}

void ImportSpecialiser::DeclareArgument(const std::string& fact_name) {
  const ArgumentFactName split = SplitArgumentFact(fact_name);
  const std::optional<ArgSpec> arg = FindArgument(split.argument);
  if (split.is_result) {
    DeclareResult(fact_name, arg);
    return;
  }
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
  if (split.part == ArgumentPart::kPath || arg->kind == ArgKind::kPath) {
    fact.presence = Presence::kUnsure;
    fact.bytes_max = kPathFactBytesMax;
  } else {
    fact.bytes_max = static_cast<uint32_t>(
        std::min<uint64_t>(arg->max_bytes, CallContext::kCapturedBytesMax));
  }
  const auto slot = schema_.Declare(std::move(fact));
  CALLGATE_CHECK(slot.ok(), "the compiler names each argument once");
  const auto same = std::find_if(
      out_.arguments.begin(), out_.arguments.end(),
      [&](const ArgSpec& known) { return known.name == arg->name; });
  const auto index = static_cast<uint32_t>(same - out_.arguments.begin());
  if (same == out_.arguments.end()) out_.arguments.push_back(*arg);
  out_.argument_facts.push_back({*slot, index, split.part});
}

void ImportSpecialiser::DeclareResult(const std::string& fact_name,
                                      const std::optional<ArgSpec>& arg) {
  const std::optional<Type> type = arg ? TypeOfResult(*arg) : std::nullopt;
  if (!type) {
    DeclareMissingArgument(fact_name, &schema_);
    return;
  }
  Fact fact;
  fact.name = fact_name;
  fact.type = *type;
  fact.presence = Presence::kOptional;
  fact.bytes_max = static_cast<uint32_t>(
      std::min<uint64_t>(arg->max_bytes, CallContext::kCapturedBytesMax));
  fact.items_max = kResultItemsMax;
  const auto slot = schema_.Declare(std::move(fact));
  CALLGATE_CHECK(slot.ok(), "the compiler names each argument once");
  out_.result_facts.push_back({*slot, *arg});
}

std::string ImportSpecialiser::Signature() const {
  std::vector<absl::string_view> names;
  if (import_.spec != nullptr) {
    for (const ArgSpec& arg : import_.spec->args) names.push_back(arg.name);
  }
  if (entry_ != nullptr) {
    for (const ArgumentRule& described : entry_->args) {
      if (std::find(names.begin(), names.end(), described.name) ==
          names.end()) {
        names.push_back(described.name);
      }
    }
  }
  return absl::StrCat(names_.import, "(", absl::StrJoin(names, ", "), ")");
}

std::optional<Program> ImportSpecialiser::Compile(const Condition& condition,
                                                  std::optional<Type> type,
                                                  Words& words) {
  CompileOptions options;
  options.type = type;
  options.macros = &macros_;
  expression::CompileResult compiled =
      expression::Compile(condition.source, words.schema, options);
  for (const expression::Problem& problem : compiled.problems) {
    problems_->push_back(AtCondition(
        condition, absl::StrCat("for ", Signature(), ": ",
                                problem.ToString(condition.source))));
  }
  if (!compiled.ok()) return std::nullopt;
  for (const uint32_t slot : compiled.program->slots_read()) {
    words.read.push_back(slot);
  }
  return std::move(compiled.program);
}

bool ImportSpecialiser::CompileWhen(const Condition& condition, Words& words,
                                    std::optional<Program>* when) {
  when->reset();
  if (condition.empty()) return true;
  const size_t read_before = words.read.size();
  *when = Compile(condition, Type(TypeKind::kBool), words);
  if (!*when) return false;
  const auto constant = (*when)->constant();
  if (!constant || constant->is_error()) return true;
  words.read.resize(read_before);
  when->reset();
  return constant->as_bool();
}

void ImportSpecialiser::AddRest(const Rule& rule, Words& words,
                                SpecialisedRule* special) {
  for (const RuleException& exception : rule.exceptions) {
    AddException(exception, words, special);
  }
  for (const MessagePart& part : rule.message_parts) {
    AddPart(part, words, &special->message);
  }
}

void ImportSpecialiser::AddException(const RuleException& exception,
                                     Words& words, SpecialisedRule* special) {
  std::string why;
  Condition condition;
  condition.path = exception.path;
  condition.file = exception.file;
  condition.position = exception.position;
  const auto source = SourceOfException(exception, schema_, &why);
  if (!source) {
    problems_->push_back(
        AtCondition(condition, absl::StrCat("for ", names_.import, ": ", why)));
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
      Compile(condition, Type(TypeKind::kBool), words);
  if (!holds) return;
  special->exceptions.push_back({&exception, *std::move(holds)});
}

void ImportSpecialiser::AddPart(const MessagePart& part, Words& words,
                                SpecialisedMessage* message) {
  SpecialisedMessage::Part out;
  out.text = part.text;
  out.raw = part.raw;
  if (!part.value.empty()) {
    out.value = Compile(part.value, std::nullopt, words);
    if (out.value && ReadsRedacted(*out.value, words)) {
      out.value.reset();
      absl::StrAppend(&out.text, "<redacted>");
    }
  }
  message->parts.push_back(std::move(out));
}

bool ImportSpecialiser::IsRedacted(uint32_t slot) const {
  return std::any_of(out_.argument_facts.begin(), out_.argument_facts.end(),
                     [&](const ArgumentFact& fact) {
                       return fact.slot == slot &&
                              out_.arguments[fact.argument].redact;
                     }) ||
         std::any_of(out_.result_facts.begin(), out_.result_facts.end(),
                     [&](const ResultFact& fact) {
                       return fact.slot == slot && fact.argument.redact;
                     });
}

bool ImportSpecialiser::ReadsRedacted(const Program& program,
                                      const Words& words) const {
  for (const uint32_t slot : program.slots_read()) {
    if (IsRedacted(slot)) return true;
    if (words.past == nullptr) continue;
    // What is kept of another event is hidden there.
    for (const PastSlot& past : *words.past) {
      if (past.slot == slot && past.step == words.present && past.is_redacted) {
        return true;
      }
    }
  }
  return false;
}

void ImportSpecialiser::Use(const Words& words, bool runs_after) {
  read_.insert(read_.end(), words.read.begin(), words.read.end());
  if (!runs_after) return;
  out_.runs_after = true;
  read_after_.insert(read_after_.end(), words.read.begin(), words.read.end());
}

std::optional<SpecialisedRule> ImportSpecialiser::SpecialiseRule(
    uint32_t index) {
  const Rule& rule = policy_.rules()[index];
  SpecialisedRule special;
  special.rule = index;
  Words words{schema_, {}};
  if (!CompileWhen(rule.when, words, &special.when)) return std::nullopt;
  AddRest(rule, words, &special);
  Use(words, rule.runs_after);
  return special;
}

void ImportSpecialiser::AddRule(uint32_t index) {
  std::optional<SpecialisedRule> special = SpecialiseRule(index);
  if (!special) return;
  const bool always =
      special->is_static() && !policy_.rules()[index].runs_after;
  (always ? out_.always : out_.restrictions).push_back(*std::move(special));
}

void ImportSpecialiser::AddAllow(uint32_t index) {
  std::optional<SpecialisedRule> special = SpecialiseRule(index);
  if (!special) return;
  if (special->is_static()) {
    out_.allowed = true;
  } else {
    out_.allows.push_back(*std::move(special));
  }
}

void ImportSpecialiser::KeepFactsRead() {
  const auto is_read = [this](uint32_t slot) {
    return std::find(read_.begin(), read_.end(), slot) != read_.end();
  };
  std::vector<ArgumentFact> facts;
  std::vector<ArgSpec> arguments;
  std::vector<uint32_t> number(out_.arguments.size(), kNoIndex);
  for (ArgumentFact fact : out_.argument_facts) {
    if (!is_read(fact.slot)) continue;
    uint32_t& argument = number[fact.argument];
    if (argument == kNoIndex) {
      argument = static_cast<uint32_t>(arguments.size());
      arguments.push_back(out_.arguments[fact.argument]);
    }
    fact.argument = argument;
    facts.push_back(fact);
    if (std::find(read_after_.begin(), read_after_.end(), fact.slot) !=
        read_after_.end()) {
      out_.kept_slots.push_back(fact.slot);
    }
  }
  out_.argument_facts = std::move(facts);
  out_.arguments = std::move(arguments);
  out_.result_facts.erase(
      std::remove_if(
          out_.result_facts.begin(), out_.result_facts.end(),
          [&](const ResultFact& fact) { return !is_read(fact.slot); }),
      out_.result_facts.end());
}

SpecialisedImport Specialise(const Policy& policy, const LinkedImport& import,
                             std::vector<Problem>* problems) {
  return ImportSpecialiser(policy, import, problems).Run();
}

}  // namespace callgate::policy
