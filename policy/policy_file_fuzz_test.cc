// Drives the fuzz entry over mutated policy files, a fixed number of times with
// a fixed seed: what libFuzzer does without end where there is one.

#include "policy/policy_file_fuzz.h"

#include <algorithm>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace {

constexpr int kMutationsPerSeed = 1500;

void Feed(const std::string& input) {
  // SAFETY: characters may be looked at as bytes.
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

// Words that a random byte would not hit upon.
const char* const kWords[] = {
    "imports",
    "budgets",
    "action",
    "allow",
    "deny",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "---\n",
    "...\n",
    "? ",
    "|\n",
    ">-\n",
    "%YAML 1.2\n",
    "\xff",
    "\xef\xbb\xbf",
    "\n",
    "\t",
    "\"",
    "'",
    "#",
    "18446744073709551616",
    "-1",
    "1e999",
    "0s",
    "99999h",
    "~",
    "null",
    "audit",
    "include",
    "args",
    "when",
    "\\u{",
    "a.b",
    "\"a\".\"b\"",
};

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  std::string Mutate(std::string text, const std::string& other) {
    const size_t times = 1 + Below(4);
    for (size_t i = 0; i < times; ++i) Once(&text, other);
    return text;
  }

 private:
  size_t Below(size_t n) { return n == 0 ? 0 : random_() % n; }

  void Once(std::string* text, const std::string& other) {
    const size_t at = Below(text->size() + 1);
    switch (Below(6)) {
      case 0:
        if (at < text->size()) (*text)[at] = static_cast<char>(Below(256));
        return;
      case 1:
        text->insert(at, kWords[Below(std::size(kWords))]);
        return;
      case 2:
        text->erase(at, 1 + Below(20));
        return;
      case 3: {
        // A piece of itself again, as lines often are.
        const size_t from = Below(text->size() + 1);
        text->insert(at, text->substr(from, 1 + Below(200)));
        return;
      }
      case 4: {
        const size_t from = Below(other.size() + 1);
        text->insert(at, other.substr(from, 1 + Below(200)));
        return;
      }
      default:
        text->resize(at);
        return;
    }
  }

  std::mt19937 random_;
};

std::string Read(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

std::vector<std::string> Seeds() {
  return {
      std::string(1, '\0') + Read("policy/testdata/whole_format.yaml"),
      std::string(1, '\0') + Read("deploy/policies/connector.yaml"),
      std::string(1, '\0') +
          "api_version: callgate.policy/v1\nkind: Policy\n"
          "metadata: {name: a}\n"
          "imports: [{import: a.b, action: allow}]\n",
      std::string(1, '\1') +
          "api_version: 'callgate.policy/v1' kind: 'Policy'\n"
          "metadata { name: 'a' labels { key: 'b' value: 'c' } }\n"
          "budgets { fuel_per_call: 1 wall_per_call { seconds: 2 } }\n"
          "imports { import: 'a.b' action: ACTION_DENY guest_errno: 2 }\n",
  };
}

TEST(PolicyFileFuzz, SeedsPass) {
  for (const std::string& seed : Seeds()) Feed(seed);
}

TEST(PolicyFileFuzz, MutationsPass) {
  const std::vector<std::string> seeds = Seeds();
  Mutator mutator(20240229);
  for (size_t s = 0; s < seeds.size(); ++s) {
    for (int i = 0; i < kMutationsPerSeed; ++i) {
      Feed(mutator.Mutate(seeds[s], seeds[(s + 1) % seeds.size()]));
    }
  }
}

TEST(PolicyFileFuzz, RandomBytesPass) {
  std::mt19937 random(20240301);
  for (int i = 0; i < 2000; ++i) {
    std::string input(random() % 300, '\0');
    for (char& c : input) c = static_cast<char>(random() % 256);
    Feed(input);
  }
}

}  // namespace
