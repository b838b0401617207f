// The instruction table against another one, which somebody else wrote.

#include "runtime/admission/instruction.h"

#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace callgate::admission {
namespace {

struct Foreign {
  std::string name;
  uint32_t access_bytes;  // zero for what is no memory access
};

// By prefix (zero for none) and code.
std::map<std::pair<uint32_t, uint32_t>, Foreign> ForeignTable() {
  std::map<std::pair<uint32_t, uint32_t>, Foreign> table;
#define WABT_OPCODE(result, type1, type2, type3, bytes, prefix, code, Name, \
                    text, decompiled)                                       \
  table[{prefix, code}] = {text, bytes};
#include "wabt/opcode.def"
#undef WABT_OPCODE
  // What wabt's interpreter uses inside, and no binary can hold.
  for (auto it = table.begin(); it != table.end();) {
    it = it->first.first == 0 && it->first.second >= 0xe0 ? table.erase(it)
                                                          : std::next(it);
  }
  // From a proposal that it reads and the scan does not.
  table.erase({0, 0x14});
  return table;
}

bool IsReadable(Proposal proposal) {
  Features features;
  features.tail_call = true;
  features.extended_const = true;
  features.multi_memory = true;
  features.memory64 = true;
  features.relaxed_simd = true;
  features.exceptions = true;
  features.threads = true;
  return features.Has(proposal);
}

void ExpectAgreement(
    const std::map<std::pair<uint32_t, uint32_t>, Foreign>& table,
    uint32_t prefix, uint32_t code, Instruction ours) {
  const auto found = table.find({prefix, code});
  EXPECT_EQ(IsReadable(ours.proposal), found != table.end())
      << std::hex << prefix << " " << code;
  if (found == table.end() || !IsReadable(ours.proposal)) return;
  const bool accesses = ours.form == Form::kLoadStore ||
                        ours.form == Form::kAtomic ||
                        ours.form == Form::kLoadStoreLane;
  EXPECT_EQ(accesses, found->second.access_bytes != 0) << found->second.name;
  if (accesses) {
    EXPECT_EQ(1u << ours.detail, found->second.access_bytes)
        << found->second.name;
  }
}

TEST(InstructionTest, AgreesOnWhichOpcodesThereAreAndOnTheirAlignment) {
  const auto table = ForeignTable();
  ASSERT_GT(table.size(), 400u);
  for (uint32_t code = 0; code < 0x100; ++code) {
    if (IsPrefix(static_cast<uint8_t>(code))) continue;
    ExpectAgreement(table, 0, code, InstructionOf(static_cast<uint8_t>(code)));
  }
  for (const uint8_t prefix : {uint8_t{0xfc}, uint8_t{0xfd}, uint8_t{0xfe}}) {
    for (uint32_t code = 0; code < 0x200; ++code) {
      ExpectAgreement(table, prefix, code, InstructionOf(prefix, code));
    }
  }
}

TEST(InstructionTest, KnowsTheLanesOfEachShape) {
  for (const auto& [key, foreign] : ForeignTable()) {
    if (!absl::StrContains(foreign.name, "_lane")) continue;
    const Instruction ours =
        InstructionOf(static_cast<uint8_t>(key.first), key.second);
    // "i8x16.extract_lane_s" has sixteen lanes, "v128.load8_lane" too.
    const struct {
      const char* part;
      uint8_t lanes;
    } kShapes[] = {
        {"x16.", 16},   {"x8.", 8},     {"x4.", 4},     {"x2.", 2},
        {"load8", 16},  {"load16", 8},  {"load32", 4},  {"load64", 2},
        {"store8", 16}, {"store16", 8}, {"store32", 4}, {"store64", 2},
    };
    bool known = false;
    for (const auto& shape : kShapes) {
      if (!absl::StrContains(foreign.name, shape.part)) continue;
      known = true;
      const uint8_t lanes = ours.form == Form::kLoadStoreLane
                                ? static_cast<uint8_t>(16 >> ours.detail)
                                : ours.detail;
      if (ours.form == Form::kPlain) continue;  // laneselect: no immediate
      EXPECT_EQ(lanes, shape.lanes) << foreign.name;
      break;
    }
    EXPECT_TRUE(known) << foreign.name;
  }
}

TEST(InstructionTest, KnowsNothingPastTheTables) {
  for (const uint8_t prefix : {uint8_t{0xfc}, uint8_t{0xfd}, uint8_t{0xfe}}) {
    EXPECT_EQ(InstructionOf(prefix, 0xffffffff).proposal, Proposal::kUnknown);
  }
}

}  // namespace
}  // namespace callgate::admission
