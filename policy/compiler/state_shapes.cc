// What rules remember, how much, and by which digest it is found again.

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "openssl/evp.h"
#include "policy/call_facts.h"
#include "policy/compiler/sections.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

// One rule, in one scope.
constexpr uint64_t kStateBytesMax = 16 << 20;

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
}

// Whether `word` stands in `text` as a word of its own.
bool HasWord(absl::string_view text, absl::string_view word) {
  size_t at = 0;
  while ((at = text.find(word, at)) != absl::string_view::npos) {
    const size_t end = at + word.size();
    if ((at == 0 || !IsWordByte(text[at - 1])) &&
        (end == text.size() || !IsWordByte(text[end]))) {
      return true;
    }
    at = end;
  }
  return false;
}

// Everything that says what a rule's state means, and nothing that does not: a
// rule may get another action or message and go on with what it knows.
class Meaning {
 public:
  explicit Meaning(const PolicyContent& content) : content_(content) {}

  void AddText(absl::string_view text) {
    absl::StrAppend(&text_, text.size(), ":", text);
  }
  void AddNumber(uint64_t number) { absl::StrAppend(&text_, number, ";"); }
  void AddSource(const Condition& condition) {
    AddText(condition.source);
    absl::StrAppend(&sources_, condition.source, "\n");
  }

  std::string Digest() {
    // From the last macro to the first: each uses those before it.
    const auto& macros = content_.vocabulary.macros;
    for (size_t i = macros.size(); i-- > 0;) {
      if (!HasWord(sources_, macros[i].name)) continue;
      AddText(macros[i].name);
      AddSource(macros[i].when);
    }
    for (const NamedList& list : content_.vocabulary.lists) {
      if (HasWord(sources_, list.name)) AddText(list.fingerprint);
    }
    if (absl::StrContains(sources_, "args.") ||
        absl::StrContains(sources_, "result.")) {
      for (const ImportPolicy& import : content_.imports) AddArguments(import);
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    CALLGATE_CHECK(EVP_Digest(text_.data(), text_.size(), digest, &size,
                              EVP_sha256(), nullptr) == 1,
                   "libcrypto has SHA-256");
    // SAFETY: bytes may be looked at as characters.
    return absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(digest), size));
  }

 private:
  void AddArguments(const ImportPolicy& import) {
    for (const ArgumentRule& arg : import.args) {
      AddText(import.import.module);
      AddText(import.import.name);
      AddText(arg.name);
      AddNumber(arg.index.value_or(UINT32_MAX));
      AddNumber(arg.kind ? static_cast<uint64_t>(*arg.kind) : UINT8_MAX);
      AddNumber(arg.len_index.value_or(UINT32_MAX));
      AddNumber(arg.dir_index.value_or(UINT32_MAX));
      AddNumber(arg.max_bytes.value_or(UINT64_MAX));
      AddNumber(arg.redact ? 1 : 0);
    }
  }

  const PolicyContent& content_;
  std::string text_;
  std::string sources_;
};

// Room for these facts of one event.
FactsShape ShapeOf(const std::vector<std::string>& facts) {
  FactsShape shape;
  shape.facts = facts.size();
  for (const std::string& fact : facts) {
    if (absl::StartsWith(fact, "result.") && fact != "result.errno" &&
        fact != "result.value") {
      // Addresses.
      shape.items += kResultItemsMax;
      shape.text_bytes += size_t{kResultItemsMax} * 16;
    } else if (absl::StartsWith(fact, "args.") || fact == "call.caller" ||
               fact == "call.import" || fact == "call.module" ||
               fact == "call.name" || fact == "tenant" ||
               absl::StartsWith(fact, "module.") || fact == "store.id") {
      shape.text_bytes += FactsRecord::kTextBytesMax;
    }
  }
  return shape;
}

void CheckSize(const Rule& rule, const StateShape& state, Compilation& c) {
  if (state.BytesMax() <= kStateBytesMax) return;
  c.problems().push_back(
      {rule.file, rule.position.line, rule.position.column,
       absl::StrCat("rule ", rule.id, " may have to remember ",
                    state.BytesMax(), " bytes for one ",
                    StateScopeName(state.scope), ", and at most ",
                    kStateBytesMax,
                    " are allowed: lower max_keys, gte, max_partial or "
                    "max_events")});
}

void ShapeLimit(RateLimit* limit, Compilation& c) {
  Meaning meaning(c.content());
  meaning.AddText("rate_limit");
  meaning.AddText(c.content().name);
  meaning.AddText(limit->rule.id);
  if (limit->import) {
    meaning.AddText(limit->import->module);
    meaning.AddText(limit->import->name);
  }
  meaning.AddSource(limit->rule.when);
  meaning.AddSource(limit->cost);
  for (const Condition& fact : limit->key) meaning.AddSource(fact);
  StateShape& state = limit->state;
  meaning.AddText(absl::StrCat(state.bucket.refill_per_second));
  meaning.AddText(absl::StrCat(state.bucket.burst));
  meaning.AddNumber(state.keys_max);
  state.policy = c.content().name;
  state.rule = limit->rule.id;
  state.digest = meaning.Digest();
  CheckSize(limit->rule, state, c);
}

void AddSteps(const std::vector<TemporalRule::Step>& steps, Meaning* meaning) {
  meaning->AddNumber(steps.size());
  for (const TemporalRule::Step& step : steps) {
    meaning->AddText(step.as);
    meaning->AddSource(step.when);
    meaning->AddNumber(step.attempts ? 1 : 0);
  }
}

void ShapeTemporal(TemporalRule* rule, Compilation& c) {
  StateShape& state = rule->state;
  Meaning meaning(c.content());
  meaning.AddText("temporal");
  meaning.AddText(c.content().name);
  meaning.AddText(rule->rule.id);
  meaning.AddNumber(static_cast<uint64_t>(rule->pattern));
  meaning.AddSource(rule->rule.when);
  AddSteps(rule->steps, &meaning);
  AddSteps(rule->unless, &meaning);
  if (rule->formerly) AddSteps({*rule->formerly}, &meaning);
  meaning.AddSource(rule->value);
  meaning.AddNumber(rule->count_in_flight ? 1 : 0);
  for (const Condition& fact : rule->key) meaning.AddSource(fact);
  meaning.AddNumber(static_cast<uint64_t>(state.scope));
  meaning.AddNumber(static_cast<uint64_t>(state.within));
  meaning.AddNumber(state.threshold);
  meaning.AddNumber(state.keys_max);
  meaning.AddNumber(state.records_max);
  // What records consist of.
  if (rule->pattern == TemporalRule::Pattern::kSequence) {
    for (uint32_t step = 0; step + 1 < rule->steps.size(); ++step) {
      std::vector<std::string> facts;
      for (const TemporalRule::PastFact& past : rule->past) {
        if (past.step == step) facts.push_back(past.fact);
      }
      for (const std::string& fact : facts) meaning.AddText(fact);
      meaning.AddNumber(facts.size());
      state.records.push_back(ShapeOf(facts));
    }
  } else if (rule->pattern == TemporalRule::Pattern::kRequire) {
    std::vector<std::string> facts;
    for (const auto& past : rule->late_past) facts.push_back(past.fact);
    for (const std::string& fact : facts) meaning.AddText(fact);
    // If nothing of the event is compared, the last one says it all.
    if (rule->late == nullptr) state.records_max = 1;
    state.records.push_back(ShapeOf(facts));
  }
  state.policy = c.content().name;
  state.rule = rule->rule.id;
  state.digest = meaning.Digest();
  CheckSize(rule->rule, state, c);
}

}  // namespace

void ShapeStates(Compilation& c) {
  for (RateLimit& limit : c.content().rate_limits) ShapeLimit(&limit, c);
  for (TemporalRule& rule : c.content().temporal) ShapeTemporal(&rule, c);
}

}  // namespace callgate::policy
