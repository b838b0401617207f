#include "policy/compiler/include_graph.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "openssl/evp.h"
#include "policy/builtin/builtin_policies.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

const LoadedPolicyFile* Resolve(absl::string_view name,
                                const IncludeResolver& resolver) {
  if (const LoadedPolicyFile* builtin = FindBuiltinPolicy(name)) {
    return builtin;
  }
  return resolver ? resolver(name) : nullptr;
}

}  // namespace

IncludeGraph CollectFiles(const IncludeResolver& resolver, Compilation& c) {
  IncludeGraph graph;

  // The includes that lead from the root to where we are.
  struct Step {
    const LoadedPolicyFile* file;
    std::string name;
    int next = 0;
  };
  std::vector<Step> path = {{&c.root(), c.root().proto.metadata().name()}};
  absl::flat_hash_set<std::string> seen = {c.root().proto.metadata().name()};
  graph.parents_first.push_back(&c.root());
  while (!path.empty()) {
    const LoadedPolicyFile& file = *path.back().file;
    if (path.back().next == file.proto.include_size()) {
      graph.included_first.push_back(&file);
      path.pop_back();
      continue;
    }
    const int index = path.back().next++;
    const std::string& name = file.proto.include(index);
    const std::string where = absl::StrCat("include[", index, "]");
    if (seen.contains(name)) {
      const auto back =
          std::find_if(path.begin(), path.end(),
                       [&](const Step& step) { return step.name == name; });
      if (back != path.end()) {
        std::vector<std::string> names;
        for (auto step = back; step != path.end(); ++step) {
          names.push_back(step->name);
        }
        names.push_back(name);
        c.Report(file, where,
                 absl::StrCat("includes form a circle: ",
                              EscapeText(absl::StrJoin(names, " → "))));
      }
      continue;
    }
    if (graph.parents_first.size() > kIncludesMax) {
      c.Report(file, where,
               absl::StrCat("more than ", kIncludesMax,
                            " policies are included, all levels together"));
      return graph;
    }
    const LoadedPolicyFile* included = Resolve(name, resolver);
    if (included == nullptr) {
      std::vector<std::string> shipped;
      for (const BuiltinPolicy& policy : BuiltinPolicies()) {
        shipped.emplace_back(policy.name);
      }
      c.Report(file, where,
               absl::StrCat("there is no policy ", Quote(name),
                            "; include one of the catalogue by its "
                            "metadata.name, or one that ships with callgate: ",
                            absl::StrJoin(shipped, ", ")));
      continue;
    }
    seen.insert(name);
    graph.parents_first.push_back(included);
    path.push_back({included, name});
  }
  return graph;
}

std::string VersionOf(const IncludeGraph& graph) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  CALLGATE_CHECK(context != nullptr &&
                     EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1,
                 "libcrypto has SHA-256");
  for (const LoadedPolicyFile* file : graph.parents_first) {
    const std::string bytes = CanonicalBytes(file->proto);
    unsigned char length[8];
    for (size_t i = 0; i < sizeof(length); ++i) {
      length[i] = static_cast<unsigned char>(
          static_cast<uint64_t>(bytes.size()) >> (8 * i));
    }
    EVP_DigestUpdate(context, length, sizeof(length));
    EVP_DigestUpdate(context, bytes.data(), bytes.size());
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(context, digest, &size);
  EVP_MD_CTX_free(context);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    absl::StrAppend(&hex, absl::Hex(digest[i], absl::kZeroPad2));
  }
  return hex;
}

}  // namespace callgate::policy
