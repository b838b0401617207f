// Registers are handed out like a stack: a node's result is in the register
// that was the next free one when the node began, or it is an operand that
// needs no register. Code of an operand that turns out not to matter is cut
// off again, which is why constants are made into operands only when an
// instruction needs them.

#include "policy/expression/code_generator.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/expression/call_cost.h"
#include "policy/expression/cost.h"
#include "policy/expression/instruction_choice.h"
#include "policy/expression/operations.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy::expression {
namespace {

// For what folding makes; beyond it, nothing is folded.
constexpr size_t kFoldingBytes = 1 << 20;

struct Result {
  bool is_constant = false;
  Value constant;
  Operand operand = 0;
  SizeBound size;
};

// A node that has been entered and not been left.
struct State {
  NodeId node = 0;
  uint32_t base = 0;  // first register of its own
  size_t begin = 0;   // its first instruction
  uint64_t cost_before = 0;
  size_t part_begin = 0;      // first instruction of the child
  uint64_t part_cost = 0;     // cost before the child
  uint64_t kept_cost = 0;     // of a conditional's first value
  std::vector<size_t> jumps;  // to patch
  bool is_decided = false;
  int chosen = 0;  // child of a conditional
  int operands = 0;
  uint16_t handler = kNoHandler;
  size_t loop = 0;
  Result result;
};

class Generator {
 public:
  Generator(const Ast& ast, const Checked& checked, const Schema& schema,
            const Limits& limits, ProblemList* problems)
      : ast_(ast),
        checked_(checked),
        schema_(schema),
        limits_(limits),
        problems_(problems),
        code_(new Code),
        results_(ast.nodes.size()),
        variables_(ast.nodes.size(), 0),
        arena_(kFoldingBytes) {}

  std::unique_ptr<Code> Run() {
    Walk(ast_, ast_.root, this);
    if (failed_) return nullptr;
    const Result& result = results_[ast_.root];
    code_->type = checked_.nodes[ast_.root].type;
    const Operand returned = Use(result);
    if (result.is_constant && !failed_) {
      code_->constant = code_->constants[NumberOf(returned)];
    }
    Emit(ast_.root, Opcode::kReturn, 0, returned, 0, 0);
    code_->cost = cost_;
    Finish();
    return failed_ ? nullptr : std::move(code_);
  }

  // For Walk.

  bool Stopped() const { return failed_; }

  bool Enter(NodeId id) {
    const NodeInfo& info = checked_.nodes[id];
    if (info.meaning != Meaning::kPlain) {
      results_[id] = Leaf(id);
      return false;
    }
    State state;
    state.node = id;
    state.base = next_register_;
    state.begin = code_->instructions.size();
    state.cost_before = cost_;
    states_.push_back(std::move(state));
    return true;
  }

  bool Before(NodeId id, uint32_t i) {
    State& state = states_.back();
    if (checked_.nodes[id].target_is_namespace && i == 0) return false;
    if (state.is_decided) return false;
    state.part_begin = code_->instructions.size();
    state.part_cost = cost_;
    switch (ast_.at(id).kind) {
      case NodeKind::kAnd:
      case NodeKind::kOr:
        Reserve(state.base + 1);
        return true;
      case NodeKind::kConditional:
        if (i > 0 && state.chosen != 0 && state.chosen != static_cast<int>(i)) {
          return false;
        }
        Reserve(state.base);
        return true;
      case NodeKind::kList:
        Reserve(state.base + i);
        return true;
      case NodeKind::kQuantifier:
        // The list may be where the rest of it will be.
        Reserve(state.base + (i == 0 ? 1 : 3));
        return true;
      default:
        Reserve(state.base + ArgumentsBefore(id, i));
        return true;
    }
  }

  void After(NodeId id, uint32_t i) {
    const Result& child = results_[ast_.child(id, i)];
    switch (ast_.at(id).kind) {
      case NodeKind::kAnd:
      case NodeKind::kOr:
        AfterOperand(ast_.child(id, i), child);
        return;
      case NodeKind::kConditional:
        AfterPart(id, i, child);
        return;
      case NodeKind::kQuantifier:
        if (i == 0) {
          AfterRange(id, child);
        } else {
          AfterBody(id, child);
        }
        return;
      default:
        return;
    }
  }

  void Leave(NodeId id) {
    switch (ast_.at(id).kind) {
      case NodeKind::kAnd:
      case NodeKind::kOr:
        LeaveLogic(id);
        break;
      case NodeKind::kList:
        LeaveList(id);
        break;
      case NodeKind::kCall:
        LeaveCall(id);
        break;
      default:
        break;
    }
    results_[id] = states_.back().result;
    next_register_ = states_.back().base;
    states_.pop_back();
  }

 private:
  // A call's arguments before child i that have a register.
  uint32_t ArgumentsBefore(NodeId id, uint32_t i) const {
    return checked_.nodes[id].target_is_namespace ? i - 1 : i;
  }

  void Fail(NodeId id, std::string message) {
    if (!failed_) problems_->Add(ast_.at(id).at, std::move(message));
    failed_ = true;
  }

  void Reserve(uint32_t next_register) {
    next_register_ = next_register;
    // A node uses at most three more than it reserved.
    if (next_register + 4 > kRegistersMax) {
      Fail(states_.back().node, absl::StrCat("needs more than ", kRegistersMax,
                                             " places for values at once"));
    }
  }

  size_t Emit(NodeId id, Opcode opcode, uint32_t dst, Operand a, Operand b,
              uint64_t data_cost) {
    if (code_->instructions.size() >= limits_.instructions_max) {
      Fail(id, absl::StrCat("too large; at most ", limits_.instructions_max,
                            " instructions are allowed"));
      return code_->instructions.size() - 1;
    }
    Instruction instruction;
    instruction.opcode = opcode;
    instruction.never_fails = NeverFails(opcode);
    instruction.dst = static_cast<uint16_t>(dst);
    instruction.a = a;
    instruction.b = b;
    code_->instructions.push_back(instruction);
    code_->places.push_back(ast_.at(id).at);
    cost_ = SaturatingAdd(cost_, SaturatingAdd(1, data_cost));
    return code_->instructions.size() - 1;
  }

  uint32_t Here() const {
    return static_cast<uint32_t>(code_->instructions.size());
  }

  void CutOff(size_t begin) {
    code_->instructions.resize(begin);
    code_->places.resize(begin);
  }

  // The result as an operand; a constant gets a place of its own.
  Operand Use(const Result& result) {
    if (!result.is_constant) return result.operand;
    if (code_->constants.size() > kOperandNumberMax) {
      Fail(ast_.root, "too many constants");
      return 0;
    }
    code_->constants.push_back(Keep(result.constant));
    return MakeOperand(Space::kConstant,
                       static_cast<uint32_t>(code_->constants.size() - 1));
  }

  // A copy that lives as long as the code.
  Value Keep(const Value& value) {
    if (value.kind() != ValueKind::kList) return KeepScalar(value);
    // Lists are copied from outside in; `copies` are those whose elements
    // still are views of what will go.
    code_->lists.emplace_back(value.as_list().begin(), value.as_list().end());
    std::vector<std::vector<Value>*> copies = {&code_->lists.back()};
    const Value kept = Value::List(code_->lists.back());
    while (!copies.empty()) {
      std::vector<Value>* const copy = copies.back();
      copies.pop_back();
      for (Value& item : *copy) {
        if (item.kind() != ValueKind::kList) {
          item = KeepScalar(item);
          continue;
        }
        code_->lists.emplace_back(item.as_list().begin(), item.as_list().end());
        item = Value::List(code_->lists.back());
        copies.push_back(&code_->lists.back());
      }
    }
    return kept;
  }

  Value KeepScalar(const Value& value) {
    if (value.kind() != ValueKind::kString &&
        value.kind() != ValueKind::kBytes && value.kind() != ValueKind::kIp) {
      return value;
    }
    code_->texts.emplace_back(value.as_string());
    const std::string& text = code_->texts.back();
    switch (value.kind()) {
      case ValueKind::kString:
        return Value::String(text);
      case ValueKind::kBytes:
        return Value::Bytes(text);
      default:
        return Value::Ip(text);
    }
  }

  static Result Constant(const Value& value) {
    Result result;
    result.is_constant = true;
    result.constant = value;
    result.size = SizeOf(value);
    return result;
  }

  static Result Register(uint32_t number, SizeBound size = {}) {
    Result result;
    result.operand = MakeOperand(Space::kRegister, number);
    result.size = size;
    return result;
  }

  Result Leaf(NodeId id) {
    const NodeInfo& info = checked_.nodes[id];
    switch (info.meaning) {
      case Meaning::kConstant:
        return Constant(info.constant);
      case Meaning::kVariable: {
        const Result& range = results_[ast_.child(info.slot, 0)];
        return Register(variables_[info.slot], range.size);
      }
      case Meaning::kFact:
        return FactResult(id, info.slot);
      case Meaning::kHas: {
        const uint32_t dst = next_register_;
        Emit(id, Opcode::kHas, dst, MakeOperand(Space::kFact, info.slot), 0, 0);
        return Register(dst);
      }
      case Meaning::kNamedList:
      case Meaning::kPlain:
        break;
    }
    return Result();
  }

  Result FactResult(NodeId id, uint32_t slot) {
    const Fact& fact = schema_.facts()[slot];
    Result result;
    result.operand = MakeOperand(Space::kFact, slot);
    result.size = SizeOf(fact);
    switch (fact.presence) {
      case Presence::kAlways:
        break;
      case Presence::kOptional:
      case Presence::kUnsure:
        Emit(id, Opcode::kRequire, 0, result.operand, 0, 0);
        break;
      case Presence::kNever:
        Emit(id, Opcode::kThrowAbsent, 0, result.operand, 0, 0);
        result.operand = MakeOperand(Space::kRegister, next_register_);
        break;
      case Presence::kLazy:
        Emit(id, Opcode::kLoadLazy, next_register_, result.operand, 0, 0);
        result.operand = MakeOperand(Space::kRegister, next_register_);
        break;
    }
    return result;
  }

  // Gives the instructions since `begin` that have no handler this one.
  // Returns whether any of them can fail.
  bool SetHandler(size_t begin, uint16_t handler) {
    bool used = false;
    for (size_t i = begin; i < code_->instructions.size(); ++i) {
      Instruction& instruction = code_->instructions[i];
      if (instruction.handler != kNoHandler || instruction.never_fails) {
        continue;
      }
      instruction.handler = handler;
      used = true;
    }
    return used;
  }

  // For the instructions since `begin`; the target is what comes next.
  uint16_t AddHandler(NodeId id, size_t begin, uint32_t result, bool is_first,
                      uint32_t target) {
    if (code_->handlers.size() >= kNoHandler) {
      Fail(id, "too many conditions");
      return kNoHandler;
    }
    const auto number = static_cast<uint16_t>(code_->handlers.size());
    if (!SetHandler(begin, number)) return kNoHandler;
    Handler handler;
    handler.result = static_cast<uint16_t>(result);
    handler.is_first = is_first;
    handler.target = target;
    code_->handlers.push_back(handler);
    return number;
  }

  // --- && and || ---

  void AfterOperand(NodeId operand, const Result& child) {
    State& state = states_.back();
    const bool is_and = ast_.at(state.node).kind == NodeKind::kAnd;
    if (child.is_constant && child.constant.kind() == ValueKind::kBool) {
      if (child.constant.as_bool() == is_and) return;  // changes nothing
      CutOff(state.begin);
      cost_ = state.cost_before;
      state.is_decided = true;
      return;
    }
    const bool is_first = state.operands++ == 0;
    const Opcode opcode = is_and
                              ? is_first ? Opcode::kAndFirst : Opcode::kAndNext
                          : is_first ? Opcode::kOrFirst
                                     : Opcode::kOrNext;
    state.jumps.push_back(EmitStep(operand, opcode, state.base, child));
    const uint16_t handler =
        AddHandler(operand, state.part_begin, state.base, is_first, Here());
    if (handler != kNoHandler) state.handler = handler;
  }

  // An instruction that wants a bool, and fails if a `dyn` is none.
  size_t EmitStep(NodeId operand, Opcode opcode, uint32_t dst,
                  const Result& result) {
    const size_t at = Emit(operand, opcode, dst, Use(result), 0, 0);
    if (checked_.nodes[operand].type.Is(TypeKind::kBool) && !failed_) {
      code_->instructions[at].never_fails = true;
    }
    return at;
  }

  void LeaveLogic(NodeId id) {
    State& state = states_.back();
    const bool is_and = ast_.at(id).kind == NodeKind::kAnd;
    if (state.is_decided) {
      state.result = Constant(Value::Bool(!is_and));
      return;
    }
    if (state.operands == 0) {
      state.result = Constant(Value::Bool(is_and));
      return;
    }
    if (state.handler != kNoHandler) {
      Emit(id, Opcode::kLogicEnd, state.base, 0, 0, 0);
    }
    for (const size_t jump : state.jumps) {
      code_->instructions[jump].target = Here();
    }
    state.result = Register(state.base);
  }

  // --- conditionals ---

  void AfterPart(NodeId id, uint32_t i, const Result& child) {
    State& state = states_.back();
    if (i == 0) {
      if (child.is_constant && child.constant.kind() == ValueKind::kBool) {
        state.chosen = child.constant.as_bool() ? 1 : 2;
        return;
      }
      state.jumps.push_back(
          EmitStep(ast_.child(id, 0), Opcode::kBranchFalse, 0, child));
      return;
    }
    if (state.chosen != 0) {
      state.result = child;
      return;
    }
    const bool is_then = i == 1;
    const Operand wanted = MakeOperand(Space::kRegister, state.base);
    if (child.is_constant || child.operand != wanted) {
      Emit(ast_.child(id, i), Opcode::kMove, state.base, Use(child), 0, 0);
    }
    if (is_then) {
      const size_t jump = Emit(id, Opcode::kJump, 0, 0, 0, 0);
      if (failed_) return;
      code_->instructions[state.jumps[0]].target = Here();
      state.jumps[0] = jump;
      state.kept_cost = cost_;
      cost_ = state.part_cost;
      state.result = Register(state.base, child.size);
      return;
    }
    code_->instructions[state.jumps[0]].target = Here();
    cost_ = std::max(cost_, state.kept_cost);
    state.result = Register(state.base, Either(state.result.size, child.size));
  }

  // --- lists ---

  void LeaveList(NodeId id) {
    State& state = states_.back();
    const auto children = ast_.children_of(id);
    const bool is_constant = std::all_of(
        children.begin(), children.end(),
        [this](NodeId child) { return results_[child].is_constant; });
    if (is_constant) {
      std::vector<Value> items;
      for (const NodeId child : children) {
        items.push_back(results_[child].constant);
      }
      Work work{&arena_, 0};
      const Value list =
          MakeList(items.data(), static_cast<uint32_t>(items.size()), &work);
      if (!list.is_error()) {
        state.result = Constant(list);
        return;
      }
    }
    Reserve(state.base + static_cast<uint32_t>(children.size()));
    SizeBound size;
    size.items = children.size();
    uint32_t next = state.base;
    for (const NodeId child : children) {
      const Result& item = results_[child];
      if (item.is_constant ||
          item.operand != MakeOperand(Space::kRegister, next)) {
        Emit(child, Opcode::kMove, next, Use(item), 0, 0);
      }
      ++next;
      size.bytes = std::max(size.bytes, item.size.bytes);
      size.items = std::max(size.items, item.size.items);
      size.total = SaturatingAdd(size.total, item.size.total);
    }
    const size_t made =
        Emit(id, Opcode::kMakeList, state.base,
             MakeOperand(Space::kRegister, state.base), 0, children.size());
    code_->instructions[made].target = static_cast<uint32_t>(children.size());
    state.result = Register(state.base, size);
  }

  // --- quantifiers ---

  void AfterRange(NodeId id, const Result& range) {
    State& state = states_.back();
    const Quantifier quantifier = ast_.at(id).quantifier;
    if (range.is_constant && range.constant.kind() == ValueKind::kList &&
        range.constant.size() == 0) {
      state.is_decided = true;
      state.result = Constant(Value::Bool(quantifier == Quantifier::kAll));
      return;
    }
    const size_t begin =
        Emit(id, Opcode::kQuantifierBegin, state.base, Use(range), 0, 0);
    if (failed_) return;
    code_->instructions[begin].extra = static_cast<uint16_t>(quantifier);
    code_->instructions[begin].never_fails =
        checked_.nodes[ast_.child(id, 0)].type.is_list();
    state.loop = Emit(id, Opcode::kQuantifierNext, state.base, 0, 0, 0);
    variables_[id] = state.base + 2;
  }

  void AfterBody(NodeId id, const Result& body) {
    State& state = states_.back();
    const Quantifier quantifier = ast_.at(id).quantifier;
    const NodeId body_id = ast_.child(id, 1);
    const bool counts = quantifier == Quantifier::kExistsOne;
    const Opcode step = counts                           ? Opcode::kCountNext
                        : quantifier == Quantifier::kAll ? Opcode::kAndNext
                                                         : Opcode::kOrNext;
    const size_t at = EmitStep(body_id, step, state.base, body);
    if (!counts) {
      state.handler = AddHandler(id, state.part_begin, state.base, false,
                                 static_cast<uint32_t>(state.loop));
    }
    const size_t jump = Emit(id, Opcode::kJump, 0, 0, 0, 0);
    code_->instructions[jump].target = static_cast<uint32_t>(state.loop);
    // The body was counted once.
    const uint64_t once = SaturatingAdd(cost_ - state.part_cost, 1);
    const uint64_t items = results_[ast_.child(id, 0)].size.items;
    cost_ = SaturatingAdd(state.part_cost, SaturatingMultiply(items, once));
    code_->instructions[state.loop].target = Here();
    if (!counts) code_->instructions[at].target = Here();
    if (counts) {
      Emit(id, Opcode::kCountEnd, state.base, 0, 0, 0);
    } else if (state.handler != kNoHandler) {
      Emit(id, Opcode::kLogicEnd, state.base, 0, 0, 0);
    }
    state.result = Register(state.base);
  }

  // --- calls ---

  void LeaveCall(NodeId id) {
    const NodeInfo& info = checked_.nodes[id];
    State& state = states_.back();
    NodeId arguments[2] = {};
    size_t count = 0;
    for (uint32_t i = info.target_is_namespace ? 1 : 0;
         i < ast_.at(id).child_count; ++i) {
      arguments[count++] = ast_.child(id, i);
    }
    const Result& a = results_[arguments[0]];
    // A duration of a duration is that one.
    if (info.function == Function::kDyn ||
        info.function == Function::kDuration) {
      state.result = a;
      return;
    }
    const NodeInfo& last = checked_.nodes[arguments[count - 1]];
    if (last.meaning == Meaning::kNamedList || info.pattern != nullptr) {
      state.result = InNamedList(id, a, last.list);
      return;
    }
    const Result b = count > 1 ? results_[arguments[1]] : Result();
    if (a.is_constant && (count == 1 || b.is_constant)) {
      Work work{&arena_, 0};
      const Value folded = Apply(info.function, a.constant, b.constant, &work);
      if (!folded.is_error()) {
        state.result = Constant(folded);
        return;
      }
    }
    const Type type_a = checked_.nodes[arguments[0]].type;
    const Type type_b = count > 1 ? last.type : Type();
    EmitCall(id, info.function, a, type_a, b, type_b, count);
    state.result =
        Register(state.base, SizeOfCall(info.function, a.size, b.size));
  }

  void EmitCall(NodeId id, Function function, const Result& a, Type type_a,
                const Result& b, Type type_b, size_t count) {
    const InstructionChoice choice =
        ChooseInstruction(function, type_a, count > 1 ? type_b : type_a);
    Operand first = Use(a);
    Operand second = count > 1 ? Use(b) : Operand{0};
    if (choice.swaps) std::swap(first, second);
    const size_t at = Emit(id, choice.opcode, states_.back().base, first,
                           second, CostOfCall(function, a.size, b.size));
    if (failed_) return;
    code_->instructions[at].extra = static_cast<uint16_t>(function);
    if (NeverFails(function, type_a, type_b)) {
      code_->instructions[at].never_fails = true;
    }
  }

  // Adds a list of lists that instructions name by number.
  template <typename List>
  uint16_t AddTo(std::vector<std::shared_ptr<const List>>* lists,
                 const std::shared_ptr<const List>& list) {
    const auto found = std::find(lists->begin(), lists->end(), list);
    if (found == lists->end()) {
      CALLGATE_CHECK(lists->size() < 0xffff, "fewer lists than nodes");
      lists->push_back(list);
      return static_cast<uint16_t>(lists->size() - 1);
    }
    return static_cast<uint16_t>(found - lists->begin());
  }

  Result InNamedList(NodeId id, const Result& a,
                     const Schema::NamedList* list) {
    const NodeInfo& info = checked_.nodes[id];
    CALLGATE_CHECK(list != nullptr || info.pattern != nullptr,
                   "the checker found a list or a pattern");
    const std::shared_ptr<const PatternList> patterns =
        info.pattern != nullptr ? info.pattern : list->patterns;
    const std::shared_ptr<const GlobList> globs =
        list != nullptr ? list->globs : nullptr;
    Work work{&arena_, 0};
    if (a.is_constant) {
      const Value folded =
          patterns != nullptr ? FoundIn(a.constant, *patterns, &work)
          : globs != nullptr  ? InGlobs(a.constant, *globs, &work)
                              : InNetworks(a.constant, *list->networks, &work);
      if (!folded.is_error()) return Constant(folded);
    }
    const uint32_t base = states_.back().base;
    size_t at;
    uint16_t number;
    if (patterns != nullptr) {
      number = AddTo(&code_->patterns, patterns);
      at = Emit(id, Opcode::kFoundIn, base, Use(a), 0,
                PatternsCost(patterns->size(), a.size.bytes));
    } else if (globs != nullptr) {
      number = AddTo(&code_->globs, globs);
      at = Emit(id, Opcode::kInGlobs, base, Use(a), 0,
                GlobsCost(globs->size(), globs->words(), a.size.bytes));
    } else {
      number = AddTo(&code_->networks, list->networks);
      at = Emit(id, Opcode::kInNetworks, base, Use(a), 0, kNetworksCost);
    }
    if (failed_) return Result();
    code_->instructions[at].extra = number;
    code_->instructions[at].never_fails =
        globs != nullptr &&
        checked_.nodes[ast_.child(id, 0)].type.Is(TypeKind::kString);
    return Register(base);
  }

  // --- the end ---

  void Finish() {
    if (failed_) return;
    std::vector<bool> seen(schema_.facts().size(), false);
    for (size_t i = 0; i < code_->instructions.size(); ++i) {
      const Instruction& instruction = code_->instructions[i];
      if (instruction.opcode == Opcode::kThrowAbsent) {
        const std::string& name = schema_.facts()[NumberOf(instruction.a)].name;
        problems_->Add(code_->places[i],
                       absl::StrCat("there is no ", name,
                                    "; correct the name, or guard it: has(",
                                    name, ") && …"));
        failed_ = true;
        return;
      }
      for (const Operand operand : {instruction.a, instruction.b}) {
        if (SpaceOf(operand) != Space::kFact) continue;
        const uint16_t slot = NumberOf(operand);
        if (seen[slot]) continue;
        seen[slot] = true;
        const Fact& fact = schema_.facts()[slot];
        FactRead read;
        read.slot = slot;
        read.kind = KindOf(fact.type);
        read.may_be_absent = fact.presence == Presence::kOptional ||
                             fact.presence == Presence::kUnsure;
        read.may_be_lazy = fact.presence == Presence::kLazy;
        code_->reads.push_back(read);
      }
    }
    if (code_->cost > limits_.cost_max) {
      Fail(ast_.root,
           absl::StrCat("may take ", code_->cost, " steps; at most ",
                        limits_.cost_max,
                        " are allowed, so use shorter lists or texts"));
    }
  }

  const Ast& ast_;
  const Checked& checked_;
  const Schema& schema_;
  const Limits& limits_;
  ProblemList* const problems_;
  std::unique_ptr<Code> code_;
  std::vector<Result> results_;
  std::vector<uint32_t> variables_;  // registers, by quantifier
  std::vector<State> states_;
  Arena arena_;  // of folded values
  uint32_t next_register_ = 0;
  uint64_t cost_ = 0;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Code> GenerateCode(const Ast& ast, const Checked& checked,
                                   const Schema& schema, const Limits& limits,
                                   ProblemList* problems) {
  return Generator(ast, checked, schema, limits, problems).Run();
}

}  // namespace callgate::policy::expression
