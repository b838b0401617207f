#include "tests/fuzz/body_generator.h"

#include <algorithm>
#include <iterator>

namespace callgate::fuzz {
namespace {

constexpr uint32_t kDepthMax = 9;
constexpr ValType kTypes[] = {ValType::kI32, ValType::kI64, ValType::kF32,
                              ValType::kF64, ValType::kV128};

// The bytes that operators of memory move, as a power of two.
struct Access {
  unsigned opcode;
  uint32_t size_log2;
};
constexpr Access kI32Loads[] = {
    {0x28, 2}, {0x2c, 0}, {0x2d, 0}, {0x2e, 1}, {0x2f, 1}};
constexpr Access kI64Loads[] = {{0x29, 3}, {0x30, 0}, {0x31, 0}, {0x32, 1},
                                {0x33, 1}, {0x34, 2}, {0x35, 2}};
constexpr Access kF32Loads[] = {{0x2a, 2}};
constexpr Access kF64Loads[] = {{0x2b, 3}};
constexpr Access kVectorLoads[] = {{0, 4},  {1, 3},  {2, 3}, {3, 3}, {4, 3},
                                   {5, 3},  {6, 3},  {7, 0}, {8, 1}, {9, 2},
                                   {10, 3}, {92, 2}, {93, 3}};
constexpr Access kStores[] = {{0x36, 2}, {0x37, 3}, {0x38, 2},
                              {0x39, 3}, {0x3a, 0}, {0x3b, 1},
                              {0x3c, 0}, {0x3d, 1}, {0x3e, 2}};

struct Range {
  unsigned first;
  unsigned last;
};

// Operators of v128 -> v128 and (v128, v128) -> v128, behind the prefix.
constexpr Range kVectorUnary[] = {
    {77, 77},   {94, 98},   {103, 106}, {116, 117}, {122, 122}, {124, 129},
    {135, 138}, {148, 148}, {160, 161}, {167, 170}, {192, 193}, {199, 202},
    {224, 225}, {227, 227}, {236, 237}, {239, 239}, {248, 255}};
constexpr Range kVectorBinary[] = {
    {14, 14},   {35, 76},   {78, 81},   {101, 102}, {110, 115}, {118, 121},
    {123, 123}, {130, 130}, {133, 134}, {142, 147}, {149, 153}, {155, 159},
    {174, 174}, {177, 177}, {181, 186}, {188, 191}, {206, 206}, {209, 209},
    {213, 223}, {228, 235}, {240, 247}};
constexpr Range kVectorShifts[] = {
    {107, 109}, {139, 141}, {171, 173}, {203, 205}};

template <size_t N>
uint32_t CountOf(const Range (&ranges)[N]) {
  uint32_t count = 0;
  for (const Range& range : ranges) count += range.last - range.first + 1;
  return count;
}

template <size_t N>
unsigned Nth(const Range (&ranges)[N], uint32_t n) {
  for (const Range& range : ranges) {
    const uint32_t count = range.last - range.first + 1;
    if (n < count) return range.first + n;
    n -= count;
  }
  return ranges[0].first;
}

template <typename T, size_t N>
const T& Pick(ByteSource& source, const T (&list)[N]) {
  return list[source.Below(static_cast<uint32_t>(N))];
}

// Lanes of f32 (1) or f64 (2) that an operator computes, or neither.
int ComputedLanes(unsigned opcode) {
  if ((opcode >= 103 && opcode <= 106) || (opcode >= 227 && opcode <= 233) ||
      opcode == 94) {
    return 1;
  }
  if (opcode == 116 || opcode == 117 || opcode == 122 || opcode == 148 ||
      (opcode >= 239 && opcode <= 245) || opcode == 95) {
    return 2;
  }
  return 0;
}

}  // namespace

BodyGenerator::BodyGenerator(const ModulePlan& plan, uint32_t function,
                             ByteSource source, bool canonical_nans)
    : plan_(plan),
      type_(plan.TypeOf(function)),
      function_(function),
      source_(source),
      canonical_nans_(canonical_nans),
      locals_(type_.params) {
  const uint32_t more = Below(6);
  for (uint32_t i = 0; i < more; ++i) locals_.push_back(AnyType());
  scratch_ = static_cast<uint32_t>(locals_.size());
  left_ = static_cast<int32_t>(12 + Below(90));
}

void BodyGenerator::WriteTo(CodeWriter& section) {
  labels_.push_back({type_.results});
  ReturnIfSpent();
  for (size_t i = type_.params.size(); i < locals_.size(); ++i) {
    Constant(locals_[i]);
    Index(0x21, i);
  }
  Statement();
  Statements(6);
  Values(type_.results);
  Op(0x0b);

  CodeWriter body;
  const size_t own = locals_.size() - type_.params.size();
  body.Unsigned(own + std::size(kTypes) + (counters_.empty() ? 0 : 1));
  for (size_t i = type_.params.size(); i < locals_.size(); ++i) {
    body.Unsigned(1);
    body.Type(locals_[i]);
  }
  for (const ValType type : kTypes) {
    body.Unsigned(1);
    body.Type(type);
  }
  if (!counters_.empty()) {
    body.Unsigned(counters_.size());
    body.Type(ValType::kI32);
  }
  body.Raw(code_.bytes());
  section.Sized(body);
}

// ---------------------------------------------------------------- emitting

void BodyGenerator::Op(unsigned prefix, unsigned opcode) {
  code_.Byte(prefix);
  code_.Unsigned(opcode);
}

void BodyGenerator::I32(int32_t value) {
  code_.Byte(0x41);
  code_.Signed(value);
}

void BodyGenerator::Index(unsigned opcode, uint64_t index) {
  code_.Byte(opcode);
  code_.Unsigned(index);
}

void BodyGenerator::BlockType(const std::vector<ValType>& results) {
  if (results.empty()) {
    code_.Byte(0x40);
  } else {
    code_.Type(results[0]);
  }
}

void BodyGenerator::ReturnIfSpent() {
  Index(0x23, 0);
  I32(1);
  Op(0x6b);
  Index(0x24, 0);
  Index(0x23, 0);
  I32(0);
  Op(0x48);
  Op(0x04);
  Op(0x40);
  for (const ValType type : type_.results) WriteConst(code_, type, {});
  Op(0x0f);
  Op(0x0b);
}

void BodyGenerator::MakeCanonical(ValType type, bool narrow_lanes) {
  if (!canonical_nans_) return;
  const auto at = static_cast<uint32_t>(
      std::find(std::begin(kTypes), std::end(kTypes), type) -
      std::begin(kTypes));
  Index(0x22, scratch_ + at);
  if (type == ValType::kV128) {
    V128 nans;
    for (size_t i = 0; i < 16; ++i) {
      const size_t in_lane = i % (narrow_lanes ? 4 : 8);
      const size_t last = narrow_lanes ? 3 : 7;
      if (in_lane == last) nans.bytes[i] = 0x7f;
      if (in_lane == last - 1) nans.bytes[i] = narrow_lanes ? 0xc0 : 0xf8;
    }
    WriteConst(code_, type, RawValue::Vector(nans));
    Index(0x20, scratch_ + at);
    Index(0x20, scratch_ + at);
    Op(0xfd, narrow_lanes ? 65 : 71);
    Op(0xfd, 82);
    return;
  }
  const bool narrow = type == ValType::kF32;
  WriteConst(
      code_, type,
      narrow ? RawValue::I32(0x7fc00000) : RawValue::I64(0x7ff8000000000000));
  Index(0x20, scratch_ + at);
  Index(0x20, scratch_ + at);
  Op(narrow ? 0x5b : 0x61);
  Op(0x1b);
}

// ---------------------------------------------------------------- choices

bool BodyGenerator::Spent() {
  return left_ <= 0 || depth_ >= kDepthMax || source_.exhausted();
}

std::vector<uint32_t> BodyGenerator::LocalsOf(ValType type) const {
  std::vector<uint32_t> found;
  for (uint32_t i = 0; i < locals_.size(); ++i) {
    if (locals_[i] == type) found.push_back(i);
  }
  return found;
}

std::vector<uint32_t> BodyGenerator::GlobalsOf(ValType type,
                                               bool to_write) const {
  std::vector<uint32_t> found;
  for (uint32_t i = 1; i < plan_.globals.size(); ++i) {
    if (plan_.globals[i].type == type &&
        (plan_.globals[i].is_mutable || !to_write)) {
      found.push_back(i);
    }
  }
  return found;
}

std::vector<uint32_t> BodyGenerator::FunctionsWith(ValType result) const {
  std::vector<uint32_t> found;
  for (uint32_t i = 0; i < plan_.functions.size(); ++i) {
    const std::vector<ValType>& results = plan_.TypeOf(i).results;
    if (std::find(results.begin(), results.end(), result) != results.end()) {
      found.push_back(i);
    }
  }
  return found;
}

ValType BodyGenerator::AnyType() { return Pick(source_, kTypes); }

// ---------------------------------------------------------------- values

void BodyGenerator::Constant(ValType type) {
  WriteConst(code_, type, InterestingValue(type, source_));
}

void BodyGenerator::Leaf(ValType type) {
  if (type == ValType::kFuncRef) return Reference();
  const uint32_t choice = Below(5);
  const std::vector<uint32_t> locals = LocalsOf(type);
  if (choice >= 2 && !locals.empty()) return Index(0x20, AnyOf(locals));
  if (choice == 1) {
    const std::vector<uint32_t> globals = GlobalsOf(type, false);
    if (!globals.empty()) return Index(0x23, AnyOf(globals));
  }
  Constant(type);
}

void BodyGenerator::Reference() {
  switch (Below(3)) {
    case 0:
      Op(0xd0);
      Op(0x70);
      return;
    case 1: {
      const auto own =
          static_cast<uint32_t>(plan_.functions.size()) - kHostImports;
      Index(0xd2, kHostImports + Below(own));
      return;
    }
    default: {
      const uint32_t table =
          Below(static_cast<uint32_t>(plan_.table_sizes.size()));
      TableIndex();
      Index(0x25, table);
      return;
    }
  }
}

void BodyGenerator::Value(ValType type) {
  if (Spent()) return Leaf(type);
  --left_;
  ++depth_;
  switch (Below(9)) {
    case 0:
    case 1:
      Leaf(type);
      break;
    case 2:
      Structured(type);
      break;
    case 3:
      CallFor(type);
      break;
    case 4:
      LoadOf(type);
      break;
    default:
      switch (type) {
        case ValType::kI32:
          I32Value();
          break;
        case ValType::kI64:
          I64Value();
          break;
        case ValType::kF32:
          F32Value();
          break;
        case ValType::kF64:
          F64Value();
          break;
        case ValType::kV128:
          V128Value();
          break;
        default:
          Reference();
          break;
      }
      break;
  }
  --depth_;
}

void BodyGenerator::Values(const std::vector<ValType>& types) {
  if (types.size() > 1 && !Spent() && OneIn(3)) {
    // All of them at once.
    for (uint32_t i = 0; i < plan_.functions.size(); ++i) {
      if (plan_.TypeOf(i).results == types) return Call(i);
    }
  }
  for (const ValType type : types) Value(type);
}

void BodyGenerator::Condition() { Value(ValType::kI32); }

void BodyGenerator::IntOperator(ValType type) {
  const bool narrow = type == ValType::kI32;
  switch (Below(4)) {
    case 0:  // of one operand
      Value(type);
      if (narrow) {
        static constexpr unsigned kUnary[] = {0x67, 0x68, 0x69, 0xc0, 0xc1};
        Op(Pick(source_, kUnary));
      } else {
        static constexpr unsigned kUnary[] = {0x79, 0x7a, 0x7b,
                                              0xc2, 0xc3, 0xc4};
        Op(Pick(source_, kUnary));
      }
      return;
    case 1: {  // division, mostly by what is not zero
      const bool any = OneIn(5);
      if (any && OneIn(2)) {
        // The lowest of all, whose negative there is not.
        WriteConst(code_, type,
                   narrow ? RawValue::I32(uint32_t{1} << 31)
                          : RawValue::I64(uint64_t{1} << 63));
      } else {
        Value(type);
      }
      if (any && OneIn(2)) {
        WriteConst(code_, type, RawValue::I64(~uint64_t{0}));
      } else {
        Value(type);
      }
      if (!any) {
        WriteConst(code_, type, RawValue::I32(1));
        Op(narrow ? 0x72 : 0x84);
      }
      Op((narrow ? 0x6d : 0x7f) + Below(4));
      return;
    }
    default: {
      Value(type);
      Value(type);
      // add, sub, mul, and, or, xor and the shifts
      static constexpr unsigned kBinary[] = {0,  1,  2,  7,  8, 9,
                                             10, 11, 12, 13, 14};
      Op((narrow ? 0x6a : 0x7c) + Pick(source_, kBinary));
      return;
    }
  }
}

void BodyGenerator::FloatOperator(ValType type) {
  const bool narrow = type == ValType::kF32;
  const uint32_t choice = Below(14);
  Value(type);
  if (choice < 7) {  // abs, neg, ceil, floor, trunc, nearest, sqrt
    Op((narrow ? 0x8b : 0x99) + choice);
    if (choice >= 2) MakeCanonical(type, false);
    return;
  }
  Value(type);
  // What the others do with a NaN shows least.
  if (choice >= 11 && OneIn(4)) {
    Op(0x1a);
    WriteConst(
        code_, type,
        narrow ? RawValue::I32(0x7fc00000) : RawValue::I64(0x7ff8000000000000));
  }
  // add, sub, mul, div, min, max, copysign
  Op((narrow ? 0x92 : 0xa0) + (choice - 7));
  if (choice != 13) MakeCanonical(type, false);
}

void BodyGenerator::I32Value() {
  switch (Below(12)) {
    case 0:  // comparisons
      Value(ValType::kI32);
      Value(ValType::kI32);
      return Op(0x46 + Below(10));
    case 1:
      Value(ValType::kI64);
      Value(ValType::kI64);
      return Op(0x51 + Below(10));
    case 2:
      Value(ValType::kF32);
      Value(ValType::kF32);
      return Op(0x5b + Below(6));
    case 3:
      Value(ValType::kF64);
      Value(ValType::kF64);
      return Op(0x61 + Below(6));
    case 4:
      if (OneIn(2)) {
        Value(ValType::kI64);
        return Op(0x50);
      }
      Value(ValType::kI32);
      return Op(0x45);
    case 5: {  // conversions
      const uint32_t choice = Below(8);
      if (choice == 0) {
        Value(ValType::kF32);
        return Op(0xbc);
      }
      if (choice == 1) {  // these trap
        const bool narrow = OneIn(2);
        Value(narrow ? ValType::kF32 : ValType::kF64);
        return Op((narrow ? 0xa8 : 0xaa) + Below(2));
      }
      if (choice < 5) {
        const bool narrow = OneIn(2);
        Value(narrow ? ValType::kF32 : ValType::kF64);
        return Op(0xfc, (narrow ? 0 : 2) + Below(2));
      }
      Value(ValType::kI64);
      return Op(0xa7);
    }
    case 6: {  // of vectors
      Value(ValType::kV128);
      switch (Below(5)) {
        case 0:
          return Op(0xfd, 83);
        case 1: {
          static constexpr unsigned kTests[] = {99,  100, 131, 132,
                                                163, 164, 195, 196};
          return Op(0xfd, Pick(source_, kTests));
        }
        case 2:
          Op(0xfd, 21 + Below(2));
          return code_.Byte(Below(16));
        case 3:
          Op(0xfd, 24 + Below(2));
          return code_.Byte(Below(8));
        default:
          Op(0xfd, 27);
          return code_.Byte(Below(4));
      }
    }
    case 7: {
      const uint32_t memory = AnyMemory();
      if (OneIn(3)) {
        // Mostly by nothing, and hardly ever by more than is allowed.
        I32(static_cast<int32_t>(OneIn(8) ? 0x10000 : Below(2)));
        if (plan_.memory64 && memory == 0) Op(0xac);
        Index(0x40, memory);
      } else {
        Index(0x3f, memory);
      }
      if (plan_.memory64 && memory == 0) Op(0xa7);
      return;
    }
    case 8:
      if (OneIn(2)) {
        Reference();
        return Op(0xd1);
      }
      Op(0xfc, 16);
      return code_.Unsigned(
          Below(static_cast<uint32_t>(plan_.table_sizes.size())));
    default:
      return IntOperator(ValType::kI32);
  }
}

void BodyGenerator::I64Value() {
  switch (Below(6)) {
    case 0: {
      const uint32_t choice = Below(8);
      if (choice == 0) {
        Value(ValType::kF64);
        return Op(0xbd);
      }
      if (choice == 1) {
        const bool narrow = OneIn(2);
        Value(narrow ? ValType::kF32 : ValType::kF64);
        return Op((narrow ? 0xae : 0xb0) + Below(2));
      }
      if (choice < 5) {
        const bool narrow = OneIn(2);
        Value(narrow ? ValType::kF32 : ValType::kF64);
        return Op(0xfc, (narrow ? 4 : 6) + Below(2));
      }
      Value(ValType::kI32);
      return Op(0xac + Below(2));
    }
    case 1:
      Value(ValType::kV128);
      Op(0xfd, 29);
      return code_.Byte(Below(2));
    default:
      return IntOperator(ValType::kI64);
  }
}

void BodyGenerator::F32Value() {
  switch (Below(6)) {
    case 0:
      switch (Below(4)) {
        case 0:
          Value(ValType::kI32);
          return Op(0xbe);
        case 1:
          Value(ValType::kI32);
          return Op(0xb2 + Below(2));
        case 2:
          Value(ValType::kI64);
          return Op(0xb4 + Below(2));
        default:
          Value(ValType::kF64);
          Op(0xb6);
          return MakeCanonical(ValType::kF32, false);
      }
    case 1:
      Value(ValType::kV128);
      Op(0xfd, 31);
      return code_.Byte(Below(4));
    default:
      return FloatOperator(ValType::kF32);
  }
}

void BodyGenerator::F64Value() {
  switch (Below(6)) {
    case 0:
      switch (Below(4)) {
        case 0:
          Value(ValType::kI64);
          return Op(0xbf);
        case 1:
          Value(ValType::kI32);
          return Op(0xb7 + Below(2));
        case 2:
          Value(ValType::kI64);
          return Op(0xb9 + Below(2));
        default:
          Value(ValType::kF32);
          Op(0xbb);
          return MakeCanonical(ValType::kF64, false);
      }
    case 1:
      Value(ValType::kV128);
      Op(0xfd, 33);
      return code_.Byte(Below(2));
    default:
      return FloatOperator(ValType::kF64);
  }
}

void BodyGenerator::V128Value() {
  switch (Below(8)) {
    case 0: {  // splats
      const uint32_t shape = Below(6);
      static constexpr ValType kLanes[] = {ValType::kI32, ValType::kI32,
                                           ValType::kI32, ValType::kI64,
                                           ValType::kF32, ValType::kF64};
      Value(kLanes[shape]);
      return Op(0xfd, 15 + shape);
    }
    case 1: {  // replaced lanes
      struct Replace {
        unsigned opcode;
        ValType type;
        uint32_t lanes;
      };
      static constexpr Replace kReplaces[] = {
          {23, ValType::kI32, 16}, {26, ValType::kI32, 8},
          {28, ValType::kI32, 4},  {30, ValType::kI64, 2},
          {32, ValType::kF32, 4},  {34, ValType::kF64, 2}};
      const Replace& replace = Pick(source_, kReplaces);
      Value(ValType::kV128);
      Value(replace.type);
      Op(0xfd, replace.opcode);
      return code_.Byte(Below(replace.lanes));
    }
    case 2: {
      Value(ValType::kV128);
      Value(ValType::kI32);
      return Op(0xfd, Nth(kVectorShifts, Below(CountOf(kVectorShifts))));
    }
    case 3:
      if (OneIn(2)) {
        Value(ValType::kV128);
        Value(ValType::kV128);
        Op(0xfd, 13);
        for (int i = 0; i < 16; ++i) code_.Byte(Below(32));
        return;
      }
      Value(ValType::kV128);
      Value(ValType::kV128);
      Value(ValType::kV128);
      return Op(0xfd, 82);
    case 4: {
      Value(ValType::kV128);
      const unsigned opcode = Nth(kVectorUnary, Below(CountOf(kVectorUnary)));
      Op(0xfd, opcode);
      const int lanes = ComputedLanes(opcode);
      if (lanes != 0) MakeCanonical(ValType::kV128, lanes == 1);
      return;
    }
    default: {
      Value(ValType::kV128);
      Value(ValType::kV128);
      const unsigned opcode = Nth(kVectorBinary, Below(CountOf(kVectorBinary)));
      Op(0xfd, opcode);
      const int lanes = ComputedLanes(opcode);
      if (lanes != 0) MakeCanonical(ValType::kV128, lanes == 1);
      return;
    }
  }
}

void BodyGenerator::Structured(ValType type) {
  const uint32_t choice = Below(7);
  switch (choice) {
    case 0: {
      Value(type);
      Value(type);
      Condition();
      if (OneIn(2) && type != ValType::kFuncRef) return Op(0x1b);
      Op(0x1c);
      Op(0x01);
      return code_.Type(type);
    }
    case 1:
    case 2:
      Condition();
      Op(0x04);
      BlockType({type});
      labels_.push_back({{type}});
      for (int arm = 0; arm < 2; ++arm) {
        if (arm == 1) Op(0x05);
        Statements(2);
        if (OneIn(5)) {
          Terminator();
          if (OneIn(3)) Value(type);
        } else {
          Value(type);
        }
      }
      PopLabel();
      return Op(0x0b);
    case 3: {
      std::vector<uint32_t> fitting;
      for (uint32_t i = 0; i < labels_.size(); ++i) {
        if (labels_[i].types.size() == 1 && labels_[i].types[0] == type) {
          fitting.push_back(i);
        }
      }
      Value(type);
      if (fitting.empty()) return;
      Condition();
      return Index(0x0d, labels_.size() - 1 - AnyOf(fitting));
    }
    case 4: {
      const std::vector<uint32_t> locals = LocalsOf(type);
      Value(type);
      if (!locals.empty()) Index(0x22, AnyOf(locals));
      return;
    }
    case 5:
      if (!plan_.tags.empty()) return Try({type});
      [[fallthrough]];
    default:
      Op(0x02);
      BlockType({type});
      labels_.push_back({{type}});
      Statements(2);
      Value(type);
      if (OneIn(4)) {
        Terminator();
        if (OneIn(2)) Value(type);
      }
      PopLabel();
      return Op(0x0b);
  }
}

void BodyGenerator::CallFor(ValType type) {
  const std::vector<uint32_t> fitting = FunctionsWith(type);
  if (fitting.empty()) return Leaf(type);
  const uint32_t function = AnyOf(fitting);
  if (OneIn(3)) {
    CallIndirect(plan_.functions[function], /*tail=*/false);
  } else {
    Call(function);
  }
  const std::vector<ValType>& results = plan_.TypeOf(function).results;
  const auto keep = std::find(results.begin(), results.end(), type);
  KeepResult(results, static_cast<size_t>(keep - results.begin()));
}

void BodyGenerator::KeepResult(const std::vector<ValType>& results,
                               size_t keep) {
  for (size_t i = results.size(); --i > keep;) Op(0x1a);
  if (keep == 0) return;
  const auto at = static_cast<uint32_t>(
      std::find(std::begin(kTypes), std::end(kTypes), results[keep]) -
      std::begin(kTypes));
  Index(0x21, scratch_ + at);
  for (size_t i = 0; i < keep; ++i) Op(0x1a);
  Index(0x20, scratch_ + at);
}

void BodyGenerator::Call(uint32_t function) {
  for (const ValType param : plan_.TypeOf(function).params) Value(param);
  Index(0x10, function);
}

void BodyGenerator::CallIndirect(uint32_t type, bool tail) {
  for (const ValType param : plan_.types[type].params) Value(param);
  std::vector<uint32_t> fitting;
  for (uint32_t i = 0; i < plan_.elements.size(); ++i) {
    if (plan_.elements[i] != kNoFunction &&
        plan_.functions[plan_.elements[i]] == type) {
      fitting.push_back(i);
    }
  }
  if (!fitting.empty() && !OneIn(8)) {
    I32(static_cast<int32_t>(AnyOf(fitting)));
  } else {
    TableIndex();
  }
  Index(tail ? 0x13 : 0x11, type);
  code_.Unsigned(0);
}

// Mostly inside of a table, and sometimes at its end.
void BodyGenerator::TableIndex() {
  if (OneIn(6)) return Value(ValType::kI32);
  I32(static_cast<int32_t>(Below(plan_.table_sizes[0] + 1)));
}

// ---------------------------------------------------------------- memory

uint32_t BodyGenerator::AnyMemory() {
  return plan_.second_memory && OneIn(3) ? 1 : 0;
}

void BodyGenerator::MemoryIndex(uint32_t memory) {
  if (plan_.memory64 && memory == 0) Op(0xad);
}

void BodyGenerator::MemArg(uint32_t memory, uint32_t size_log2,
                           bool address_is_small) {
  const uint32_t align = Below(size_log2 + 1);
  if (memory == 0) {
    code_.Unsigned(align);
  } else {
    code_.Unsigned(align | 0x40);
    code_.Unsigned(memory);
  }
  if (exact_) {
    exact_ = false;
    return code_.Unsigned(0);
  }
  switch (Below(4)) {
    case 0:
      return code_.Unsigned(0);
    case 1:
      // A whole page up: some accesses are inside, and some are not.
      return code_.Unsigned(address_is_small ? 65536 - Below(32) : Below(4));
    case 2:
      if (OneIn(8)) {
        const bool wide = plan_.memory64 && memory == 0;
        return code_.Unsigned((wide ? ~uint64_t{0} : ~uint32_t{0}) - Below(32));
      }
      [[fallthrough]];
    default:
      return code_.Unsigned(Below(64));
  }
}

bool BodyGenerator::Address(uint32_t memory) {
  exact_ = false;
  const uint32_t kind = Below(16);
  if (kind == 15) {  // anywhere
    Value(ValType::kI32);
    MemoryIndex(memory);
    return false;
  }
  if (kind >= 12) {  // about the end of the memory's first or last page
    const uint32_t pages = OneIn(3) ? 1 : plan_.pages;
    if (OneIn(2)) {
      // Where an access of some size just fits.
      exact_ = true;
      I32(static_cast<int32_t>(pages * 65536 - (1u << Below(5))));
      MemoryIndex(memory);
      return false;
    }
    I32(static_cast<int32_t>(pages * 65536 - Below(24)));
    MemoryIndex(memory);
    return false;
  }
  Value(ValType::kI32);
  I32(OneIn(4) ? 0xff : 0x1ff8);
  Op(0x71);
  MemoryIndex(memory);
  return true;
}

void BodyGenerator::LoadOf(ValType type) {
  const uint32_t memory = AnyMemory();
  if (type == ValType::kFuncRef) return Reference();
  if (type == ValType::kV128 && OneIn(4)) {  // one lane
    const uint32_t shape = Below(4);
    const bool small = Address(memory);
    Value(type);
    Op(0xfd, 84 + shape);
    MemArg(memory, shape, small);
    return code_.Byte(Below(16u >> shape));
  }
  const bool small = Address(memory);
  Access access = kI32Loads[0];
  switch (type) {
    case ValType::kI32:
      access = Pick(source_, kI32Loads);
      break;
    case ValType::kI64:
      access = Pick(source_, kI64Loads);
      break;
    case ValType::kF32:
      access = kF32Loads[0];
      break;
    case ValType::kF64:
      access = kF64Loads[0];
      break;
    default:
      access = Pick(source_, kVectorLoads);
      code_.Byte(0xfd);
      break;
  }
  code_.Unsigned(access.opcode);
  MemArg(memory, access.size_log2, small);
}

void BodyGenerator::StoreTo() {
  const uint32_t memory = AnyMemory();
  const bool small = Address(memory);
  if (OneIn(5)) {
    Value(ValType::kV128);
    if (OneIn(2)) {
      Op(0xfd, 11);
      return MemArg(memory, 4, small);
    }
    const uint32_t shape = Below(4);
    Op(0xfd, 88 + shape);
    MemArg(memory, shape, small);
    return code_.Byte(Below(16u >> shape));
  }
  const Access& access = Pick(source_, kStores);
  switch (access.opcode) {
    case 0x36:
    case 0x3a:
    case 0x3b:
      Value(ValType::kI32);
      break;
    case 0x38:
      Value(ValType::kF32);
      break;
    case 0x39:
      Value(ValType::kF64);
      break;
    default:
      Value(ValType::kI64);
      break;
  }
  Op(access.opcode);
  MemArg(memory, access.size_log2, small);
}

void BodyGenerator::Length(uint32_t memory, uint32_t small) {
  if (OneIn(10)) {
    Value(ValType::kI32);
  } else {
    I32(static_cast<int32_t>(Below(small)));
  }
  MemoryIndex(memory);
}

void BodyGenerator::Bulk() {
  const uint32_t memory = AnyMemory();
  switch (Below(4)) {
    case 0: {
      const uint32_t from = AnyMemory();
      Address(memory);
      Address(from);
      // The length is as wide as the narrower of the two.
      Length(memory == from ? memory : 1, 80);
      Op(0xfc, 10);
      code_.Unsigned(memory);
      return code_.Unsigned(from);
    }
    case 1:
      Address(memory);
      Value(ValType::kI32);
      Length(memory, 300);
      Op(0xfc, 11);
      return code_.Unsigned(memory);
    case 2:
      Address(memory);
      I32(static_cast<int32_t>(Below(8)));
      I32(static_cast<int32_t>(Below(12)));
      Op(0xfc, 8);
      code_.Unsigned(Below(plan_.data_segments));
      return code_.Unsigned(memory);
    default:
      if (!OneIn(4)) return;
      Op(0xfc, 9);
      return code_.Unsigned(Below(plan_.data_segments));
  }
}

void BodyGenerator::TableStatement() {
  const auto tables = static_cast<uint32_t>(plan_.table_sizes.size());
  const auto count = [this] { I32(static_cast<int32_t>(Below(4))); };
  switch (Below(6)) {
    case 0:
      TableIndex();
      Reference();
      return Index(0x26, Below(tables));
    case 1:
      TableIndex();
      TableIndex();
      count();
      Op(0xfc, 14);
      code_.Unsigned(Below(tables));
      return code_.Unsigned(Below(tables));
    case 2:
      TableIndex();
      Reference();
      count();
      Op(0xfc, 17);
      return code_.Unsigned(Below(tables));
    case 3:
      TableIndex();
      count();
      count();
      Op(0xfc, 12);
      code_.Unsigned(Below(plan_.element_segments));
      return code_.Unsigned(Below(tables));
    case 4:
      Reference();
      count();
      Op(0xfc, 15);
      code_.Unsigned(Below(tables));
      return Op(0x1a);
    default:
      if (!OneIn(4)) return;
      Op(0xfc, 13);
      return code_.Unsigned(Below(plan_.element_segments));
  }
}

// ---------------------------------------------------------------- statements

// Puts the value on the stack where it can be seen later.
void BodyGenerator::Keep(ValType type) {
  const std::vector<uint32_t> locals = LocalsOf(type);
  if (!locals.empty() && !OneIn(3)) return Index(0x21, AnyOf(locals));
  const std::vector<uint32_t> globals = GlobalsOf(type, true);
  globals.empty() ? Op(0x1a) : Index(0x24, AnyOf(globals));
}

void BodyGenerator::Statements(uint32_t most) {
  const uint32_t count = Below(most + 1);
  for (uint32_t i = 0; i < count && !Spent(); ++i) Statement();
}

void BodyGenerator::Statement() {
  --left_;
  ++depth_;
  switch (Below(17)) {
    case 0:
    case 1:
    case 2: {
      const ValType type = AnyType();
      Value(type);
      Keep(type);
      break;
    }
    case 3:
    case 4: {
      const ValType type = AnyType();
      const std::vector<uint32_t> globals = GlobalsOf(type, true);
      Value(type);
      globals.empty() ? Op(0x1a) : Index(0x24, AnyOf(globals));
      break;
    }
    case 5:
    case 6:
    case 7:
      StoreTo();
      break;
    case 8: {
      const auto function =
          Below(static_cast<uint32_t>(plan_.functions.size()));
      Call(function);
      const std::vector<ValType>& results = plan_.TypeOf(function).results;
      for (size_t i = results.size(); i-- > 0;) Keep(results[i]);
      break;
    }
    case 9:
      Condition();
      Op(0x04);
      Op(0x40);
      labels_.push_back({});
      Statements(3);
      if (OneIn(4)) Terminator();
      if (OneIn(2)) {
        Op(0x05);
        Statements(2);
        if (OneIn(8)) Terminator();
      }
      PopLabel();
      Op(0x0b);
      break;
    case 10:
    case 11:
      Loop();
      break;
    case 12:
      Bulk();
      break;
    case 13:
      TableStatement();
      break;
    case 14:
      if (!plan_.tags.empty()) {
        Try({});
      } else {
        Choice();
      }
      break;
    case 15:
      Choice();
      break;
    default:
      // A block with a few ways out of it.
      Op(0x02);
      Op(0x40);
      labels_.push_back({});
      Statements(3);
      Condition();
      Index(0x0d, 0);
      Statements(2);
      if (OneIn(3)) Terminator();
      PopLabel();
      Op(0x0b);
      break;
  }
  --depth_;
}

// A br_table whose targets differ in what they do.
void BodyGenerator::Choice() {
  const uint32_t arms = 2 + Below(3);
  for (uint32_t i = 0; i <= arms; ++i) {
    Op(0x02);
    Op(0x40);
    labels_.push_back({});
  }
  Value(ValType::kI32);
  if (!OneIn(4)) {
    I32(3);
    Op(0x71);
  }
  Index(0x0e, arms - 1);
  for (uint32_t i = 0; i < arms; ++i) code_.Unsigned(i);
  for (uint32_t i = 0; i < arms; ++i) {
    PopLabel();
    Op(0x0b);
    const ValType type = AnyType();
    Constant(type);
    Keep(type);
    Statements(1);
    // Past the others, if there are any.
    if (OneIn(4)) continue;
    Index(0x0c, arms - i - 1);
  }
  PopLabel();
  Op(0x0b);
}

void BodyGenerator::Loop() {
  const auto counter =
      static_cast<uint32_t>(scratch_ + std::size(kTypes) + counters_.size());
  counters_.push_back(ValType::kI32);
  I32(static_cast<int32_t>(1 + Below(6)));
  Index(0x21, counter);
  const auto type = Below(static_cast<uint32_t>(plan_.types.size()));
  const bool carries = OneIn(3);
  std::vector<ValType> carried;
  if (carries) {
    carried = plan_.types[type].params;
    Values(carried);
  }
  Op(0x03);
  if (carries) {
    code_.Signed(type);
  } else {
    code_.Byte(0x40);
  }
  labels_.push_back({carried});
  for (size_t i = carried.size(); i-- > 0;) {
    const std::vector<uint32_t> locals = LocalsOf(carried[i]);
    locals.empty() ? Op(0x1a) : Index(0x21, AnyOf(locals));
  }
  ReturnIfSpent();
  Statements(4);
  Values(carried);
  Index(0x20, counter);
  I32(1);
  Op(0x6b);
  Index(0x22, counter);
  Index(0x0d, 0);
  for (size_t i = 0; i < carried.size(); ++i) Op(0x1a);
  if (carries) Values(plan_.types[type].results);
  PopLabel();
  Op(0x0b);
  if (carries) {
    for (size_t i = 0; i < plan_.types[type].results.size(); ++i) Op(0x1a);
  }
}

void BodyGenerator::Try(const std::vector<ValType>& results) {
  Op(0x06);
  BlockType(results);
  labels_.push_back({results});
  Statements(3);
  if (OneIn(3)) {
    Terminator();
  } else {
    Values(results);
  }
  if (OneIn(6)) {
    PopLabel();
    // To any label around: what is no try hands it on.
    Index(0x18, Below(static_cast<uint32_t>(labels_.size())));
    return;
  }
  labels_.back().is_try = true;
  const auto tags = static_cast<uint32_t>(plan_.tags.size());
  const uint32_t catches = Below(tags + 1);
  const bool all = OneIn(2) || catches == 0;
  for (uint32_t i = 0; i < catches + (all ? 1 : 0); ++i) {
    if (i == catches) {
      Op(0x19);
    } else {
      const uint32_t tag = Below(tags);
      Index(0x07, tag);
      const std::vector<ValType>& values = plan_.types[plan_.tags[tag]].params;
      for (size_t v = values.size(); v-- > 0;) {
        const std::vector<uint32_t> locals = LocalsOf(values[v]);
        locals.empty() ? Op(0x1a) : Index(0x21, AnyOf(locals));
      }
    }
    Statements(2);
    if (OneIn(5)) {
      Terminator();
    } else {
      Values(results);
    }
  }
  PopLabel();
  Op(0x0b);
}

void BodyGenerator::Branch(bool table) {
  const auto count = static_cast<uint32_t>(labels_.size());
  const uint32_t target = Below(count);
  const std::vector<ValType> types = labels_[target].types;
  Values(types);
  if (!table) return Index(0x0c, count - 1 - target);
  std::vector<uint32_t> alike;
  for (uint32_t i = 0; i < count; ++i) {
    if (labels_[i].types == types) alike.push_back(i);
  }
  Value(ValType::kI32);
  if (!OneIn(4)) {
    I32(7);
    Op(0x71);
  }
  const uint32_t entries = Below(6);
  Index(0x0e, entries);
  for (uint32_t i = 0; i < entries; ++i) {
    code_.Unsigned(count - 1 - AnyOf(alike));
  }
  code_.Unsigned(count - 1 - target);
}

void BodyGenerator::Terminator() {
  switch (Below(12)) {
    case 0:
    case 1:
    case 2:
      return Branch(/*table=*/false);
    case 3:
    case 4:
    case 5:
      return Branch(/*table=*/true);
    case 6:
    case 7:
      Values(type_.results);
      return Op(0x0f);
    case 8:
    case 9: {
      std::vector<uint32_t> fitting;
      for (uint32_t i = 0; i < plan_.functions.size(); ++i) {
        if (plan_.TypeOf(i).results == type_.results) fitting.push_back(i);
      }
      const uint32_t function = AnyOf(fitting);
      if (OneIn(3)) {
        return CallIndirect(plan_.functions[function], /*tail=*/true);
      }
      for (const ValType param : plan_.TypeOf(function).params) Value(param);
      return Index(0x12, function);
    }
    case 10: {
      if (plan_.tags.empty()) return Branch(/*table=*/false);
      std::vector<uint32_t> tries;
      for (uint32_t i = 0; i < labels_.size(); ++i) {
        if (labels_[i].is_try) tries.push_back(i);
      }
      if (!tries.empty() && OneIn(3)) {
        return Index(0x09, labels_.size() - 1 - AnyOf(tries));
      }
      const auto tag = Below(static_cast<uint32_t>(plan_.tags.size()));
      Values(plan_.types[plan_.tags[tag]].params);
      return Index(0x08, tag);
    }
    default:
      if (!OneIn(3)) return Branch(/*table=*/false);
      return Op(0x00);
  }
}

}  // namespace callgate::fuzz
