#include "runtime/native/module_image.h"

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/admission/scan.h"
#include "runtime/native/abi.h"
#include "runtime/native/code_map.h"
#include "tests/support/wat.h"

namespace callgate::native {
namespace {

using ::testing::HasSubstr;

constexpr char kModule[] = R"((module
  (type $a (func (param i32) (result i64)))
  (type $b (func))
  (type $t (func (param i32)))
  (import "e" "f" (func (type $a)))
  (import "e" "g" (global i32))
  (import "e" "t" (tag (type $t)))
  (memory (export "m") 1 2)
  (table (export "t") 4 funcref)
  (global (export "x") (mut i64) (i64.const 5))
  (global i32 (global.get 0))
  (tag (export "tag") (type $t))
  (func (export "own") (type $b))
  (elem (i32.const 1) func 0 1)
  (elem declare func 1)
  (data (i32.const 16) "abcd")
  (data "zz")
  (data (global.get 0) "y")
  (data (i32.const 16) "e")
))";

admission::Features AllFeatures() {
  admission::Features features;
  features.exceptions = true;
  features.extended_const = true;
  return features;
}

struct Subject {
  std::vector<uint8_t> bytes;
  admission::ModuleSummary summary;
};

Subject Scanned(const char* wat) {
  Subject subject;
  auto bytes = AssembleWat(wat);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  subject.bytes = *std::move(bytes);
  const admission::ScanResult scan =
      admission::Scan(subject.bytes, admission::ModuleLimits(), AllFeatures());
  EXPECT_TRUE(scan.admitted());
  subject.summary = *scan.summary;
  return subject;
}

void AddConst(google::protobuf::RepeatedPtrField<ConstOp>* ops,
              ConstOp::Kind kind, uint64_t bits) {
  ConstOp* op = ops->Add();
  op->set_kind(kind);
  op->set_bits(bits);
}

// What a compiler that read kModule answers.
CompiledModule Answer(const Subject& subject) {
  CompiledModule answer;
  answer.set_abi_version(kAbiVersion);
  FuncTypeMessage* type = answer.add_types();
  type->set_params("\x7f");
  type->set_results("\x7e");
  answer.add_types();
  answer.add_types()->set_params("\x7f");
  answer.add_functions(0);
  answer.add_functions(1);
  answer.set_imported_functions(1);
  answer.set_imported_globals(1);
  answer.set_imported_tags(1);
  answer.add_tags(2);
  answer.add_tags(2);
  answer.set_tables(1);
  answer.set_memories(1);
  GlobalMessage* global = answer.add_globals();
  global->set_type(0x7e);
  global->set_is_mutable(true);
  AddConst(global->mutable_init(), ConstOp::I64_CONST, 5);
  global = answer.add_globals();
  global->set_type(0x7f);
  AddConst(global->mutable_init(), ConstOp::GLOBAL_GET, 0);
  ElementSegment* elements = answer.add_element_segments();
  elements->set_type(0x70);
  AddConst(elements->mutable_offset(), ConstOp::I32_CONST, 1);
  elements->add_items(1);
  elements->add_items(2);
  elements = answer.add_element_segments();
  elements->set_mode(ElementSegment::DECLARED);
  elements->set_type(0x70);
  elements->add_items(2);
  const auto data = [&](const std::string& contents, bool active) {
    const std::string all(subject.bytes.begin(), subject.bytes.end());
    DataSegment* segment = answer.add_data_segments();
    segment->set_active(active);
    segment->set_begin(all.rfind(contents));
    segment->set_size(contents.size());
    return segment;
  };
  AddConst(data("abcd", true)->mutable_offset(), ConstOp::I32_CONST, 16);
  data("zz", false);
  AddConst(data("y", true)->mutable_offset(), ConstOp::GLOBAL_GET, 0);
  AddConst(data("e", true)->mutable_offset(), ConstOp::I32_CONST, 16);
  return answer;
}

TEST(ModuleImageTest, HoldsWhatTheModuleIs) {
  const Subject subject = Scanned(kModule);
  const auto made =
      ModuleImage::Make(Answer(subject), subject.summary, subject.bytes);
  ASSERT_TRUE(made.ok()) << made.status();
  const ModuleImage& image = **made;
  EXPECT_EQ(image.types().size(), 3u);
  EXPECT_EQ(image.TypeOfFunction(0).ToString(), "(i32) -> (i64)");
  EXPECT_EQ(image.imported_functions(), 1u);
  EXPECT_EQ(image.imported_tags(), 1u);
  EXPECT_EQ(image.tags().size(), 2u);
  EXPECT_EQ(image.globals(), 3u);
  ASSERT_EQ(image.imports().size(), 3u);
  EXPECT_EQ(image.imports()[2].kind, ExternKind::kTag);
  ASSERT_EQ(image.exports().size(), 5u);
  EXPECT_EQ(image.exports()[4].index, 1u);
  EXPECT_EQ(image.own_globals()[0].init.Known()->u64(), 5u);
  EXPECT_FALSE(image.own_globals()[1].init.Known().has_value());
  EXPECT_EQ(image.elements()[0].items, (std::vector<uint32_t>{1, 2}));
  ASSERT_EQ(image.data().size(), 4u);
  EXPECT_EQ(image.data()[1].bytes[1], 'z');
  EXPECT_FALSE(image.data()[1].active);
  // The third depends on an import, so nothing behind it may come before it.
  EXPECT_EQ(image.sure_data(), 2u);
  EXPECT_EQ(image.memory_image(), nullptr) << "four bytes are copied";
}

struct Row {
  const char* name;
  std::function<void(CompiledModule&)> spoil;
  const char* message;
};

class ModuleImageRefusal : public testing::TestWithParam<Row> {};

TEST_P(ModuleImageRefusal, NamesWhatDoesNotFit) {
  const Subject subject = Scanned(kModule);
  CompiledModule answer = Answer(subject);
  GetParam().spoil(answer);
  const auto made = ModuleImage::Make(answer, subject.summary, subject.bytes);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(made.status().message()),
              HasSubstr(GetParam().message));
}

constexpr char kDiffers[] = "read differently by the admission scan";
using Answered = CompiledModule;

INSTANTIATE_TEST_SUITE_P(
    Answers, ModuleImageRefusal,
    testing::ValuesIn<Row>({
        {"version", [](Answered& a) { a.set_abi_version(kAbiVersion + 1); },
         "of version"},
        {"tables", [](Answered& a) { a.set_tables(2); }, kDiffers},
        {"memories", [](Answered& a) { a.set_memories(0); }, kDiffers},
        {"types", [](Answered& a) { a.add_types(); }, kDiffers},
        {"value_type",
         [](Answered& a) { a.mutable_types(0)->set_params("\x01"); },
         "unknown value type"},
        {"import_count", [](Answered& a) { a.set_imported_functions(0); },
         kDiffers},
        {"import_globals", [](Answered& a) { a.set_imported_globals(0); },
         kDiffers},
        {"import_tags", [](Answered& a) { a.set_imported_tags(2); }, kDiffers},
        {"import_type", [](Answered& a) { a.set_functions(0, 1); }, kDiffers},
        {"functions", [](Answered& a) { a.add_functions(1); }, kDiffers},
        {"function_type", [](Answered& a) { a.set_functions(1, 3); },
         "unknown type 3"},
        {"export_type", [](Answered& a) { a.set_functions(1, 0); }, kDiffers},
        {"tags", [](Answered& a) { a.add_tags(2); }, kDiffers},
        {"tag_type", [](Answered& a) { a.set_tags(1, 9); }, "unknown type 9"},
        {"tag_results", [](Answered& a) { a.set_tags(1, 0); }, "a tag of the"},
        {"tag_import", [](Answered& a) { a.set_tags(0, 1); }, kDiffers},
        {"globals", [](Answered& a) { a.add_globals(); }, kDiffers},
        {"global_type", [](Answered& a) { a.mutable_globals(0)->set_type(1); },
         "unknown type"},
        {"global_export",
         [](Answered& a) { a.mutable_globals(0)->set_is_mutable(false); },
         kDiffers},
        {"global_init", [](Answered& a) { a.mutable_globals(0)->clear_init(); },
         "wrong value"},
        {"global_init_type",
         [](Answered& a) {
           a.mutable_globals(0)->mutable_init(0)->set_kind(ConstOp::I32_CONST);
         },
         "wrong value"},
        {"global_own",
         [](Answered& a) {
           a.mutable_globals(1)->mutable_init(0)->set_bits(1);
         },
         "wrong value"},
        {"segments", [](Answered& a) { a.add_element_segments(); }, kDiffers},
        {"element_type",
         [](Answered& a) { a.mutable_element_segments(1)->set_type(0x7f); },
         "no reference type"},
        {"element_table",
         [](Answered& a) { a.mutable_element_segments(0)->set_table(1); },
         "cannot hold"},
        {"element_table_type",
         [](Answered& a) { a.mutable_element_segments(0)->set_type(0x6f); },
         "cannot hold"},
        {"element_offset",
         [](Answered& a) { a.mutable_element_segments(0)->clear_offset(); },
         "wrong offset"},
        {"element_mode",
         [](Answered& a) {
           a.mutable_element_segments(0)->set_mode(
               static_cast<ElementSegment::Mode>(7));
         },
         "unknown mode"},
        {"element_item",
         [](Answered& a) { a.mutable_element_segments(0)->set_items(0, 3); },
         "unknown item"},
        {"element_items",
         [](Answered& a) { a.mutable_element_segments(0)->add_items(1); },
         kDiffers},
        {"data_count", [](Answered& a) { a.add_data_segments(); }, kDiffers},
        {"data_outside",
         [](Answered& a) {
           a.mutable_data_segments(0)->set_begin(~uint64_t{0} - 2);
         },
         "outside of the module"},
        {"data_size",
         [](Answered& a) { a.mutable_data_segments(0)->set_size(5); },
         kDiffers},
        {"data_memory",
         [](Answered& a) { a.mutable_data_segments(0)->set_memory(1); },
         "unknown memory"},
        {"data_offset",
         [](Answered& a) {
           a.mutable_data_segments(0)->mutable_offset(0)->set_kind(
               ConstOp::I64_CONST);
         },
         "wrong offset"},
    }),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ModuleImageTest, MakesAnImageOfWhatIsSure) {
  const std::string wat =
      "(module (memory 2) (data (i32.const 8) \"" + std::string(5'000, 'a') +
      "\") (data (i32.const 131071) \"bc\") (data (i32.const 0) \"d\"))";
  const Subject subject = Scanned(wat.c_str());
  CompiledModule answer;
  answer.set_abi_version(kAbiVersion);
  answer.set_memories(1);
  const std::string all(subject.bytes.begin(), subject.bytes.end());
  uint64_t from = 0;
  for (const auto& [offset, size] : std::vector<std::pair<uint32_t, uint32_t>>{
           {8, 5'000}, {131'071, 2}, {0, 1}}) {
    DataSegment* segment = answer.add_data_segments();
    segment->set_active(true);
    segment->set_begin(from);
    segment->set_size(size);
    from += size;
    AddConst(segment->mutable_offset(), ConstOp::I32_CONST, offset);
  }
  const auto made = ModuleImage::Make(answer, subject.summary, subject.bytes);
  ASSERT_TRUE(made.ok()) << made.status();
  // The second does not fit, so it and all behind it wait for the trap.
  EXPECT_EQ((*made)->sure_data(), 1u);
  ASSERT_NE((*made)->memory_image(), nullptr);
  EXPECT_EQ((*made)->memory_image()->bytes(), 8'192u);
}

// ---------------------------------------------------------------- constants

struct Ops {
  std::vector<std::pair<ConstOp::Kind, uint64_t>> ops;
  ValType wanted;
  bool fits;
  uint64_t value = 0;
};

TEST(ConstantTest, ChecksAndEvaluates) {
  using K = ConstOp;
  const std::vector<GlobalType> globals = {{ValType::kI32, false},
                                           {ValType::kI32, true}};
  const ConstScope scope{globals, 2};
  class Environment final : public Constant::Environment {
   public:
    RawValue GlobalGet(uint32_t) override { return RawValue::I32(100); }
    RawValue RefFunc(uint32_t index) override { return RawValue::Ref(index); }
  };
  const std::vector<Ops> rows = {
      {{{K::I32_CONST, 7}}, ValType::kI32, true, 7},
      {{{K::I32_CONST, uint64_t{1} << 32}}, ValType::kI32, false},
      {{{K::I32_CONST, 7}}, ValType::kI64, false},
      {{{K::F32_CONST, 0x7fa00000}}, ValType::kF32, true, 0x7fa00000},
      {{{K::GLOBAL_GET, 0}}, ValType::kI32, true, 100},
      {{{K::GLOBAL_GET, 1}}, ValType::kI32, false},
      {{{K::GLOBAL_GET, 2}}, ValType::kI32, false},
      {{{K::REF_FUNC, 1}}, ValType::kFuncRef, true, 1},
      {{{K::REF_FUNC, 2}}, ValType::kFuncRef, false},
      {{{K::REF_NULL, 0x70}}, ValType::kFuncRef, true, 0},
      {{{K::REF_NULL, 0x6f}}, ValType::kExternRef, true, kNullRef},
      {{{K::REF_NULL, 0x6f}}, ValType::kFuncRef, false},
      {{{K::REF_NULL, 0x7f}}, ValType::kI32, false},
      {{{K::I32_CONST, 7}, {K::GLOBAL_GET, 0}, {K::I32_SUB, 0}},
       ValType::kI32,
       true,
       0xffffffff - 92},
      {{{K::I64_CONST, 3}, {K::I64_CONST, 5}, {K::I64_MUL, 0}},
       ValType::kI64,
       true,
       15},
      {{{K::I64_CONST, 3}, {K::I64_CONST, 5}, {K::I32_ADD, 0}},
       ValType::kI64,
       false},
      {{{K::I32_CONST, 7}, {K::I32_ADD, 0}}, ValType::kI32, false},
      {{{K::I32_CONST, 7}, {K::I32_CONST, 7}}, ValType::kI32, false},
      {{}, ValType::kI32, false},
      {{{K::KIND_UNSPECIFIED, 0}}, ValType::kI32, false},
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    google::protobuf::RepeatedPtrField<ConstOp> ops;
    for (const auto& [kind, bits] : rows[i].ops) AddConst(&ops, kind, bits);
    const auto constant = Constant::Check(ops, rows[i].wanted, scope);
    ASSERT_EQ(constant.has_value(), rows[i].fits) << i;
    if (!rows[i].fits) continue;
    Environment environment;
    EXPECT_EQ(constant->Evaluate(environment).u64(), rows[i].value) << i;
  }
}

TEST(ConstantTest, HasABound) {
  google::protobuf::RepeatedPtrField<ConstOp> ops;
  AddConst(&ops, ConstOp::I32_CONST, 1);
  while (ops.size() + 2 <= kConstOpsMax) {
    AddConst(&ops, ConstOp::I32_CONST, 1);
    AddConst(&ops, ConstOp::I32_ADD, 0);
  }
  EXPECT_TRUE(Constant::Check(ops, ValType::kI32, {}).has_value());
  AddConst(&ops, ConstOp::I32_CONST, 1);
  AddConst(&ops, ConstOp::I32_ADD, 0);
  EXPECT_FALSE(Constant::Check(ops, ValType::kI32, {}).has_value());
}

// ---------------------------------------------------------------- the code map

FunctionCode Places(uint32_t index,
                    const std::vector<std::pair<uint32_t, int32_t>>& steps,
                    bool body = false) {
  FunctionCode code;
  code.set_index(index);
  code.set_body(body);
  for (const auto& [at, offset] : steps) {
    code.add_code_delta(at);
    code.add_offset_delta(offset);
  }
  return code;
}

TEST(CodeMapTest, FindsTheOperatorThatAPlaceBelongsTo) {
  google::protobuf::RepeatedPtrField<FunctionCode> code;
  *code.Add() = Places(3, {{4, 50}, {10, -20}, {1, 5}}, /*body=*/true);
  *code.Add() = Places(2, {{0, 7}});
  const auto made = CodeMap::Make(code, 1, 4, 100);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->ModuleOffset(3, true, 3), std::nullopt);
  EXPECT_EQ(made->ModuleOffset(3, true, 4), 50u);
  EXPECT_EQ(made->ModuleOffset(3, true, 13), 50u);
  EXPECT_EQ(made->ModuleOffset(3, true, 14), 30u);
  EXPECT_EQ(made->ModuleOffset(3, true, 1'000), 35u);
  EXPECT_EQ(made->ModuleOffset(3, false, 14), std::nullopt);
  EXPECT_EQ(made->ModuleOffset(2, false, 0), 7u);
  EXPECT_EQ(made->ModuleOffset(0, false, 0), std::nullopt);
  EXPECT_EQ(made->ModuleOffset(1, false, 0), std::nullopt);
  EXPECT_EQ(made->ModuleOffset(9, false, 0), std::nullopt);
  EXPECT_EQ(CodeMap().ModuleOffset(0, false, 0), std::nullopt);
}

TEST(CodeMapTest, RefusesWhatMakesNoSense) {
  FunctionCode ragged = Places(1, {{0, 7}});
  ragged.add_code_delta(1);
  const std::vector<FunctionCode> rows = {
      Places(0, {}),  // imported
      Places(4, {}),  // unknown
      Places(1, {{0, -1}}),
      Places(1, {{0, 100}}),
      Places(1, {{0, 50}, {1, 50}}),
      Places(1, {{1, 50}, {0, 1}}),
      ragged,
  };
  for (const FunctionCode& row : rows) {
    google::protobuf::RepeatedPtrField<FunctionCode> code;
    *code.Add() = row;
    EXPECT_EQ(CodeMap::Make(code, 1, 4, 100).status().code(),
              absl::StatusCode::kInvalidArgument)
        << row.DebugString();
  }
  google::protobuf::RepeatedPtrField<FunctionCode> twice;
  *twice.Add() = Places(1, {});
  *twice.Add() = Places(1, {});
  EXPECT_FALSE(CodeMap::Make(twice, 1, 4, 100).ok());
}

}  // namespace
}  // namespace callgate::native
