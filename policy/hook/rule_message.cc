#include "policy/hook/rule_message.h"

#include "policy/quote.h"

namespace callgate::policy {
namespace {

// A message shows this much of a value that is not quoted.
constexpr size_t kRawBytesMax = 200;

}  // namespace

std::string RuleMessage(const SpecialisedMessage& message,
                        absl::Span<const expression::Value> facts,
                        expression::Scratch* scratch,
                        expression::LazyFacts* lazy) {
  std::string text;
  for (const SpecialisedMessage::Part& part : message.parts) {
    text += part.text;
    if (!part.value) continue;
    const expression::Evaluation value =
        part.value->Evaluate(facts, scratch, lazy);
    if (!value.ok()) {
      text += "<none>";
    } else if (part.raw &&
               value.value.kind() == expression::ValueKind::kString) {
      text += EscapeText(value.value.as_string().substr(0, kRawBytesMax));
    } else {
      text += value.value.ToString();
    }
  }
  return text;
}

}  // namespace callgate::policy
