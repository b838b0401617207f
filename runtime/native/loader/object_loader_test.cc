#include "runtime/native/loader/object_loader.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "runtime/native/loader/code_mapping.h"
#include "runtime/native/loader/objects_testing.h"

namespace callgate::native {
namespace {

using Code = std::unique_ptr<const LoadedCode>;

// SAFETY: `code` is the address of a loaded function of that type.
template <typename Result, typename... Arguments>
Result Call(const void* code, Arguments... arguments) {
  using Function = Result (*)(Arguments...);
  return reinterpret_cast<Function>(reinterpret_cast<uintptr_t>(code))(
      arguments...);
}

uint64_t CallFunction(const void* code, uint64_t a, uint64_t b = 0) {
  return Call<uint64_t, uint64_t, uint64_t>(code, a, b);
}

Code Load(const std::vector<std::string>& objects,
          const ExpectedSymbols& expected, const LoadOptions& options = {}) {
  const std::vector<absl::string_view> views(objects.begin(), objects.end());
  absl::StatusOr<Code> code = LoadObjects(views, expected, options);
  EXPECT_TRUE(code.ok()) << code.status();
  return code.ok() ? *std::move(code) : nullptr;
}

Code LoadTwoObjects(const LoadOptions& options = {}) {
  return Load({TestObject("first"), TestObject("second")},
              ExpectedOfTwoObjects(), options);
}

struct Pages {
  uint64_t begin = 0;
  uint64_t end = 0;
  std::string protection;
};

std::vector<Pages> PagesOfThisProcess() {
  std::vector<Pages> all;
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    Pages pages;
    char protection[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &pages.begin, &pages.end,
                    protection) == 3) {
      pages.protection = protection;
      all.push_back(std::move(pages));
    }
  }
  return all;
}

// "" when nothing is mapped there.
std::string ProtectionAt(uint64_t address) {
  for (const Pages& pages : PagesOfThisProcess()) {
    if (pages.begin <= address && address < pages.end) return pages.protection;
  }
  return "";
}

// --- What is loaded runs
// ------------------------------------------------------

TEST(ObjectLoaderTest, CallsAFunctionOfAnotherObject) {
  const Code code = LoadTwoObjects();
  EXPECT_EQ(CallFunction(code->Function(2), 4, 5), 17u);
  EXPECT_EQ(CallFunction(code->Function(1), 4, 5), 18u);
}

TEST(ObjectLoaderTest, TakesTheObjectsInAnyOrder) {
  const Code code =
      Load({TestObject("second"), TestObject("first")}, ExpectedOfTwoObjects());
  EXPECT_EQ(CallFunction(code->Function(1), 4, 5), 18u);
}

TEST(ObjectLoaderTest, ReachesTheLibrary) {
  const Code code = LoadTwoObjects();
  const char from[] = "loaded";
  char to[sizeof(from)] = {};
  EXPECT_EQ((Call<void*, void*, const void*, size_t>(code->Function(3), to,
                                                     from, sizeof(from))),
            to);
  EXPECT_STREQ(to, "loaded");
  Call<void*, void*, int, size_t>(code->Function(4), to, 'x', 2);
  EXPECT_STREQ(to, "xxaded");
  Call<void*, void*, const void*, size_t>(code->Function(5), to + 1, to, 4);
  EXPECT_STREQ(to, "xxxadd");
}

TEST(ObjectLoaderTest, ReadsConstants) {
  const Code code = LoadTwoObjects();
  EXPECT_EQ((Call<double, double>(code->Function(8), 2.0)), 7.25);
}

TEST(ObjectLoaderTest, FollowsJumpTables) {
  const Code code = LoadTwoObjects();
  EXPECT_EQ(CallFunction(code->Function(6), 0), 100u);
  EXPECT_EQ(CallFunction(code->Function(6), 1), 101u);
  EXPECT_EQ(CallFunction(code->Function(6), 2), 102u);
  EXPECT_EQ(CallFunction(code->Function(6), 3), 7u);
}

TEST(ObjectLoaderTest, TakesAddresses) {
  const Code code = LoadTwoObjects();
  EXPECT_EQ((Call<const void*>(code->Function(7))), code->Function(9));
  EXPECT_EQ((Call<const void*, uint64_t>(code->Function(10), 0)),
            code->Function(2));
  EXPECT_EQ((Call<const void*, uint64_t>(code->Function(10), 1)),
            code->Function(9));
}

TEST(ObjectLoaderTest, FindsBodiesTrampolinesAndThunks) {
  const Code code = LoadTwoObjects();
  EXPECT_EQ(CallFunction(code->Function(9), 10), 55u);
  EXPECT_EQ(code->Body(1), nullptr);
  EXPECT_EQ(CallFunction(code->Body(9), 0), 9u);
  const uint64_t args[] = {4, 0, 5, 0};
  EXPECT_EQ((Call<int64_t, void*, int64_t, const void*, const uint64_t*>(
                code->EntryTrampoline(0), nullptr, 0, code->Function(2), args)),
            17);
  EXPECT_EQ(CallFunction(code->EntryTrampoline(1), 0), 21u);
  EXPECT_EQ(CallFunction(code->HostThunk(0), 0), 30u);
  EXPECT_EQ(CallFunction(code->HostThunk(1), 0), 31u);
}

TEST(ObjectLoaderTest, DefinesNoImportedFunction) {
  EXPECT_EQ(LoadTwoObjects()->Function(0), nullptr);
}

TEST(ObjectLoaderTest, RunsWhatLlvmWrites) {
  const Code code = Load({TestObject("from_llvm")}, ExpectedOfLlvmObject());
  const void* const function = code->Function(0);
  uint8_t bytes[2] = {};
  const auto to = reinterpret_cast<uint64_t>(bytes);
  EXPECT_EQ(CallFunction(function, to, 0), 55u);
  EXPECT_EQ(CallFunction(function, to, 1), 98u);
  EXPECT_EQ(bytes[0], 7);
  EXPECT_EQ(bytes[1], 0);
  EXPECT_EQ(CallFunction(function, to, 2), 140u);
  EXPECT_EQ(CallFunction(function, to, 3), 141u);
  EXPECT_EQ(CallFunction(function, to, 4),
            reinterpret_cast<uint64_t>(code->Function(1)));
  EXPECT_EQ(CallFunction(function, to, 5), ~uint64_t{0});
}

TEST(ObjectLoaderTest, LoadsAModuleWithoutFunctions) {
  const Code code = Load({}, ExpectedSymbols{});
  EXPECT_EQ(code->code_bytes(), kPageBytes);
  EXPECT_FALSE(code->Find(reinterpret_cast<const void*>(code->begin())));
}

TEST(ObjectLoaderTest, IsUsedFromManyThreads) {
  const Code code = LoadTwoObjects();
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&code, i] {
      for (int n = 0; n < 1000; ++n) {
        EXPECT_EQ(CallFunction(code->Function(1), i, 0), 3 * i + 1);
        EXPECT_TRUE(code->Find(code->Function(1)).has_value());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// --- Pages
// --------------------------------------------------------------------

TEST(ObjectLoaderTest, IsNeverWritableAndExecutable) {
  const Code code = LoadTwoObjects();
  for (const Pages& pages : PagesOfThisProcess()) {
    EXPECT_FALSE(absl::StrContains(pages.protection, 'w') &&
                 absl::StrContains(pages.protection, 'x'))
        << std::hex << pages.begin << " " << pages.protection;
  }
  for (uint64_t at = code->begin(); at < code->end(); at += kPageBytes) {
    EXPECT_EQ(ProtectionAt(at), "r-xp");
  }
  const uint64_t first = code->end() - code->code_bytes();
  ASSERT_LT(first, code->begin());
  for (uint64_t at = first; at < code->begin(); at += kPageBytes) {
    EXPECT_EQ(ProtectionAt(at), "r--p");
  }
  EXPECT_EQ(ProtectionAt(first - 1), "---p");
  EXPECT_EQ(ProtectionAt(code->end()), "---p");
}

TEST(ObjectLoaderTest, UnmapsWhatItMapped) {
  // Nothing else maps in between.
  const auto executable = [] {
    const std::vector<Pages> all = PagesOfThisProcess();
    return std::count_if(all.begin(), all.end(), [](const Pages& pages) {
      return pages.protection == "r-xp";
    });
  };
  const auto before = executable();
  Code code = LoadTwoObjects();
  EXPECT_EQ(executable(), before + 1);
  code.reset();
  EXPECT_EQ(executable(), before);
}

TEST(ObjectLoaderTest, FillsUnusedCodeWithTraps) {
  ElfWriter writer = SmallObject();
  writer.sections[0].content.resize(50);
  writer.sections.push_back({".text.more", SHT_PROGBITS,
                             SHF_ALLOC | SHF_EXECINSTR, std::string(10, '\x90'),
                             256});
  const Code code = Load({writer.Write()}, ExpectedOfSmallObject());
  const auto* const bytes = reinterpret_cast<const uint8_t*>(code->begin());
  for (size_t i = 50; i < 256; ++i) EXPECT_EQ(bytes[i], 0xcc) << i;
  EXPECT_EQ(bytes[256], 0x90);
  EXPECT_EQ(bytes[265], 0x90);
  for (size_t i = 266; i < 272; ++i) EXPECT_EQ(bytes[i], 0xcc) << i;
  EXPECT_EQ(bytes[kPageBytes - 1], 0xcc);
}

TEST(ObjectLoaderTest, KeepsAlignment) {
  ElfWriter writer = SmallObject();
  writer.sections.insert(
      writer.sections.begin() + 1,
      {".rodata.cst1", SHT_PROGBITS, SHF_ALLOC | SHF_MERGE, "c", 1});
  writer.sections[2].align = kPageBytes;
  // f0 begins with the address of the second piece of constants.
  writer.symbols.push_back({"", STT_SECTION, STB_LOCAL, 3, 0, 0});
  writer.relocations = {{kText, 0, R_X86_64_64, 4, 0}};
  const Code code = Load({writer.Write()}, ExpectedOfSmallObject());
  uint64_t constants = 0;
  std::memcpy(&constants, code->Function(0), sizeof(constants));
  EXPECT_EQ(constants % kPageBytes, 0u);
  EXPECT_EQ(*reinterpret_cast<const char*>(constants), 'r');
  EXPECT_EQ(code->code_bytes(), 3 * kPageBytes);
}

// --- Find
// ---------------------------------------------------------------------

TEST(ObjectLoaderTest, FindsTheFunctionOfAnAddress) {
  const Code code = LoadTwoObjects();
  const auto find = [&code](const void* symbol, uint64_t offset) {
    return code->Find(static_cast<const uint8_t*>(symbol) + offset);
  };
  for (uint32_t i = 1; i < ExpectedOfTwoObjects().functions; ++i) {
    const std::optional<CodePlace> place = find(code->Function(i), 3);
    ASSERT_TRUE(place.has_value()) << i;
    EXPECT_EQ(place->function, i);
    EXPECT_EQ(place->offset_in_symbol, 3u);
    EXPECT_FALSE(place->body);
  }
  const std::optional<CodePlace> body = find(code->Body(9), 0);
  ASSERT_TRUE(body.has_value());
  EXPECT_EQ(body->function, 9u);
  EXPECT_TRUE(body->body);

  // f2 is eight bytes, and padding follows.
  EXPECT_TRUE(find(code->Function(2), 7).has_value());
  EXPECT_FALSE(find(code->Function(2), 8).has_value());
  for (uint32_t type = 0; type < 2; ++type) {
    EXPECT_FALSE(find(code->EntryTrampoline(type), 0).has_value());
    EXPECT_FALSE(find(code->HostThunk(type), 0).has_value());
  }
}

TEST(ObjectLoaderTest, FindsNothingElsewhere) {
  const Code code = LoadTwoObjects();
  const auto find = [&code](uint64_t address) {
    return code->Find(reinterpret_cast<const void*>(address)).has_value();
  };
  EXPECT_FALSE(find(0));
  EXPECT_FALSE(find(code->begin() - 1));
  EXPECT_TRUE(find(code->begin()));
  EXPECT_FALSE(find(code->end() - 1));
  EXPECT_FALSE(find(code->end()));
  EXPECT_FALSE(find(~uint64_t{0}));
}

TEST(ObjectLoaderTest, FindsFunctionsThatAreOutOfOrder) {
  ElfWriter writer = SmallObject();
  writer.symbols = {
      {"f1", STT_FUNC, STB_GLOBAL, kText, 0, 8},
      {"b0", STT_FUNC, STB_GLOBAL, kText, 24, 8},
      {"f0", STT_FUNC, STB_GLOBAL, kText, 8, 8},
  };
  ExpectedSymbols expected = ExpectedOfLlvmObject();
  expected.types = 0;
  const Code code = Load({writer.Write()}, expected);
  const auto at = [&code](uint64_t offset) {
    const std::optional<CodePlace> place =
        code->Find(reinterpret_cast<const void*>(code->begin() + offset));
    if (!place.has_value()) return std::string("nothing");
    return absl::StrCat(place->body ? "b" : "f", place->function, "+",
                        place->offset_in_symbol);
  };
  EXPECT_EQ(at(7), "f1+7");
  EXPECT_EQ(at(8), "f0+0");
  EXPECT_EQ(at(16), "nothing");
  EXPECT_EQ(at(31), "b0+7");
  EXPECT_EQ(at(32), "nothing");
}

// --- Redirects
// ----------------------------------------------------------------

// What p0 of first.s expects in r10.
struct ProbeContext {
  uint64_t calls = 0;
  const void* function = nullptr;
};

TEST(RedirectTest, SendsEveryReferenceToTheStub) {
  ProbeContext recursive;
  ProbeContext imported_by_another;
  const Redirect redirects[] = {
      {2, reinterpret_cast<uint64_t>(&imported_by_another)},
      {9, reinterpret_cast<uint64_t>(&recursive)},
  };
  LoadOptions options;
  options.redirects = redirects;
  const Code code = LoadTwoObjects(options);
  recursive.function = code->Function(9);
  imported_by_another.function = code->Function(2);

  EXPECT_NE(code->Redirected(9), nullptr);
  EXPECT_NE(code->Redirected(9), code->Function(9));
  EXPECT_EQ(code->Redirected(1), nullptr);

  // From the other object.
  EXPECT_EQ(CallFunction(code->Function(1), 4, 5), 18u);
  EXPECT_EQ(imported_by_another.calls, 1u);
  // From itself: the first call is ours and goes past the stub.
  EXPECT_EQ(CallFunction(code->Function(9), 10), 55u);
  EXPECT_EQ(recursive.calls, 10u);
  EXPECT_EQ(CallFunction(code->Redirected(9), 10), 55u);
  EXPECT_EQ(recursive.calls, 21u);
  // By address, in code and in constants.
  EXPECT_EQ((Call<const void*>(code->Function(7))), code->Redirected(9));
  EXPECT_EQ((Call<const void*, uint64_t>(code->Function(10), 1)),
            code->Redirected(9));
}

TEST(RedirectTest, SendsReferencesToABody) {
  ProbeContext context;
  const Redirect redirects[] = {
      {9, reinterpret_cast<uint64_t>(&context), /*body=*/true}};
  LoadOptions options;
  options.redirects = redirects;
  const Code code = LoadTwoObjects(options);
  context.function = code->Body(9);
  EXPECT_NE(code->Redirected(9), nullptr);
  EXPECT_NE(code->Redirected(9), code->Body(9));
  // Calls of f9 are as they were, its own too.
  EXPECT_EQ(CallFunction(code->Function(9), 10), 55u);
  EXPECT_EQ((Call<const void*>(code->Function(7))), code->Function(9));
  EXPECT_EQ(context.calls, 0u);
  EXPECT_EQ(CallFunction(code->Redirected(9), 0), 9u);
  EXPECT_EQ(context.calls, 1u);
}

TEST(RedirectTest, RefusesABodyThatIsNotThere) {
  const Redirect redirects[] = {{2, 0, /*body=*/true}};
  LoadOptions options;
  options.redirects = redirects;
  const std::string first = TestObject("first");
  const std::string second = TestObject("second");
  const absl::StatusOr<Code> code =
      LoadObjects({first, second}, ExpectedOfTwoObjects(), options);
  ASSERT_TRUE(absl::IsInvalidArgument(code.status())) << code.status();
  EXPECT_EQ(code.status().message(),
            "function 2 cannot be redirected: it has no body of its own");
}

TEST(RedirectTest, LeavesTheFunctionWhereItIs) {
  ProbeContext context;
  const Redirect redirects[] = {{9, reinterpret_cast<uint64_t>(&context)}};
  LoadOptions options;
  options.redirects = redirects;
  const Code code = LoadTwoObjects(options);
  context.function = code->Function(9);
  CallFunction(code->Function(9), 0);
  EXPECT_EQ(context.calls, 0u);
  const std::optional<CodePlace> place = code->Find(code->Function(9));
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->function, 9u);
  EXPECT_FALSE(code->Find(code->Redirected(9)).has_value());
  EXPECT_EQ(CallFunction(code->Body(9), 0), 9u);
}

TEST(RedirectTest, PassesAllBitsOfTheContext) {
  // p0 is `mov rax, r10; ret`.
  ElfWriter writer = SmallObject();
  writer.sections[0].content.replace(48, 4, "\x4c\x89\xd0\xc3");
  writer.symbols.push_back({"p0", STT_FUNC, STB_GLOBAL, kText, 48, 4});
  const Redirect redirects[] = {{0, 0xfedc'ba98'7654'3210}};
  LoadOptions options;
  options.redirects = redirects;
  const Code code = Load({writer.Write()}, ExpectedOfSmallObject(), options);
  EXPECT_EQ(CallFunction(code->Redirected(0), 0), 0xfedc'ba98'7654'3210);
  EXPECT_EQ(CallFunction(code->Function(0), 0), 5u);
}

// --- Limits
// -------------------------------------------------------------------

TEST(ObjectLoaderTest, LoadsUpToTheLimit) {
  const uint64_t bytes = LoadTwoObjects()->code_bytes();
  LoadOptions options;
  options.code_bytes_max = bytes;
  EXPECT_NE(LoadTwoObjects(options), nullptr);
  options.code_bytes_max = bytes - 1;
  const std::string first = TestObject("first");
  const std::string second = TestObject("second");
  const absl::StatusOr<Code> code =
      LoadObjects({first, second}, ExpectedOfTwoObjects(), options);
  ASSERT_TRUE(absl::IsResourceExhausted(code.status())) << code.status();
  EXPECT_EQ(code.status().message(),
            absl::StrCat("the module's code and constants are larger than ",
                         bytes - 1, " bytes (LoadOptions::code_bytes_max)"));
}

TEST(ObjectLoaderTest, CountsPaddingAgainstTheLimit) {
  // A kilobyte of file that asks for a page per section.
  ElfWriter writer = SmallObject();
  for (int i = 0; i < 100; ++i) {
    writer.sections.push_back({".text.x", SHT_PROGBITS,
                               SHF_ALLOC | SHF_EXECINSTR, "\xc3", kPageBytes});
  }
  const std::string object = writer.Write();
  LoadOptions options;
  options.code_bytes_max = 102 * kPageBytes;
  EXPECT_EQ(Load({object}, ExpectedOfSmallObject(), options)->code_bytes(),
            102 * kPageBytes);
  options.code_bytes_max -= 1;
  EXPECT_TRUE(absl::IsResourceExhausted(
      LoadObjects({object}, ExpectedOfSmallObject(), options).status()));
}

// --- Time
// ---------------------------------------------------------------------

double MicrosecondsOf(const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now() - start)
      .count();
}

std::string MedianAndLeast(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return absl::StrCat(std::lround(times[times.size() / 2]), " (",
                      std::lround(times.front()), ")");
}

// Prints how long it takes; the machine decides, so nothing is asserted of it.
TEST(ObjectLoaderTest, LoadsAMegabyteOfCode) {
  constexpr uint32_t kFunctions = 3000;
  const std::string object = SyntheticObject(kFunctions, 352);
  const std::vector<uint32_t> types(kFunctions, 0);
  ExpectedSymbols expected;
  expected.functions = kFunctions;
  expected.types = 1;
  expected.function_types = types;

  std::vector<double> loads;
  std::vector<double> mappings;
  std::vector<double> copies;
  std::string copy(object.size(), 'x');
  uint64_t bytes = 0;
  for (int round = 0; round < 50; ++round) {
    absl::StatusOr<Code> code;
    loads.push_back(
        MicrosecondsOf([&] { code = LoadObjects({object}, expected, {}); }));
    ASSERT_TRUE(code.ok()) << code.status();
    EXPECT_EQ((*code)->Find((*code)->Function(kFunctions - 1))->function,
              kFunctions - 1);
    bytes = (*code)->code_bytes();
    code = absl::CancelledError();  // unmapped, outside the measured time
    // What the system takes of it.
    absl::StatusOr<CodeMapping> mapping = absl::CancelledError();
    mappings.push_back(MicrosecondsOf([&] {
      mapping.emplace(*CodeMapping::Create(0, bytes));
      EXPECT_TRUE(mapping->Seal().ok());
    }));
    copies.push_back(MicrosecondsOf(
        [&] { std::memcpy(copy.data(), object.data(), bytes); }));
  }
  EXPECT_EQ(copy.front(), object.front());
  std::printf(
      "%llu bytes, medians (minima) in us: load %s, of which empty mapping %s; "
      "memcpy of as many bytes %s\n",
      static_cast<unsigned long long>(bytes), MedianAndLeast(loads).c_str(),
      MedianAndLeast(mappings).c_str(), MedianAndLeast(copies).c_str());
}

}  // namespace
}  // namespace callgate::native
