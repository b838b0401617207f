// Every proposal that can be switched, on and off, and those that cannot be on.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/admission/module_bytes.h"
#include "runtime/admission/scan.h"
#include "runtime/admission/scan_testing.h"

namespace callgate::admission {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct FeatureRow {
  std::string name;
  Proposal proposal;
  bool Features::*feature;
  Bytes bytes;
};

class Feature : public testing::TestWithParam<FeatureRow> {};

TEST_P(Feature, IsAdmittedWhenOn) {
  Features features;
  features.*GetParam().feature = true;
  const ScanResult result = Scan(GetParam().bytes, NoLimits(), features);
  EXPECT_TRUE(result.admitted()) << MessageOf(result);
}

TEST_P(Feature, IsRefusedByNameWhenOff) {
  Features features;
  features.*GetParam().feature = false;
  const ScanResult result = Scan(GetParam().bytes, NoLimits(), features);
  ASSERT_TRUE(result.refusal.has_value());
  EXPECT_EQ(result.refusal->kind, Refusal::Kind::kUnsupportedFeature)
      << result.refusal->message;
  EXPECT_THAT(result.refusal->message,
              AllOf(HasSubstr(std::string(ProposalName(GetParam().proposal))),
                    HasSubstr(absl::StrCat("byte ", result.refusal->offset))));
  EXPECT_GT(result.refusal->offset, 0u);
}

Bytes ModuleWithMemory(const Bytes& memory, const Bytes& code) {
  return Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(5, Vec({memory})), Section(10, Vec({Body(code)}))});
}

Bytes ModuleWithMemories(const Bytes& code) {
  return Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(5, VecOf(2, {0x00, 0x01})),
                 Section(10, Vec({Body(code)}))});
}

INSTANTIATE_TEST_SUITE_P(
    InTwoPointZero, Feature,
    testing::ValuesIn<FeatureRow>({
        {"mutable_global_import", Proposal::kMutableGlobals,
         &Features::mutable_globals,
         Module({Section(2, Vec({{0x00, 0x00, 0x03, 0x7f, 0x01}}))})},
        {"mutable_global_export", Proposal::kMutableGlobals,
         &Features::mutable_globals,
         Module({Section(6, Vec({{0x7f, 0x01, 0x41, 0x00, 0x0b}})),
                 Section(7, Vec({{0x01, 'g', 0x03, 0x00}}))})},
        {"saturation", Proposal::kSaturatingFloat, &Features::saturating_float,
         ModuleWithCode({0x43, 0, 0, 0, 0, 0xfc, 0x00, 0x1a})},
        {"sign_extension", Proposal::kSignExtension, &Features::sign_extension,
         ModuleWithCode({0x41, 0x00, 0xc0, 0x1a})},
        {"two_results", Proposal::kMultiValue, &Features::multi_value,
         Module({Section(1, Vec({FunctionType({}, {0x7f, 0x7f})}))})},
        {"block_type_index", Proposal::kMultiValue, &Features::multi_value,
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(10, Vec({Body({0x02, 0x00, 0x0b})}))})},
        {"passive_data", Proposal::kBulkMemory, &Features::bulk_memory,
         Module({Section(11, Vec({{0x01, 0x00}}))})},
        {"passive_elements", Proposal::kBulkMemory, &Features::bulk_memory,
         Module({Section(9, Vec({{0x01, 0x00, 0x00}}))})},
        {"data_count", Proposal::kBulkMemory, &Features::bulk_memory,
         Module({Section(12, U(0))})},
        {"memory_fill", Proposal::kBulkMemory, &Features::bulk_memory,
         ModuleWithMemory({0x00, 0x01},
                          {0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0b, 0x00})},
        {"reference_parameter", Proposal::kReferenceTypes,
         &Features::reference_types,
         Module({Section(1, Vec({FunctionType({0x6f}, {})}))})},
        {"function_reference_parameter", Proposal::kReferenceTypes,
         &Features::reference_types,
         Module({Section(1, Vec({FunctionType({0x70}, {})}))})},
        {"two_tables", Proposal::kReferenceTypes, &Features::reference_types,
         Module({Section(4, VecOf(2, {0x70, 0x00, 0x00}))})},
        {"typed_select", Proposal::kReferenceTypes, &Features::reference_types,
         ModuleWithMemory({0x00, 0x01},
                          {0x41, 0, 0x41, 0, 0x41, 0, 0x1c, 0x01, 0x7f, 0x1a})},
        {"vector_parameter", Proposal::kSimd, &Features::simd,
         Module({Section(1, Vec({FunctionType({0x7b}, {})}))})},
        {"vector_constant", Proposal::kSimd, &Features::simd,
         ModuleWithCode(Join({{0xfd, 0x0c}, Repeat({0}, 16), {0x1a}}))},
        {"vector_constant_for_global", Proposal::kSimd, &Features::simd,
         Module({Section(6, Vec({Join({{0x7b, 0x00, 0xfd, 0x0c},
                                       Repeat({0}, 16),
                                       {0x0b}})}))})},
    }),
    RowName());

INSTANTIATE_TEST_SUITE_P(
    Later, Feature,
    testing::ValuesIn<FeatureRow>({
        {"return_call", Proposal::kTailCall, &Features::tail_call,
         ModuleWithCode({0x12, 0x00})},
        {"return_call_indirect", Proposal::kTailCall, &Features::tail_call,
         ModuleWithCode({0x41, 0x00, 0x13, 0x00, 0x00})},
        {"extended_const", Proposal::kExtendedConst, &Features::extended_const,
         Module({Section(6, Vec({{0x7f, 0x00, 0x41, 0x01, 0x41, 0x02, 0x6a,
                                  0x0b}}))})},
        {"second_memory", Proposal::kMultiMemory, &Features::multi_memory,
         Module({Section(5, VecOf(2, {0x00, 0x00}))})},
        {"access_with_memory_index", Proposal::kMultiMemory,
         &Features::multi_memory,
         ModuleWithMemory({0x00, 0x01},
                          {0x41, 0x00, 0x28, 0x42, 0x00, 0x00, 0x1a})},
        {"size_of_second_memory", Proposal::kMultiMemory,
         &Features::multi_memory, ModuleWithMemories({0x3f, 0x01, 0x1a})},
        {"memory_of_64_bits", Proposal::kMemory64, &Features::memory64,
         ModuleWithMemory({0x04, 0x01}, {0x42, 0x00, 0x28, 0x02, 0xff, 0xff,
                                         0xff, 0xff, 0xff, 0x1f, 0x1a})},
        {"relaxed_swizzle", Proposal::kRelaxedSimd, &Features::relaxed_simd,
         ModuleWithCode({0x00, 0xfd, 0x80, 0x02, 0x1a})},
        {"tag", Proposal::kLegacyExceptions, &Features::exceptions,
         ModuleWithTag({})},
        {"imported_tag", Proposal::kLegacyExceptions, &Features::exceptions,
         Module({Section(1, Vec({EmptyType()})),
                 Section(2, Vec({{0x00, 0x00, 0x04, 0x00, 0x00}}))})},
        {"try_catch_rethrow", Proposal::kLegacyExceptions,
         &Features::exceptions,
         ModuleWithTag({0x06, 0x40, 0x08, 0x00, 0x07, 0x00, 0x09, 0x00, 0x19,
                        0x0b})},
        {"try_delegate", Proposal::kLegacyExceptions, &Features::exceptions,
         ModuleWithTag({0x06, 0x40, 0x18, 0x00})},
        {"shared_memory", Proposal::kThreads, &Features::threads,
         Module({Section(5, Vec({{0x03, 0x01, 0x01}}))})},
        {"atomic_load", Proposal::kThreads, &Features::threads,
         ModuleWithCode({0x41, 0x00, 0xfe, 0x10, 0x02, 0x00, 0x1a})},
        {"atomic_fence", Proposal::kThreads, &Features::threads,
         ModuleWithCode({0xfe, 0x03, 0x00})},
    }),
    RowName());

struct LaterMalformedRow {
  std::string name;
  Bytes bytes;
  std::string message;
};

class MalformedWithEveryFeature
    : public testing::TestWithParam<LaterMalformedRow> {};

TEST_P(MalformedWithEveryFeature, IsRefused) {
  const ScanResult result = Scan(GetParam().bytes, NoLimits(), EveryFeature());
  ASSERT_TRUE(result.refusal.has_value());
  EXPECT_EQ(result.refusal->kind, Refusal::Kind::kMalformed);
  EXPECT_THAT(result.refusal->message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Rows, MalformedWithEveryFeature,
    testing::ValuesIn<LaterMalformedRow>({
        {"operator_without_operands",
         ModuleWithGlobal({0x41, 0x00, 0x6a, 0x0b}),
         "opcode 0x6a lacks an operand"},
        {"operator_of_another_type",
         ModuleWithGlobal({0x41, 0x00, 0x41, 0x00, 0x7c, 0x0b}),
         "has the type i64 where i32 is needed"},
        {"operator_that_is_not_constant",
         ModuleWithGlobal({0x41, 0x01, 0x41, 0x01, 0x7f, 0x0b}),
         "opcode 0x7f is not allowed"},
        {"access_to_no_memory",
         ModuleWithCode({0x41, 0, 0x28, 0x42, 0x01, 0x00, 0x1a}),
         "there is no memory 1"},
        {"memory_past_2_to_the_48_pages",
         Module({Section(5,
                         Vec({Join({{0x04}, U((uint64_t{1} << 48) + 1)})}))}),
         "more than its addresses reach"},
        {"shared_memory_without_maximum",
         Module({Section(5, Vec({{0x02, 0x01}}))}),
         "a shared memory has no largest size"},
        {"atomic_not_aligned",
         ModuleWithCode({0x41, 0, 0xfe, 0x10, 0x01, 0x00, 0x1a}),
         "natural alignment is 2^2"},
        {"fence_of_another_kind", ModuleWithCode({0xfe, 0x03, 0x01}),
         "a reserved byte is not zero"},
        {"catch_without_try", ModuleWithTag({0x07, 0x00}),
         "catch without a try"},
        {"catch_after_catch_all",
         ModuleWithTag({0x06, 0x40, 0x19, 0x07, 0x00, 0x0b}),
         "catch without a try"},
        {"catch_of_no_tag", ModuleWithTag({0x06, 0x40, 0x07, 0x01, 0x0b}),
         "there is no tag 1"},
        {"delegate_without_try", ModuleWithTag({0x02, 0x40, 0x18, 0x00}),
         "delegate without a try"},
        {"delegate_too_far", ModuleWithTag({0x06, 0x40, 0x18, 0x01}),
         "there is no label 1"},
        {"rethrow_outside_of_catch",
         ModuleWithTag({0x06, 0x40, 0x09, 0x00, 0x0b}), "not a catch"},
        {"tag_with_results",
         Module({Section(1, Vec({FunctionType({}, {0x7f})})),
                 Section(13, Vec({{0x00, 0x00}}))}),
         "has a type with results"},
        {"tag_of_another_kind",
         Module({Section(1, Vec({EmptyType()})),
                 Section(13, Vec({{0x01, 0x00}}))}),
         "has the attribute 1"},
    }),
    RowName());

struct UnreadableRow {
  std::string name;
  Bytes bytes;
  std::string proposal;
};

class Unreadable : public testing::TestWithParam<UnreadableRow> {};

TEST_P(Unreadable, IsRefusedByNameEvenWithEveryFeature) {
  const ScanResult result = Scan(GetParam().bytes, NoLimits(), EveryFeature());
  ASSERT_TRUE(result.refusal.has_value());
  EXPECT_EQ(result.refusal->kind, Refusal::Kind::kUnsupportedFeature)
      << result.refusal->message;
  EXPECT_THAT(result.refusal->message, HasSubstr(GetParam().proposal));
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Unreadable,
    testing::ValuesIn<UnreadableRow>({
        {"try_table", ModuleWithCode({0x1f, 0x40, 0x00, 0x0b}),
         "the exception-handling proposal"},
        {"throw_ref", ModuleWithCode({0x0a}),
         "the exception-handling proposal"},
        {"call_ref", ModuleWithCode({0x14, 0x00}), "function-references"},
        {"struct_new", ModuleWithCode({0xfb, 0x00, 0x00}), "gc"},
        {"string_new", ModuleWithCode({0xfb, 0x80, 0x01, 0x00}), "stringref"},
        {"resume", ModuleWithCode({0xe3, 0x00, 0x00}), "stack-switching"},
        {"i64_add128", ModuleWithCode({0xfc, 0x13}), "wide-arithmetic"},
        {"struct_type", Module({Section(1, Vec({{0x5f, 0x00, 0x00}}))}), "gc"},
        {"anyref", Module({Section(1, Vec({FunctionType({0x6e}, {})}))}), "gc"},
        {"typed_reference",
         Module({Section(1, Vec({FunctionType({0x64, 0x70}, {})}))}),
         "function-references"},
        {"table_with_a_value",
         Module({Section(4, Vec({{0x40, 0x00, 0x70, 0x00, 0x00, 0xd0, 0x70,
                                  0x0b}}))}),
         "function-references"},
        {"page_size", Module({Section(5, Vec({{0x08, 0x01, 0x00}}))}),
         "custom-page-sizes"},
        {"component",
         {0x00, 'a', 's', 'm', 0x0d, 0x00, 0x01, 0x00},
         "component-model"},
        {"unknown_opcode", ModuleWithCode({0x27}), "no proposal that is known"},
        {"unknown_vector_opcode", ModuleWithCode({0xfd, 0x9a, 0x01}),
         "opcode 0xfd 0x9a"},
        {"unknown_opcode_far_out",
         ModuleWithCode(Join({{0xfd}, U(0xffffffff)})),
         "opcode 0xfd 0xffffffff"},
    }),
    RowName());

}  // namespace
}  // namespace callgate::admission
