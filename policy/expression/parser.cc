// Operator precedence with explicit stacks. `operands_` holds finished nodes;
// `frames_` what still waits for some: operators, brackets, the parts of a
// conditional. A frame remembers how many operands there were when it began,
// so that closing it takes those since.

#include "policy/expression/parser.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/expression/lexer.h"
#include "policy/expression/reserved_words.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

enum Precedence : int {
  kConditional = 1,
  kOr = 2,
  kAnd = 3,
  kRelation = 4,
  kSum = 5,
  kProduct = 6,
  kUnary = 7,
};

struct BinaryOperator {
  TokenKind token;
  Function function;
  Precedence precedence;
};

constexpr BinaryOperator kBinaryOperators[] = {
    {TokenKind::kEqual, Function::kEqual, kRelation},
    {TokenKind::kNotEqual, Function::kNotEqual, kRelation},
    {TokenKind::kLess, Function::kLess, kRelation},
    {TokenKind::kLessEqual, Function::kLessEqual, kRelation},
    {TokenKind::kGreater, Function::kGreater, kRelation},
    {TokenKind::kGreaterEqual, Function::kGreaterEqual, kRelation},
    {TokenKind::kIn, Function::kIn, kRelation},
    {TokenKind::kPlus, Function::kAdd, kSum},
    {TokenKind::kMinus, Function::kSubtract, kSum},
    {TokenKind::kStar, Function::kMultiply, kProduct},
    {TokenKind::kSlash, Function::kDivide, kProduct},
    {TokenKind::kPercent, Function::kModulo, kProduct},
};

struct Frame {
  enum Kind : uint8_t {
    kOperator,  // a unary or binary one
    kLogic,     // && or ||, any number of operands
    kQuestion,  // has its condition, in the middle part
    kColon,     // in the last part
    kParen,
    kList,
    kCall,
    kIndex,
  };
  Kind kind = kParen;
  Function function = Function::kNone;
  bool is_or = false;
  bool has_target = false;
  bool is_absolute = false;
  int precedence = 0;
  uint32_t at = 0;
  size_t operands_before = 0;
  absl::string_view text;
};

class Parser {
 public:
  Parser(absl::string_view source, const Limits& limits, ProblemList* problems)
      : limits_(limits), problems_(problems), lexer_(source) {}

  std::optional<Ast> Run() {
    Advance();
    bool want_operand = true;
    while (!failed_) {
      if (want_operand) {
        want_operand = !TakeOperand();
        continue;
      }
      if (token_.kind == TokenKind::kEnd) {
        Finish();
        break;
      }
      want_operand = TakeOperator();
    }
    if (failed_) return std::nullopt;
    return std::move(ast_);
  }

 private:
  void Advance() {
    token_ = lexer_.Next();
    if (token_.kind != TokenKind::kBad || failed_) return;
    if (!token_.feature.empty()) {
      Refuse(token_.at, token_.feature);
    } else {
      Fail(token_.at, token_.text);
    }
  }

  void Fail(uint32_t at, std::string message) {
    if (failed_) return;
    failed_ = true;
    problems_->Add(at, std::move(message));
  }
  void Refuse(uint32_t at, absl::string_view feature,
              absl::string_view hint = "") {
    if (failed_) return;
    failed_ = true;
    problems_->AddFeature(at, feature, hint);
  }

  absl::string_view Keep(std::string text) {
    ast_.texts.push_back(std::move(text));
    return ast_.texts.back();
  }

  void Push(Frame frame) {
    // A bracket adds no node, so its depth is counted here. Twice, since a
    // bracket and an operator in it may each wait.
    if (frames_.size() >= 2 * static_cast<size_t>(limits_.depth_max)) {
      Fail(frame.at, absl::StrCat("nested too deeply; at most ",
                                  limits_.depth_max, " levels are allowed"));
      return;
    }
    frames_.push_back(frame);
  }

  // Makes a node of the operands since `operands_before`.
  void Build(Node node, size_t operands_before) {
    node.first_child = static_cast<uint32_t>(ast_.children.size());
    node.child_count =
        static_cast<uint32_t>(operands_.size() - operands_before);
    int depth = 1;
    for (size_t i = operands_before; i < operands_.size(); ++i) {
      ast_.children.push_back(operands_[i]);
      depth = std::max(depth, 1 + ast_.nodes[operands_[i]].depth);
    }
    operands_.resize(operands_before);
    if (depth > limits_.depth_max) {
      Fail(node.at, absl::StrCat("nested too deeply; at most ",
                                 limits_.depth_max, " levels are allowed"));
      return;
    }
    if (ast_.nodes.size() >= limits_.nodes_max) {
      Fail(node.at, absl::StrCat("too large; at most ", limits_.nodes_max,
                                 " names, values and operators are allowed"));
      return;
    }
    node.depth = static_cast<uint16_t>(depth);
    operands_.push_back(static_cast<NodeId>(ast_.nodes.size()));
    ast_.nodes.push_back(node);
  }

  void Leaf(Node node) { Build(node, operands_.size()); }

  void Literal(uint32_t at, Value value) {
    Node node;
    node.at = at;
    node.literal = value;
    Leaf(node);
  }

  // Closes operators that bind at least as tightly.
  void Reduce(int precedence) {
    while (!failed_ && !frames_.empty()) {
      const Frame frame = frames_.back();
      Node node;
      node.at = frame.at;
      switch (frame.kind) {
        case Frame::kOperator:
          node.kind = NodeKind::kCall;
          node.function = frame.function;
          break;
        case Frame::kLogic:
          node.kind = frame.is_or ? NodeKind::kOr : NodeKind::kAnd;
          break;
        case Frame::kColon:
          node.kind = NodeKind::kConditional;
          break;
        default:
          return;
      }
      if (frame.precedence < precedence) return;
      frames_.pop_back();
      Build(node, frame.operands_before);
    }
  }

  bool InFrame(Frame::Kind kind) const {
    return !frames_.empty() && frames_.back().kind == kind;
  }
  bool NothingSinceFrame() const {
    return operands_.size() ==
           frames_.back().operands_before + (frames_.back().has_target ? 1 : 0);
  }

  // Whether an operand is complete after it.
  bool TakeOperand() {
    const uint32_t at = token_.at;
    switch (token_.kind) {
      case TokenKind::kInt:
        if (token_.number > kIntMax) {
          Fail(at,
               "this number does not fit an int; for a uint write a u "
               "behind it");
          return false;
        }
        Literal(at, Value::Int(static_cast<int64_t>(token_.number)));
        break;
      case TokenKind::kUint:
        Literal(at, Value::Uint(token_.number));
        break;
      case TokenKind::kDouble:
        Literal(at, Value::Double(token_.real));
        break;
      case TokenKind::kString:
        Literal(at, Value::String(Keep(std::move(token_.text))));
        break;
      case TokenKind::kBytes:
        Literal(at, Value::Bytes(Keep(std::move(token_.text))));
        break;
      case TokenKind::kWord:
        return TakeWord(at, false);
      case TokenKind::kDot:
        Advance();
        if (token_.kind != TokenKind::kWord) {
          return Unexpected("a name after the dot");
        }
        return TakeWord(at, true);
      case TokenKind::kMinus:
        Advance();
        // The sign belongs to the number: the smallest int has no positive
        // counterpart.
        if (token_.kind == TokenKind::kInt) {
          if (token_.number > kIntMax + 1) {
            Fail(at, "this number does not fit an int");
            return false;
          }
          Literal(at, Value::Int(static_cast<int64_t>(0 - token_.number)));
          break;
        }
        if (token_.kind == TokenKind::kDouble) {
          Literal(at, Value::Double(-token_.real));
          break;
        }
        PushUnary(at, Function::kNegate);
        return false;
      case TokenKind::kNot:
        Advance();
        PushUnary(at, Function::kNot);
        return false;
      case TokenKind::kLeftParen:
      case TokenKind::kLeftBracket: {
        Frame frame;
        frame.kind =
            token_.kind == TokenKind::kLeftParen ? Frame::kParen : Frame::kList;
        frame.at = at;
        frame.operands_before = operands_.size();
        Advance();
        Push(frame);
        return false;
      }
      case TokenKind::kLeftBrace:
        Refuse(at, "map");
        return false;
      case TokenKind::kRightBracket:
        // An empty list, or a comma after the last element.
        if (!InFrame(Frame::kList)) return Unexpected("a value");
        CloseList();
        break;
      case TokenKind::kRightParen:
        if (!InFrame(Frame::kCall) || !NothingSinceFrame()) {
          return Unexpected("a value");
        }
        CloseCall();
        break;
      case TokenKind::kQuestion:
        if (InFrame(Frame::kList)) {
          Refuse(at, "optional value");
          return false;
        }
        return Unexpected("a value");
      default:
        return Unexpected("a value");
    }
    Advance();
    return true;
  }

  bool Unexpected(absl::string_view wanted) {
    const uint32_t at = token_.at;
    if (token_.kind == TokenKind::kEnd) {
      Fail(at, absl::StrCat("the expression ends where ", wanted,
                            " should follow"));
    } else {
      Fail(at, absl::StrCat("here should be ", wanted));
    }
    return false;
  }

  void PushUnary(uint32_t at, Function function) {
    Frame frame;
    frame.kind = Frame::kOperator;
    frame.function = function;
    frame.precedence = kUnary;
    frame.at = at;
    frame.operands_before = operands_.size();
    Push(frame);
  }

  bool TakeWord(uint32_t at, bool is_absolute) {
    if (!is_absolute) {
      if (token_.text == "true" || token_.text == "false") {
        Literal(at, Value::Bool(token_.text == "true"));
        Advance();
        return true;
      }
      if (token_.text == "null") {
        Literal(at, Value::Null());
        Advance();
        return true;
      }
    }
    if (IsReservedWord(token_.text)) {
      Fail(at, absl::StrCat(Quote(token_.text), " is a reserved word"));
      return false;
    }
    const absl::string_view text = Keep(std::move(token_.text));
    Advance();
    if (token_.kind == TokenKind::kLeftParen) {
      Frame frame;
      frame.kind = Frame::kCall;
      frame.text = text;
      frame.at = at;
      frame.is_absolute = is_absolute;
      frame.operands_before = operands_.size();
      Advance();
      Push(frame);
      return false;
    }
    Node node;
    node.kind = NodeKind::kName;
    node.text = text;
    node.at = at;
    node.is_absolute = is_absolute;
    Leaf(node);
    return true;
  }

  // Whether an operand has to follow.
  bool TakeOperator() {
    const uint32_t at = token_.at;
    switch (token_.kind) {
      case TokenKind::kDot:
        return TakeSelect(at);
      case TokenKind::kLeftBracket: {
        Advance();
        if (token_.kind == TokenKind::kQuestion) {
          Refuse(token_.at, "optional value");
          return true;
        }
        Frame frame;
        frame.kind = Frame::kIndex;
        frame.at = at;
        frame.operands_before = operands_.size() - 1;
        Push(frame);
        return true;
      }
      case TokenKind::kLeftBrace: {
        const NodeKind kind = ast_.nodes[operands_.back()].kind;
        if (kind == NodeKind::kName || kind == NodeKind::kSelect) {
          Refuse(ast_.nodes[operands_.back()].at, "message");
        } else {
          Fail(at, "a brace cannot follow a value");
        }
        return true;
      }
      case TokenKind::kAnd:
      case TokenKind::kOr: {
        const bool is_or = token_.kind == TokenKind::kOr;
        const int precedence = is_or ? kOr : kAnd;
        Advance();
        Reduce(precedence + 1);
        if (InFrame(Frame::kLogic) && frames_.back().is_or == is_or) {
          return true;  // one more of the same
        }
        Frame frame;
        frame.kind = Frame::kLogic;
        frame.is_or = is_or;
        frame.precedence = precedence;
        frame.at = at;
        frame.operands_before = operands_.size() - 1;
        Push(frame);
        return true;
      }
      case TokenKind::kQuestion: {
        Advance();
        Reduce(kOr);
        if (InFrame(Frame::kQuestion)) {
          Fail(at, "a conditional between ? and : needs parentheses");
          return true;
        }
        Frame frame;
        frame.kind = Frame::kQuestion;
        frame.precedence = kConditional;
        frame.at = at;
        frame.operands_before = operands_.size() - 1;
        Push(frame);
        return true;
      }
      case TokenKind::kColon:
        Reduce(kOr);
        if (!InFrame(Frame::kQuestion)) {
          Fail(at, "a colon without its question mark");
          return true;
        }
        frames_.back().kind = Frame::kColon;
        Advance();
        return true;
      case TokenKind::kComma:
        Reduce(0);
        if (!InFrame(Frame::kCall) && !InFrame(Frame::kList)) {
          Fail(at, "a comma outside of a list and of arguments");
          return true;
        }
        Advance();
        return true;
      case TokenKind::kRightParen:
        Reduce(0);
        if (InFrame(Frame::kParen)) {
          frames_.pop_back();
        } else if (InFrame(Frame::kCall)) {
          CloseCall();
        } else {
          Unmatched(at, "parenthesis");
        }
        Advance();
        return false;
      case TokenKind::kRightBracket:
        Reduce(0);
        if (InFrame(Frame::kList)) {
          CloseList();
        } else if (InFrame(Frame::kIndex)) {
          Node node;
          node.kind = NodeKind::kCall;
          node.function = Function::kIndex;
          node.at = frames_.back().at;
          const size_t before = frames_.back().operands_before;
          frames_.pop_back();
          Build(node, before);
        } else {
          Unmatched(at, "bracket");
        }
        Advance();
        return false;
      default:
        break;
    }
    for (const BinaryOperator& binary : kBinaryOperators) {
      if (binary.token != token_.kind) continue;
      Advance();
      Reduce(binary.precedence);
      Frame frame;
      frame.kind = Frame::kOperator;
      frame.function = binary.function;
      frame.precedence = binary.precedence;
      frame.at = at;
      frame.operands_before = operands_.size() - 1;
      Push(frame);
      return true;
    }
    Unexpected("an operator or the end");
    return true;
  }

  void Unmatched(uint32_t at, absl::string_view what) {
    if (InFrame(Frame::kQuestion)) {
      Fail(frames_.back().at, "a question mark without its colon");
    } else {
      Fail(at, absl::StrCat("a closing ", what, " without its opening one"));
    }
  }

  bool TakeSelect(uint32_t at) {
    Advance();
    if (token_.kind == TokenKind::kQuestion) {
      Refuse(at, "optional value");
      return true;
    }
    if (token_.kind != TokenKind::kWord) {
      Unexpected("a name after the dot");
      return true;
    }
    const uint32_t word_at = token_.at;
    const absl::string_view text = Keep(std::move(token_.text));
    Advance();
    if (token_.kind == TokenKind::kLeftParen) {
      Frame frame;
      frame.kind = Frame::kCall;
      frame.text = text;
      frame.at = word_at;
      frame.has_target = true;
      frame.operands_before = operands_.size() - 1;
      Advance();
      Push(frame);
      return true;
    }
    Node node;
    node.kind = NodeKind::kSelect;
    node.text = text;
    // A dotted name is shown from its beginning.
    node.at = ast_.nodes[operands_.back()].at;
    Build(node, operands_.size() - 1);
    return false;
  }

  void CloseList() {
    Node node;
    node.kind = NodeKind::kList;
    node.at = frames_.back().at;
    const size_t before = frames_.back().operands_before;
    frames_.pop_back();
    Build(node, before);
  }

  void CloseCall() {
    const Frame frame = frames_.back();
    frames_.pop_back();
    Node node;
    node.kind = NodeKind::kCall;
    node.at = frame.at;
    node.text = frame.text;
    node.has_target = frame.has_target;
    node.is_absolute = frame.is_absolute;
    if (frame.has_target && MakeQuantifier(frame, &node)) return;
    Build(node, frame.operands_before);
  }

  // `range.exists(x, body)`. The variable is no operand of the node.
  bool MakeQuantifier(const Frame& frame, Node* node) {
    const bool exists = frame.text == "exists";
    const bool all = frame.text == "all";
    if (!exists && !all && frame.text != "exists_one") return false;
    const size_t arguments = operands_.size() - frame.operands_before - 1;
    if (arguments != 2) {
      if (arguments == 3) {
        Refuse(frame.at, "quantifier with two variables");
      } else {
        Fail(frame.at, absl::StrCat(frame.text,
                                    " takes a variable and a condition, as in "
                                    "list.",
                                    frame.text, "(x, x > 0)"));
      }
      return true;
    }
    const Node& variable = ast_.nodes[operands_[operands_.size() - 2]];
    // What compilers of CEL make of macros, written by hand.
    if (variable.kind == NodeKind::kCall && variable.text == "iterVar") {
      Refuse(variable.at, "extension function", "iterVar");
      return true;
    }
    if (variable.kind != NodeKind::kName || variable.is_absolute) {
      Fail(variable.at, absl::StrCat("the first argument of ", frame.text,
                                     " is the name of its variable"));
      return true;
    }
    node->kind = NodeKind::kQuantifier;
    node->quantifier = exists ? Quantifier::kExists
                       : all  ? Quantifier::kAll
                              : Quantifier::kExistsOne;
    node->text = variable.text;
    operands_.erase(operands_.end() - 2);
    Build(*node, frame.operands_before);
    return true;
  }

  void Finish() {
    Reduce(0);
    if (failed_) return;
    if (!frames_.empty()) {
      Fail(frames_.back().at, InFrame(Frame::kQuestion)
                                  ? "a question mark without its colon"
                                  : "this is never closed");
      return;
    }
    ast_.root = operands_.back();
  }

  static constexpr uint64_t kIntMax =
      static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

  const Limits& limits_;
  ProblemList* const problems_;
  Lexer lexer_;
  Token token_;
  bool failed_ = false;
  Ast ast_;
  std::vector<NodeId> operands_;
  std::vector<Frame> frames_;
};

}  // namespace

std::optional<Ast> Parse(absl::string_view source, const Limits& limits,
                         ProblemList* problems) {
  if (source.size() > limits.source_bytes_max) {
    problems->Add(0, absl::StrCat("the expression has ", source.size(),
                                  " bytes; at most ", limits.source_bytes_max,
                                  " are allowed"));
    return std::nullopt;
  }
  const size_t valid = ValidUtf8Prefix(source);
  if (valid < source.size()) {
    problems->Add(static_cast<uint32_t>(valid), "this is not UTF-8");
    return std::nullopt;
  }
  return Parser(source, limits, problems).Run();
}

}  // namespace callgate::policy::expression
