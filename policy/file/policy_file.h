// Reads policy files: text in, a checked message and the place of everything in
// it, or every problem that was found.
//
// The text is not trusted. Its bounds hold while it is being read, before
// anything is built from it. These functions know the format alone; what the
// fields mean together is the compiler's business (policy_compiler.h).
//
// All functions here may be called from any thread.

#ifndef CALLGATE_POLICY_FILE_POLICY_FILE_H_
#define CALLGATE_POLICY_FILE_POLICY_FILE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "policy/file/problem.h"
#include "proto/callgate/v1/policy.pb.h"

namespace callgate::policy {

// What a policy file may be at most.
inline constexpr size_t kPolicyFileBytesMax = 1 << 20;
inline constexpr size_t kPolicyFileDepthMax = 32;
inline constexpr size_t kPolicyFileNodesMax = 100'000;
// Bounds what the YAML scanner must look ahead.
inline constexpr size_t kPolicyFileLineBytesMax = 1 << 16;
// After this many problems a loader or compiler stops looking.
inline constexpr size_t kProblemsMax = 100;

// A policy file that has the right form.
struct LoadedPolicyFile {
  v1::PolicyFile proto;
  // As given to the loader; for problems only, never opened.
  std::string filename;
  // Where each field stands that the file has: "budgets.fuel_per_call",
  // "imports[3]", "imports[3].action". Empty for LoadPolicyMessage.
  absl::flat_hash_map<std::string, SourcePosition> positions;

  // The place of `path`, else of the nearest part of the file that encloses it.
  SourcePosition PositionOf(absl::string_view path) const;
};

struct LoadResult {
  // Present exactly when there are no problems.
  std::optional<LoadedPolicyFile> file;
  std::vector<Problem> problems;

  bool ok() const { return file.has_value(); }
};

// One YAML document, UTF-8, without aliases, anchors, tags, merge keys and
// repeated keys.
LoadResult LoadPolicyYaml(absl::string_view text, absl::string_view filename);

// Protobuf's text format.
LoadResult LoadPolicyTextproto(absl::string_view text,
                               absl::string_view filename);

// By the filename: ".textproto" and ".txtpb" are protobuf text, all else YAML.
LoadResult LoadPolicy(absl::string_view text, absl::string_view filename);

// A message that came from elsewhere, held to the same bounds.
LoadResult LoadPolicyMessage(const v1::PolicyFile& message,
                             absl::string_view filename);

// Deterministic bytes of a message: equal for equal policies, whatever the
// spelling of their files.
std::string CanonicalBytes(const v1::PolicyFile& message);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_FILE_POLICY_FILE_H_
