#include "policy/trial/mutations.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "policy/expression/lexer.h"
#include "policy/verdict.h"

namespace callgate::policy::trial {
namespace {

using expression::Lexer;
using expression::Token;
using expression::TokenKind;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

absl::string_view OppositeOf(TokenKind kind) {
  switch (kind) {
    case TokenKind::kEqual:
      return "!=";
    case TokenKind::kNotEqual:
      return "==";
    case TokenKind::kLess:
      return ">=";
    case TokenKind::kLessEqual:
      return ">";
    case TokenKind::kGreater:
      return "<=";
    case TokenKind::kGreaterEqual:
      return "<";
    default:
      return "";
  }
}

// An action that a careless author might have written instead.
v1::Action NeighbourOf(v1::Action action) {
  switch (action) {
    case v1::ACTION_ALLOW:
      return v1::ACTION_DENY;
    case v1::ACTION_LOG:
      return v1::ACTION_ALERT;
    case v1::ACTION_ALERT:
      return v1::ACTION_LOG;
    case v1::ACTION_THROTTLE:
      return v1::ACTION_ALERT;
    case v1::ACTION_DENY:
      return v1::ACTION_TRAP;
    case v1::ACTION_TRAP:
      return v1::ACTION_DENY;
    case v1::ACTION_KILL_STORE:
      return v1::ACTION_TRAP;
    case v1::ACTION_QUARANTINE_MODULE:
      return v1::ACTION_KILL_STORE;
    default:
      return v1::ACTION_UNSPECIFIED;
  }
}

// Fields that hold expressions, whatever message they are in.
bool IsExpression(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_STRING &&
         !field.is_repeated() && field.name() == "when";
}

bool IsAction(const FieldDescriptor& field) {
  return !field.is_repeated() &&
         field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM &&
         field.enum_type() == v1::Action_descriptor();
}

// The way from the file's message to one in it: fields, and which of a repeated
// one (-1: it is not).
struct Step {
  const FieldDescriptor* field;
  int index;
};
using Way = std::vector<Step>;

Message* Follow(const Way& way, Message* message) {
  for (const Step& step : way) {
    const Reflection& reflection = *message->GetReflection();
    message = step.index < 0 ? reflection.MutableMessage(message, step.field)
                             : reflection.MutableRepeatedMessage(
                                   message, step.field, step.index);
  }
  return message;
}

class Mutator {
 public:
  explicit Mutator(const LoadedPolicyFile& file) : file_(file) {}

  std::vector<Mutation> Run() {
    struct Pending {
      const Message* message;
      Way way;
      std::string path;
    };
    std::vector<Pending> pending = {{&file_.proto, {}, ""}};
    while (!pending.empty()) {
      const Pending at = std::move(pending.back());
      pending.pop_back();
      const Reflection& reflection = *at.message->GetReflection();
      std::vector<const FieldDescriptor*> fields;
      reflection.ListFields(*at.message, &fields);
      for (const FieldDescriptor* field : fields) {
        const std::string path =
            at.path.empty() ? field->name()
                            : absl::StrCat(at.path, ".", field->name());
        if (path == "tests") continue;
        if (IsExpression(*field)) {
          MutateExpression(*field, *at.message, at.way, path);
        } else if (IsAction(*field)) {
          MutateAction(*field, *at.message, at.way, path);
        } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
                   !field->is_map()) {
          const auto descend = [&](const Message& child, int index,
                                   std::string child_path) {
            Way way = at.way;
            way.push_back({field, index});
            pending.push_back({&child, std::move(way), std::move(child_path)});
          };
          if (!field->is_repeated()) {
            descend(reflection.GetMessage(*at.message, field), -1, path);
            continue;
          }
          for (int i = 0; i < reflection.FieldSize(*at.message, field); ++i) {
            descend(reflection.GetRepeatedMessage(*at.message, field, i), i,
                    absl::StrCat(path, "[", i, "]"));
          }
        }
      }
    }
    return std::move(mutations_);
  }

 private:
  // A mutation to be, and the message in it at the end of `way`.
  Message* Begin(const Way& way, const std::string& path, std::string what) {
    mutations_.push_back(
        {absl::StrCat(path, ": ", what), file_.PositionOf(path), file_});
    return Follow(way, &mutations_.back().file.proto);
  }

  void MutateExpression(const FieldDescriptor& field, const Message& message,
                        const Way& way, const std::string& path) {
    const std::string source =
        message.GetReflection()->GetString(message, &field);
    Lexer lexer(source);
    for (Token token = lexer.Next();
         token.kind != TokenKind::kEnd && token.kind != TokenKind::kBad;
         token = lexer.Next()) {
      const absl::string_view opposite = OppositeOf(token.kind);
      if (opposite.empty()) continue;
      Message* const mutant =
          Begin(way, path,
                absl::StrCat(source.substr(token.at, token.end - token.at),
                             " at byte ", token.at, " became ", opposite));
      mutant->GetReflection()->SetString(
          mutant, &field,
          absl::StrCat(source.substr(0, token.at), opposite,
                       source.substr(token.end)));
    }
  }

  void MutateAction(const FieldDescriptor& field, const Message& message,
                    const Way& way, const std::string& path) {
    const auto was = static_cast<v1::Action>(
        message.GetReflection()->GetEnumValue(message, &field));
    const v1::Action other = NeighbourOf(was);
    if (other == v1::ACTION_UNSPECIFIED) return;
    Message* const mutant =
        Begin(way, path,
              absl::StrCat(VerdictName(static_cast<Verdict>(was)), " became ",
                           VerdictName(static_cast<Verdict>(other))));
    const Reflection& reflection = *mutant->GetReflection();
    reflection.SetEnumValue(mutant, &field, other);
    // What belongs to the action that is gone goes with it.
    for (const char* name : {"throttle", "guest_errno"}) {
      const auto* beside = mutant->GetDescriptor()->FindFieldByName(name);
      if (beside != nullptr) reflection.ClearField(mutant, beside);
    }
  }

  const LoadedPolicyFile& file_;
  std::vector<Mutation> mutations_;
};

}  // namespace

std::vector<Mutation> MutationsOf(const LoadedPolicyFile& file) {
  return Mutator(file).Run();
}

}  // namespace callgate::policy::trial
