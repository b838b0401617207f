#include "policy/specialisation_cache.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"

namespace callgate::policy {
namespace {

const FuncType kOne = {{ValType::kI32}, {ValType::kI32}};
const FuncType kTwo = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};

LinkedImport Import(absl::string_view module, absl::string_view name,
                    const FuncType& type = kOne,
                    const HostFunctionSpec* spec = nullptr) {
  return {module, name, &type, spec};
}

std::shared_ptr<Specialisation> Made(size_t message_bytes = 0) {
  auto made = std::make_shared<Specialisation>();
  if (message_bytes > 0) {
    made->problems.push_back(
        Problem{"p.yaml", 1, 1, std::string(message_bytes, 'x')});
  }
  return made;
}

TEST(SpecialisationCacheTest, TellsImportsApartByAllThatMatters) {
  HostFunctionSpec plain;
  HostFunctionSpec with_errno;
  with_errno.errno_result = true;
  HostFunctionSpec described;
  described.args = {{"len", 0, ArgKind::kU32}};
  std::vector<HostFunctionSpec> others(7, described);
  others[0].args[0].name = "size";
  others[1].args[0].index = 1;
  others[2].args[0].kind = ArgKind::kS32;
  others[3].args[0].len_index = 0;
  others[4].args[0].dir_index = 0;
  others[5].args[0].max_bytes = 5;
  others[6].args[0].redact = true;
  const FuncType none = {{}, {ValType::kI32}};
  const FuncType no_result = {{ValType::kI32}, {}};
  std::vector<LinkedImport> imports = {
      Import("a", "bc"),
      Import("ab", "c"),
      Import("a", "bd"),
      Import("a", "bc", kTwo),
      Import("a", "bc", none),
      Import("a", "bc", no_result),
      Import("a", "bc", kOne, &plain),
      Import("a", "bc", kOne, &with_errno),
      Import("a", "bc", kOne, &described),
  };
  for (const HostFunctionSpec& spec : others) {
    imports.push_back(Import("a", "bc", kOne, &spec));
  }
  for (size_t i = 0; i < imports.size(); ++i) {
    for (size_t j = 0; j < imports.size(); ++j) {
      EXPECT_EQ(SpecialisationCache::KeyOf(imports[i]) ==
                    SpecialisationCache::KeyOf(imports[j]),
                i == j)
          << i << " " << j;
    }
  }
  // Another object that says the same is the same.
  const HostFunctionSpec copy = described;
  EXPECT_EQ(SpecialisationCache::KeyOf(Import("a", "bc", kOne, &copy)),
            SpecialisationCache::KeyOf(Import("a", "bc", kOne, &described)));
}

TEST(SpecialisationCacheTest, ForgetsWhatWasUsedLongestAgo) {
  SpecialisationCache cache(/*entries_max=*/3, /*bytes_max=*/1 << 20);
  const auto a = cache.Add("a", Made());
  cache.Add("b", Made());
  cache.Add("c", Made());
  EXPECT_EQ(cache.Find("a"), a);
  cache.Add("d", Made());
  EXPECT_EQ(cache.entries(), 3u);
  EXPECT_EQ(cache.Find("b"), nullptr);
  EXPECT_EQ(cache.Find("a"), a);
  EXPECT_NE(cache.Find("c"), nullptr);
  EXPECT_NE(cache.Find("d"), nullptr);
  // The first stays.
  EXPECT_EQ(cache.Add("a", Made()), a);
}

TEST(SpecialisationCacheTest, HoldsItsBytes) {
  constexpr size_t kMax = 64 << 10;
  SpecialisationCache cache(/*entries_max=*/1'000, kMax);
  for (int i = 0; i < 100; ++i) {
    cache.Add(absl::StrCat("k", i), Made(2'000));
    EXPECT_LE(cache.bytes(), kMax);
  }
  EXPECT_GT(cache.entries(), 10u);
  EXPECT_LT(cache.entries(), 33u);
  const size_t before = cache.entries();
  // A sixteenth of them at most.
  const auto large = cache.Add("large", Made(kMax / 16));
  EXPECT_NE(large, nullptr);
  EXPECT_EQ(cache.Find("large"), nullptr);
  EXPECT_EQ(cache.entries(), before);
  // The key counts, too.
  cache.Add(std::string(kMax / 16, 'k'), Made());
  EXPECT_EQ(cache.entries(), before);
  // What goes takes its bytes along.
  for (int i = 0; i < 100; ++i) cache.Add(absl::StrCat("s", i), Made());
  EXPECT_LE(cache.bytes(), kMax);
}

std::shared_ptr<const Policy> Compile(absl::string_view more) {
  CompileResult compiled = CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: { name: p }\n",
                   more),
      "p.yaml");
  EXPECT_TRUE(compiled.ok()) << compiled.problems[0].ToString();
  return compiled.policy;
}

TEST(SpecialisationCacheTest, IsSharedByAllWhoLinkTheSame) {
  const auto policy = Compile(
      "imports: [ { import: env.a, action: allow, args: [ { name: x, index: 0, "
      "type: u32 } ] }, { import: env.b, action: allow } ]\nrules:\n  - { id: "
      "r, when: 'call.import == \"env.a\" && args.x > 5', action: trap }\n  "
      "- { id: always, when: 'call.import == \"env.b\"', action: log }\n");
  const std::string module = "env";
  const FuncType same_type = kOne;
  const auto a = policy->SpecialisedFor(Import("env", "a"));
  EXPECT_EQ(policy->SpecialisedFor(Import(module, "a", same_type)), a);
  EXPECT_NE(policy->SpecialisedFor(Import("env", "a", kTwo)), a);
  EXPECT_EQ(a->import.restrictions.size(), 1u);
  EXPECT_TRUE(a->import.always.empty());
  const auto b = policy->SpecialisedFor(Import("env", "b"));
  EXPECT_NE(a, b);
  EXPECT_TRUE(b->import.restrictions.empty());
  EXPECT_EQ(b->import.always.size(), 1u);
  // Another policy's own.
  const auto other = Compile("imports: []\n");
  EXPECT_NE(other->SpecialisedFor(Import("env", "a")), a);
}

TEST(SpecialisationCacheTest, KeepsWhatDoesNotFit) {
  const auto policy =
      Compile("rules: [ { id: r, when: 'args.nothing > 5', action: trap } ]\n");
  const auto made = policy->SpecialisedFor(Import("env", "a"));
  ASSERT_EQ(made->problems.size(), 1u);
  const LinkedImport import = Import("env", "a");
  for (int i = 0; i < 2; ++i) {
    const LinkFindings findings =
        policy->CheckAgainst(absl::MakeConstSpan(&import, 1));
    ASSERT_EQ(findings.problems.size(), 1u);
    EXPECT_EQ(findings.problems[0].message, made->problems[0].message);
  }
}

// For ThreadSanitizer, too.
TEST(SpecialisationCacheTest, ServesManyThreads) {
  const auto policy = Compile(
      "rules: [ { id: r, when: 'call.name == \"f7\" && call.depth > 2', "
      "action: log } ]\n");
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&policy, &wrong, t] {
      for (int i = 0; i < 700; ++i) {
        const std::string name = absl::StrCat("f", (i * (t + 1)) % 600);
        const auto made = policy->SpecialisedFor(Import("env", name));
        if (made->import.names.name != name ||
            made->import.restrictions.size() != (name == "f7" ? 1u : 0u)) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace callgate::policy
