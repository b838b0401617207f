// Loops that walk towards the ends of a memory, over them, or up to them: the
// optimised level, which takes bounds checks out, against the baseline, which
// has one for each access.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/native/compile_request.h"
#include "runtime/store.h"
#include "tests/support/native_engine.h"
#include "tests/support/wat.h"

namespace callgate::native {
namespace {

constexpr int kModules = 18;
constexpr int kFunctions = 12;

// Text of functions whose accesses have ends all around a page or two.
class Writer {
 public:
  explicit Writer(uint32_t seed) : random_(seed) {}

  std::string Module(bool is_64) {
    index_ = is_64 ? "i64" : "i32";
    std::string text = absl::StrCat("(module (memory (export \"memory\") ",
                                    is_64 ? "i64 " : "", "1 3)\n");
    for (int i = 0; i < kFunctions; ++i) absl::StrAppend(&text, Function(i));
    return text + ")";
  }

 private:
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_()) % n; }
  template <typename T, size_t N>
  T Pick(const T (&list)[N]) {
    return list[Below(N)];
  }

  // An address made of $p, which a loop moves, and $a, which the caller gives.
  std::string Address() {
    static constexpr int kNear[] = {0, 0, 0, 4, 8, -4, -8, 16, 24};
    static constexpr int kFar[] = {65'000, 65'528, 65'535};
    const std::string from =
        Below(5) == 0 ? "(local.get $a)" : "(local.get $p)";
    const int constant = Below(12) == 0 ? Pick(kFar) : Pick(kNear);
    if (constant == 0) return from;
    return absl::StrCat("(", index_, ".add ", from, " (", index_, ".const ",
                        constant, "))");
  }

  std::string Offset() {
    static constexpr const char* kNear[] = {"", "", "", " offset=4",
                                            " offset=8"};
    static constexpr const char* kFar[] = {" offset=40", " offset=65520",
                                           " offset=65535", " offset=131064"};
    return Below(12) == 0 ? Pick(kFar) : Pick(kNear);
  }

  std::string Access() {
    const std::string at = Address();
    switch (Below(7)) {
      case 0:
        return absl::StrCat("(i32.store8", Offset(), " ", at,
                            " (local.get $sum))\n");
      case 1:
        return absl::StrCat("(i32.store", Offset(), " ", at,
                            " (local.get $sum))\n");
      case 2:
        return absl::StrCat("(i64.store", Offset(), " ", at,
                            " (i64.extend_i32_u (local.get $sum)))\n");
      case 3:
        return absl::StrCat("(local.set $d (f64.", Below(2) ? "min" : "max",
                            " (local.get $d) (f64.load", Offset(), " ", at,
                            ")))\n");
      case 4:
        return absl::StrCat("(f64.store", Offset(), " ", at,
                            " (f64.div (local.get $d) (f64.load ", Address(),
                            ")))\n");
      default:
        return absl::StrCat(
            "(local.set $sum (i32.add (i32.mul (local.get $sum)"
            " (i32.const 31)) (i32.load",
            Below(2) ? "" : "16_u", Offset(), " ", at, ")))\n");
    }
  }

  std::string Accesses(uint32_t max) {
    std::string text;
    for (uint32_t i = 1 + Below(max); i > 0; --i) text += Access();
    return text;
  }

  std::string Function(int number) {
    static constexpr int kSteps[] = {1, 4, 8, -4, -8, 24, 32, 4'096, -1};
    static constexpr int kCounts[] = {1, 7, 64, 1'000, 2'048, 8'191, 8'192};
    const int step = Pick(kSteps);
    const int count = Pick(kCounts);
    // Towards the end of the first page, about as far as the loop gets.
    const int start = step > 0
                          ? std::max(0, 65'536 - step * count +
                                            static_cast<int>(Below(3)) * 8 - 8)
                          : std::min(65'528, -step * count);
    const bool from_caller = Below(3) == 0;
    const std::string grow =
        absl::StrCat("(drop (memory.grow (", index_, ".const 1)))\n");
    return absl::StrCat(
        "(func (export \"f", number, "\") (param $a ", index_,
        ") (param $n i32) (result i32)\n(local $p ", index_,
        ") (local $i i32) (local $sum i32) (local $d f64)\n", "(local.set $p ",
        from_caller ? "(local.get $a)"
                    : absl::StrCat("(", index_, ".const ", start, ")"),
        ")\n(local.set $i ",
        Below(3) == 0 ? "(local.get $n)"
                      : absl::StrCat("(i32.const ", count, ")"),
        ")\n", Below(2) == 0 ? Accesses(2) : "", Below(6) == 0 ? grow : "",
        "(loop $again\n", Accesses(4), Below(8) == 0 ? grow : "",
        "(local.set $p (", index_, ".add (local.get $p) (", index_, ".const ",
        step, ")))\n",
        "(br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const "
        "1)))))\n",
        Below(2) == 0 ? Accesses(2) : "",
        "(i32.xor (local.get $sum) (i32.wrap_i64 (i64.reinterpret_f64 "
        "(local.get $d)))))\n");
  }

  std::mt19937 random_;
  std::string index_;
};

// What a call comes to, memory included.
std::string OutcomeOf(const Engine& engine,
                      const std::shared_ptr<const Module>& shared,
                      const std::string& name, const std::vector<Value>& args) {
  Store store(engine, Limits());
  const auto made = Linker().Instantiate(store, shared, "guest");
  if (!made.ok()) return std::string(made.status().message());
  const Memory memory = *made->instance->GetMemory("memory");
  // Numbers, NaNs among them.
  static const std::vector<uint8_t>* const page = [] {
    auto* const filled = new std::vector<uint8_t>(65'536);
    for (size_t i = 0; i < filled->size(); ++i) {
      (*filled)[i] =
          i % 4'096 >= 4'080 ? 0xff : static_cast<uint8_t>(i * 37 >> 3);
    }
    return filled;
  }();
  EXPECT_TRUE(memory.Write(0, *page).ok());
  CallOptions options;
  options.fuel = 300'000;
  const auto called = made->instance->GetFunc(name)->Call(args, options);
  if (!called.ok()) return std::string(called.status().message());
  std::string outcome =
      called->returned()
          ? absl::StrCat("returns ", called->values[0].u32())
          : absl::StrCat(
                "traps: ", called->trap->message(), " at ",
                called->trap->backtrace().empty()
                    ? 0
                    : called->trap->backtrace()[0].module_offset.value_or(0));
  std::vector<uint8_t> bytes(memory.bytes());
  EXPECT_TRUE(memory.Read(0, absl::MakeSpan(bytes)).ok());
  return absl::StrCat(outcome, ", fuel ", called->usage.fuel, ", memory of ",
                      bytes.size(), ": ", absl::HashOf(bytes));
}

TEST(MemoryEdgeTest, BothLevelsStopAtTheSameByte) {
  EngineOptions options;
  options.features.memory64 = true;
  CompileRequest request;
  request.level = Level::kBaseline;
  const auto baseline = NewInProcessNativeEngine(options, request);
  request.level = Level::kOptimised;
  const auto optimised = NewInProcessNativeEngine(options, request);
  int traps = 0;
  int returns = 0;
  for (int m = 0; m < kModules; ++m) {
    const bool is_64 = m % 6 == 5;
    const std::string text = Writer(static_cast<uint32_t>(m + 1)).Module(is_64);
    const auto bytes = AssembleWat(text);
    ASSERT_TRUE(bytes.ok()) << bytes.status() << text;
    const auto one = Module::Compile(*baseline, *bytes);
    ASSERT_TRUE(one.ok()) << one.status();
    const auto other = Module::Compile(*optimised, *bytes);
    ASSERT_TRUE(other.ok()) << other.status();
    for (int f = 0; f < kFunctions; ++f) {
      for (const auto& [a, n] :
           std::vector<std::pair<uint32_t, uint32_t>>{{0, 1},
                                                      {65'528, 3},
                                                      {65'536, 1},
                                                      {0xfffffff8, 2},
                                                      {40'000, 8'192}}) {
        const std::vector<Value> args = {
            is_64 ? Value::I64(uint64_t{a}) : Value::I32(a), Value::I32(n)};
        const std::string name = absl::StrCat("f", f);
        const std::string expected = OutcomeOf(*baseline, *one, name, args);
        EXPECT_EQ(OutcomeOf(*optimised, *other, name, args), expected)
            << "module " << m << ", " << name << "(" << a << ", " << n << ")\n"
            << text;
        ++(expected[0] == 't' ? traps : returns);
      }
    }
  }
  // Neither is what all of them do.
  EXPECT_GT(traps, 200);
  EXPECT_GT(returns, 200);
}

}  // namespace
}  // namespace callgate::native
