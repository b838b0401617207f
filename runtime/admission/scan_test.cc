#include "runtime/admission/scan.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/admission/module_bytes.h"
#include "runtime/admission/scan_testing.h"

namespace callgate::admission {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct AcceptedRow {
  std::string name;
  Bytes bytes;
};

class Accepted : public testing::TestWithParam<AcceptedRow> {};

TEST_P(Accepted, IsAdmitted) {
  const ScanResult result = Scan(GetParam().bytes, ModuleLimits{}, Features{});
  EXPECT_TRUE(result.admitted()) << MessageOf(result);
  EXPECT_FALSE(result.refusal.has_value());
}

INSTANTIATE_TEST_SUITE_P(
    Modules, Accepted,
    testing::ValuesIn<AcceptedRow>({
        {"header_only", Module({})},
        {"rich", RichModule()},
        {"empty_sections", Module({Section(1, U(0)), Section(2, U(0)),
                                   Section(10, U(0)), Section(11, U(0))})},
        {"count_padded_to_five_bytes",
         Module({Section(1, Join({PaddedU(1, 5), EmptyType()}))})},
        {"section_size_padded_to_five_bytes",
         Module({Join({{0x01}, PaddedU(4, 5), Vec({EmptyType()})})})},
        {"i32_padded_to_five_bytes",
         ModuleWithCode({0x41, 0x87, 0x80, 0x80, 0x80, 0x00, 0x1a})},
        {"i32_negative_padded_to_five_bytes",
         ModuleWithCode({0x41, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x1a})},
        {"i64_padded_to_ten_bytes",
         ModuleWithCode(Join({{0x42}, Repeat({0x80}, 9), {0x00, 0x1a}}))},
        {"data_count_of_zero_without_data", Module({Section(12, U(0))})},
        {"custom_sections_anywhere",
         Module({CustomSection("a", {}), Section(1, U(0)),
                 CustomSection("a", {}), Section(3, U(0)),
                 CustomSection("", {})})},
        {"malformed_name_section",
         Module({CustomSection("name", {0x01, 0xff, 0xff, 0xff, 0xff, 0x0f})})},
        {"name_section_with_bad_utf8",
         Module({CustomSection("name", {0x00, 0x02, 0x01, 0xff})})},
        {"names_with_controls_and_nul",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(7, Vec({Join({Name("f\n\x1b[31m"), {0x00, 0x00}}),
                                 Join({Name(absl::string_view("f\0g", 3)),
                                       {0x00, 0x00}})})),
                 Section(10, Vec({Body({})}))})},
        {"same_name_imported_twice",
         Module({Section(1, Vec({EmptyType()})),
                 Section(2, VecOf(2, {0x01, 'm', 0x01, 'f', 0x00, 0x00}))})},
        {"local_group_of_zero", ModuleWithRawBody({0x01, 0x00, 0x7f, 0x0b})},
        {"branch_to_the_function", ModuleWithCode({0x0c, 0x00})},
        {"branch_out_of_all_blocks",
         ModuleWithCode({0x02, 0x40, 0x03, 0x40, 0x0c, 0x02, 0x0b, 0x0b})},
        {"if_without_else", ModuleWithCode({0x41, 0x00, 0x04, 0x40, 0x0b})},
        {"block_with_a_type_index", ModuleWithCode({0x02, 0x00, 0x0b})},
        {"element_segments_without_table",
         Module({Section(9, Vec({{0x01, 0x00, 0x00}, {0x05, 0x70, 0x00}}))})},
        {"memory_of_equal_sizes",
         Module({Section(5, Vec({{0x01, 0x02, 0x02}}))})},
    }),
    RowName());

struct MalformedRow {
  std::string name;
  Bytes bytes;
  std::string message;
};

class Malformed : public testing::TestWithParam<MalformedRow> {};

TEST_P(Malformed, IsRefusedWhateverTheLimits) {
  for (const ModuleLimits& limits : {ModuleLimits{}, NoLimits()}) {
    const ScanResult result = Scan(GetParam().bytes, limits, Features{});
    EXPECT_FALSE(result.summary.has_value());
    ASSERT_TRUE(result.refusal.has_value());
    const Refusal& refusal = *result.refusal;
    EXPECT_EQ(refusal.kind, Refusal::Kind::kMalformed) << refusal.message;
    EXPECT_THAT(refusal.message,
                AllOf(HasSubstr(GetParam().message),
                      HasSubstr(absl::StrCat("at byte ", refusal.offset))));
    EXPECT_LE(refusal.offset, GetParam().bytes.size());
    EXPECT_EQ(refusal.limit, "");
  }
}

Bytes WithDataKind(uint8_t kind) {
  return Module({Section(5, Vec({{0x00, 0x01}})),
                 Section(11, Vec({{kind, 0x41, 0x00, 0x0b, 0x00}}))});
}

// The module imports an i32 that is mutable or not, and has one function.
Bytes WithGlobalAfterImport(bool import_mutable, const Bytes& global) {
  return Module(
      {Section(1, Vec({EmptyType()})),
       Section(2, Vec({Join({{0x01, 'm', 0x01, 'g', 0x03, 0x7f},
                             {import_mutable ? uint8_t{1} : uint8_t{0}}})})),
       Section(3, Vec({U(0)})), Section(6, Vec({global})),
       Section(10, Vec({Body({})}))});
}

Bytes WithStart(const Bytes& type, uint32_t function) {
  return Module({Section(1, Vec({type})), Section(3, Vec({U(0)})),
                 Section(8, U(function)), Section(10, Vec({Body({0x00})}))});
}

Bytes WithElementKind(uint8_t kind) {
  return Module({Section(4, Vec({{0x70, 0x00, 0x01}})),
                 Section(9, Vec({{kind, 0x41, 0x00, 0x0b, 0x00}}))});
}

Bytes WithElementItem(const Bytes& segment) {
  return Module(
      {Section(4, Vec({{0x70, 0x00, 0x01}})), Section(9, Vec({segment}))});
}

INSTANTIATE_TEST_SUITE_P(
    Header, Malformed,
    testing::ValuesIn<MalformedRow>({
        {"empty", {}, "does not begin with"},
        {"half_a_magic", {0x00, 'a'}, "does not begin with"},
        {"elf", {0x7f, 'E', 'L', 'F', 2, 1, 1, 0}, "does not begin with"},
        {"text", {'(', 'm', 'o', 'd', 'u', 'l', 'e', ')'}, "text format"},
        {"no_version", {0x00, 'a', 's', 'm'}, "version 1"},
        {"version_2", {0x00, 'a', 's', 'm', 2, 0, 0, 0}, "version 1"},
    }),
    RowName());

INSTANTIATE_TEST_SUITE_P(
    Sections, Malformed,
    testing::ValuesIn<MalformedRow>({
        {"unknown_id", Module({Section(15, {})}), "no section with the id 15"},
        {"size_missing", Module({{0x01}}), "its size was expected"},
        {"size_past_the_end",
         Module({Join({{0x01}, U(0xfffffff0), Vec({EmptyType()})})}),
         "4294967280 bytes cannot fit in the 4"},
        {"bytes_left_over", Module({Section(1, Join({U(0), {0x00}}))}),
         "the type section: 1 bytes too many"},
        {"contents_cut_short", Module({Section(1, {0x01, 0x60, 0x00})}),
         "the number of types is 1, which cannot fit"},
        {"out_of_order", Module({Section(3, U(0)), Section(1, U(0))}),
         "the type section: stands after"},
        {"data_count_after_code",
         Module({Section(10, U(0)), Section(12, U(0))}),
         "the data count section: stands after"},
        {"twice", Module({Section(1, U(0)), Section(1, U(0))}),
         "the type section: appears a second time"},
        {"custom_without_a_name", Module({Section(0, {})}),
         "its name was expected"},
        {"custom_name_longer_than_the_section",
         Module({Section(0, {0x05, 'a'})}),
         "its name of 5 bytes cannot fit in the 1"},
        {"custom_name_not_utf8", Module({Section(0, {0x01, 0xff})}),
         "its name is not UTF-8"},
        {"functions_without_code",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)}))}),
         "0 function bodies for 1 functions"},
        {"more_code_than_functions",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(10, VecOf(2, Body({})))}),
         "2 function bodies for 1 functions"},
        {"code_without_functions", Module({Section(10, Vec({Body({})}))}),
         "1 function bodies for 0 functions"},
        {"data_count_without_data", Module({Section(12, U(1))}),
         "announces 1 data segments, there are 0"},
        {"data_count_too_small",
         Module({Section(12, U(1)), Section(11, VecOf(2, {0x01, 0x00}))}),
         "announces 1 data segments, there are 2"},
        {"data_count_too_large",
         Module({Section(12, U(3)), Section(11, VecOf(2, {0x01, 0x00}))}),
         "announces 3 data segments, there are 2"},
    }),
    RowName());

INSTANTIATE_TEST_SUITE_P(
    Numbers, Malformed,
    testing::ValuesIn<MalformedRow>({
        {"count_in_six_bytes",
         Module({Section(1, Join({PaddedU(1, 6), EmptyType()}))}),
         "takes more bytes than its width of 32"},
        {"count_with_unused_bits",
         Module({Section(1,
                         Join({{0x81, 0x80, 0x80, 0x80, 0x10}, EmptyType()}))}),
         "sets bits past its width of 32"},
        {"i32_in_six_bytes",
         ModuleWithCode({0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x1a}),
         "takes more bytes than its width of 32"},
        {"i32_with_unused_bits",
         ModuleWithCode({0x41, 0x80, 0x80, 0x80, 0x80, 0x70, 0x1a}),
         "sets bits past its width of 32"},
        {"i64_in_eleven_bytes",
         ModuleWithCode(Join({{0x42}, Repeat({0x80}, 10), {0x00, 0x1a}})),
         "takes more bytes than its width of 64"},
        {"i64_with_unused_bits",
         ModuleWithCode(Join({{0x42}, Repeat({0x80}, 9), {0x7e, 0x1a}})),
         "sets bits past its width of 64"},
        {"type_count_that_lies",
         Module({Section(1, Join({U(0xffffffff), EmptyType()}))}),
         "the number of types is 4294967295, which cannot fit in the 3"},
        {"export_count_that_lies", Module({Section(7, U(0xffffffff))}),
         "the number of exports is 4294967295"},
        {"br_table_count_that_lies",
         ModuleWithCode(Join({{0x41, 0x00, 0x0e}, U(0xffffffff), {0x00}})),
         "the number of br_table targets is 4294967295"},
        {"data_length_that_lies",
         Module({Section(11, Vec({Join({{0x01}, U(0xffffffff), {'x'}})}))}),
         "its contents of 4294967295 bytes cannot fit in the 1"},
        {"body_size_that_lies",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(10, Join({U(1), U(0xffffffff), {0x00, 0x0b}}))}),
         "its body of 4294967295 bytes cannot fit in the 2"},
    }),
    RowName());

INSTANTIATE_TEST_SUITE_P(
    Declarations, Malformed,
    testing::ValuesIn<MalformedRow>({
        {"type_form_unknown", Module({Section(1, Vec({{0x40, 0x00, 0x00}}))}),
         "type 0: begins with 0x40"},
        {"param_of_no_type",
         Module({Section(1, Vec({FunctionType({0x40}, {})}))}),
         "has the code 0x40, which is no type"},
        {"import_of_no_kind",
         Module({Section(2, Vec({{0x00, 0x00, 0x05, 0x00}}))}),
         "import 0: is of the kind 5"},
        {"import_of_a_type_that_is_not_there",
         Module({Section(2, Vec({{0x00, 0x00, 0x00, 0x00}}))}),
         "there is no type 0: the module has 0 in all"},
        {"import_name_not_utf8",
         Module({Section(1, Vec({EmptyType()})),
                 Section(2, Vec({{0x01, 'm', 0x02, 0xc0, 0x80, 0x00, 0x00}}))}),
         "import 0: its name is not UTF-8"},
        {"function_of_a_type_that_is_not_there",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(1)}))}),
         "function 0: there is no type 1: the module has 1 in all"},
        {"table_smaller_than_itself",
         Module({Section(4, Vec({{0x70, 0x01, 0x02, 0x01}}))}),
         "a table of 2 elements may have 1 at most"},
        {"table_of_numbers", Module({Section(4, Vec({{0x7f, 0x00, 0x00}}))}),
         "is not a reference type"},
        {"table_limits_unknown",
         Module({Section(4, Vec({{0x70, 0x02, 0x00}}))}),
         "a table's limits begin with 0x02"},
        {"memory_smaller_than_itself",
         Module({Section(5, Vec({{0x01, 0x02, 0x01}}))}),
         "a memory of 2 pages may have 1 at most"},
        {"memory_past_4_gib",
         Module({Section(5, Vec({Join({{0x00}, U(65537)})}))}),
         "a memory of 65537 pages"},
        {"memory_maximum_past_4_gib",
         Module({Section(5, Vec({Join({{0x01, 0x00}, U(65537)})}))}),
         "a memory of 65537 pages"},
        {"memory_limits_unknown", Module({Section(5, Vec({{0x10, 0x00}}))}),
         "a memory's limits begin with 0x10"},
        {"global_of_no_mutability",
         Module({Section(6, Vec({{0x7f, 0x02, 0x41, 0x00, 0x0b}}))}),
         "global 0: has the mutability 2"},
        {"export_of_no_kind", ModuleWithExports({{0x01, 'f', 0x05, 0x00}}),
         "export 0: is of the kind 5"},
        {"export_of_nothing", ModuleWithExports({{0x01, 'f', 0x00, 0x01}}),
         "there is no function 1: the module has 1 in all"},
        {"export_of_no_memory", ModuleWithExports({{0x01, 'f', 0x02, 0x00}}),
         "there is no memory 0"},
        {"export_name_twice",
         ModuleWithExports({{0x01, 'f', 0x00, 0x00}, {0x01, 'f', 0x00, 0x00}}),
         "export 1: another export has the name \"f\""},
        {"export_name_twice_escaped",
         ModuleWithExports({{0x02, '\n', 0x1b, 0x00, 0x00},
                            {0x02, '\n', 0x1b, 0x00, 0x00}}),
         "has the name \"\\n\\x1b\""},
        {"export_name_not_utf8",
         ModuleWithExports({{0x02, 0xff, 0xfe, 0x00, 0x00}}),
         "export 0: its name is not UTF-8"},
        {"start_that_is_not_there", WithStart(EmptyType(), 1),
         "there is no function 1"},
        {"start_with_a_parameter", WithStart(FunctionType({0x7f}, {}), 0),
         "a start function takes and returns nothing"},
        {"start_with_a_result", WithStart(FunctionType({}, {0x7f}), 0),
         "a start function takes and returns nothing"},
    }),
    RowName());

INSTANTIATE_TEST_SUITE_P(
    ConstantExpressions, Malformed,
    testing::ValuesIn<MalformedRow>({
        {"empty", ModuleWithGlobal({0x0b}), "leaves 0 values, not one"},
        {"two_values", ModuleWithGlobal({0x41, 0x00, 0x41, 0x00, 0x0b}),
         "leaves 2 values, not one"},
        {"no_end", ModuleWithGlobal({0x41, 0x00}),
         "the end of a constant expression"},
        {"wrong_type", ModuleWithGlobal({0x42, 0x00, 0x0b}),
         "has the type i64 where i32 is needed"},
        {"not_constant", ModuleWithGlobal({0x01, 0x0b}),
         "opcode 0x01 is not allowed"},
        {"division", ModuleWithGlobal({0x41, 0x01, 0x41, 0x01, 0x6d, 0x0b}),
         "opcode 0x6d is not allowed"},
        {"nested_block", ModuleWithGlobal({0x02, 0x7f, 0x41, 0x00, 0x0b, 0x0b}),
         "opcode 0x02 is not allowed"},
        {"vector_operator", ModuleWithGlobal({0xfd, 0x0f, 0x0b}),
         "opcode 0xfd 0x0f is not allowed"},
        {"own_global",
         WithGlobalAfterImport(false, {0x7f, 0x00, 0x23, 0x01, 0x0b}),
         "global 1 is not imported"},
        {"mutable_global",
         WithGlobalAfterImport(true, {0x7f, 0x00, 0x23, 0x00, 0x0b}),
         "global 0 is mutable"},
        {"global_that_is_not_there",
         WithGlobalAfterImport(false, {0x7f, 0x00, 0x23, 0x05, 0x0b}),
         "there is no global 5"},
        {"function_that_is_not_there",
         WithGlobalAfterImport(false, {0x70, 0x00, 0xd2, 0x01, 0x0b}),
         "there is no function 1"},
        {"null_of_another_type",
         WithGlobalAfterImport(false, {0x70, 0x00, 0xd0, 0x6f, 0x0b}),
         "has the type externref where funcref is needed"},
        {"data_offset_empty",
         Module({Section(5, Vec({{0x00, 0x01}})),
                 Section(11, Vec({{0x00, 0x0b, 0x00}}))}),
         "data segment 0: a constant expression leaves 0 values"},
        {"element_offset_of_i64",
         WithElementItem({0x00, 0x42, 0x00, 0x0b, 0x00}),
         "has the type i64 where i32 is needed"},
        {"element_item_empty", WithElementItem({0x05, 0x70, 0x01, 0x0b}),
         "element segment 0: a constant expression leaves 0 values"},
    }),
    RowName());

INSTANTIATE_TEST_SUITE_P(
    Segments, Malformed,
    testing::ValuesIn<MalformedRow>({
        {"data_kind_3", WithDataKind(3), "data segment 0: has the kind 3"},
        {"data_kind_4", WithDataKind(4), "data segment 0: has the kind 4"},
        {"data_without_memory",
         Module({Section(11, Vec({{0x00, 0x41, 0x00, 0x0b, 0x00}}))}),
         "there is no memory 0"},
        {"data_for_another_memory",
         Module({Section(5, Vec({{0x00, 0x01}})),
                 Section(11, Vec({{0x02, 0x01, 0x41, 0x00, 0x0b, 0x00}}))}),
         "there is no memory 1"},
        {"element_kind_8", WithElementKind(8),
         "element segment 0: has the kind 8"},
        {"elements_without_table",
         Module({Section(9, Vec({{0x00, 0x41, 0x00, 0x0b, 0x00}}))}),
         "there is no table 0"},
        {"elements_for_another_table",
         WithElementItem({0x02, 0x01, 0x41, 0x00, 0x0b, 0x00, 0x00}),
         "there is no table 1"},
        {"element_that_is_not_there",
         WithElementItem({0x00, 0x41, 0x00, 0x0b, 0x01, 0x00}),
         "there is no function 0"},
        {"elements_of_unknown_kind", WithElementItem({0x01, 0x01, 0x00}),
         "items of an unknown kind"},
        {"elements_of_another_type",
         WithElementItem({0x06, 0x00, 0x41, 0x00, 0x0b, 0x6f, 0x00}),
         "its items are of the type externref, those of table 0 are funcref"},
    }),
    RowName());

INSTANTIATE_TEST_SUITE_P(
    Bodies, Malformed,
    testing::ValuesIn<MalformedRow>({
        {"empty", ModuleWithRawBody({}), "the number of local groups"},
        {"no_end", ModuleWithRawBody({0x00}),
         "ends where an opcode was expected"},
        {"last_end_closes_a_loop", ModuleWithRawBody({0x00, 0x03, 0x40, 0x0b}),
         "function 0: ends where an opcode was expected"},
        {"goes_on_after_its_end", ModuleWithRawBody({0x00, 0x0b, 0x01, 0x0b}),
         "function 0: 2 bytes too many"},
        {"last_byte_is_no_end", ModuleWithRawBody({0x00, 0x0b, 0x00}),
         "function 0: 1 bytes too many"},
        {"end_hidden_in_an_immediate", ModuleWithRawBody({0x00, 0x41, 0x0b}),
         "ends where an opcode was expected"},
        {"constant_cut_short", ModuleWithRawBody({0x00, 0x43, 0x00, 0x0b}),
         "an f32 constant of 4 bytes cannot fit in the 2"},
        {"else_without_if", ModuleWithCode({0x05}), "else without an if"},
        {"else_in_a_block", ModuleWithCode({0x02, 0x40, 0x05, 0x0b}),
         "else without an if"},
        {"two_elses", ModuleWithCode({0x41, 0, 0x04, 0x40, 0x05, 0x05, 0x0b}),
         "else without an if"},
        {"block_of_no_type", ModuleWithCode({0x02, 0x41, 0x0b}),
         "has the code 0x41, which is no type"},
        {"block_type_index_too_large", ModuleWithCode({0x02, 0x01, 0x0b}),
         "there is no type 1"},
        {"block_type_negative_in_two_bytes",
         ModuleWithCode({0x02, 0xc0, 0x7f, 0x0b}), "negative number"},
        {"branch_too_far", ModuleWithCode({0x02, 0x40, 0x0c, 0x02, 0x0b}),
         "there is no label 2: only 2 are in reach"},
        {"branch_to_the_last_number",
         ModuleWithCode(Join({{0x0c}, U(0xffffffff)})), "no label 4294967295"},
        {"br_table_too_far", ModuleWithCode({0x41, 0, 0x0e, 0x01, 0x01, 0x00}),
         "there is no label 1"},
        {"br_table_default_too_far",
         ModuleWithCode({0x41, 0, 0x0e, 0x01, 0x00, 0x01}),
         "there is no label 1"},
        {"call_of_nothing", ModuleWithCode({0x10, 0x01}),
         "there is no function 1"},
        {"indirect_call_of_no_type",
         ModuleWithCode({0x41, 0, 0x11, 0x01, 0x00}), "there is no type 1"},
        {"indirect_call_through_no_table",
         ModuleWithCode({0x41, 0, 0x11, 0x00, 0x01}), "there is no table 1"},
        {"indirect_call_through_other_references",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(4, Vec({{0x6f, 0x00, 0x01}})),
                 Section(10, Vec({Body({0x41, 0, 0x11, 0, 0})}))}),
         "table 0 does not hold functions"},
        {"local_that_is_not_there", ModuleWithCode({0x20, 0x00, 0x1a}),
         "there is no local 0: the function has 0 in all"},
        {"global_that_is_not_there", ModuleWithCode({0x23, 0x01, 0x1a}),
         "there is no global 1"},
        {"table_that_is_not_there", ModuleWithCode({0x41, 0, 0x25, 0x01, 0x1a}),
         "there is no table 1"},
        {"table_copy_from_nowhere", ModuleWithCode({0xfc, 0x0e, 0x00, 0x01}),
         "there is no table 1"},
        {"element_segment_that_is_not_there",
         ModuleWithCode({0xfc, 0x0d, 0x01}), "there is no element segment 1"},
        {"data_segment_that_is_not_there", ModuleWithCode({0xfc, 0x09, 0x01}),
         "there is no data segment 1"},
        {"data_segment_without_data_count",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(10, Vec({Body({0xfc, 0x09, 0x00})})),
                 Section(11, Vec({{0x01, 0x00}}))}),
         "the module has no data count section"},
        {"select_of_no_types", ModuleWithCode({0x1c, 0x00}),
         "a select names 0 types"},
        {"select_of_two_types", ModuleWithCode({0x1c, 0x02, 0x7f, 0x7f}),
         "a select names 2 types"},
        {"memory_size_of_another_memory", ModuleWithCode({0x3f, 0x01, 0x1a}),
         "the byte for the memory is not zero"},
        {"memory_grow_reserved_byte_padded",
         ModuleWithCode({0x41, 0, 0x40, 0x80, 0x00, 0x1a}),
         "the byte for the memory is not zero"},
        {"access_without_memory",
         Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(10, Vec({Body({0x41, 0, 0x28, 0x02, 0x00, 0x1a})}))}),
         "there is no memory 0"},
        {"aligned_too_far", ModuleWithCode({0x41, 0, 0x28, 0x03, 0x00, 0x1a}),
         "aligned to 2^3 bytes, its natural alignment is 2^2"},
        {"alignment_of_all_bits",
         ModuleWithCode(Join({{0x41, 0, 0x28}, U(0xffffffff), {0x00, 0x1a}})),
         "aligned to 2^4294967295"},
        {"lane_too_large",
         ModuleWithCode(
             Join({{0xfd, 0x0c}, Repeat({0}, 16), {0xfd, 0x1b, 0x04}})),
         "there is no lane 4 among 4"},
        {"shuffle_lane_too_large",
         ModuleWithCode(Join({{0xfd, 0x0d}, Repeat({0x20}, 16)})),
         "there is no lane 32 among 32"},
        {"more_than_2_to_the_32_locals",
         ModuleWithRawBody(
             Join({U(2), U(0xffffffff), {0x7f}, U(1), {0x7f}, {0x0b}})),
         "4294967296 locals are more than 2^32 - 1"},
        {"local_of_no_type", ModuleWithRawBody({0x01, 0x01, 0x40, 0x0b}),
         "has the code 0x40, which is no type"},
    }),
    RowName());

TEST(SummaryTest, SaysWhatTheModuleIs) {
  const Bytes bytes = RichModule();
  const ScanResult result = Scan(bytes, ModuleLimits{}, Features{});
  ASSERT_TRUE(result.admitted()) << MessageOf(result);
  const ModuleSummary& summary = *result.summary;

  ASSERT_EQ(summary.imports.size(), 2u);
  EXPECT_EQ(summary.imports[0].module, "env");
  EXPECT_EQ(summary.imports[0].name, "log");
  EXPECT_EQ(summary.imports[0].type.kind, ExternKind::kFunc);
  EXPECT_THAT(summary.imports[0].type.func.params, ElementsAre(ValType::kI32));
  EXPECT_EQ(summary.imports[1].name, "base");
  EXPECT_EQ(summary.imports[1].type.kind, ExternKind::kGlobal);
  EXPECT_FALSE(summary.imports[1].type.global.is_mutable);

  ASSERT_EQ(summary.exports.size(), 5u);
  EXPECT_EQ(summary.exports[0].name, "memory");
  EXPECT_EQ(summary.exports[0].type.kind, ExternKind::kMemory);
  EXPECT_EQ(summary.exports[0].type.memory.pages, (SizeRange{1, 16}));
  EXPECT_EQ(summary.exports[1].name, "run");
  EXPECT_EQ(summary.exports[1].index, 1u);
  EXPECT_EQ(summary.exports[2].type.table.size, (SizeRange{2, 8}));
  EXPECT_EQ(summary.exports[2].type.table.element, ValType::kFuncRef);
  EXPECT_EQ(summary.exports[3].name, "counter");
  EXPECT_TRUE(summary.exports[3].type.global.is_mutable);
  EXPECT_EQ(summary.exports[4].index, 0u);

  ASSERT_EQ(summary.memories.size(), 1u);
  EXPECT_EQ(summary.memories[0].pages, (SizeRange{1, 16}));
  ASSERT_EQ(summary.tables.size(), 1u);
  EXPECT_EQ(summary.tables[0].size, (SizeRange{2, 8}));
  EXPECT_EQ(summary.types, 3u);
  EXPECT_EQ(summary.imported_functions, 1u);
  EXPECT_EQ(summary.own_functions, 2u);
  EXPECT_EQ(summary.imported_globals, 1u);
  EXPECT_EQ(summary.own_globals, 3u);
  EXPECT_EQ(summary.imported_memories, 0u);
  EXPECT_EQ(summary.imported_tables, 0u);
  EXPECT_EQ(summary.data_segments, 3u);
  EXPECT_EQ(summary.data_bytes, 3u);
  EXPECT_EQ(summary.element_segments, 8u);
  EXPECT_EQ(summary.element_segment_items, 9u);
  EXPECT_EQ(summary.start_function, 2u);
  EXPECT_EQ(summary.bytes, bytes.size());
  EXPECT_EQ(summary.locals_total, 3u);
  EXPECT_EQ(summary.most_locals, 3u);
  EXPECT_EQ(summary.deepest_nesting, 2u);
  EXPECT_EQ(summary.most_br_table_targets, 2u);
  EXPECT_EQ(summary.longest_name_bytes, 7u);
  EXPECT_EQ(summary.custom_section_bytes, 10u + 9u);
}

}  // namespace
}  // namespace callgate::admission
