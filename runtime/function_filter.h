// Which functions of a module somebody means: by index, by name, or by a
// pattern that names match.
//
// In a pattern `*` stands for any bytes, none too, `?` for one byte, and `\`
// takes what follows as it is; everything else stands for itself, and the whole
// name has to match. Names are untrusted bytes, of which the first
// kNameBytesMax count. Matching a name takes at most the product of both
// lengths and never goes back further than to the last `*`.
//
// A value; any thread while nobody changes it. Errors: InvalidArgument for an
// entry that cannot mean anything, ResourceExhausted over the bounds; the
// filter is then as it was.

#ifndef CALLGATE_RUNTIME_FUNCTION_FILTER_H_
#define CALLGATE_RUNTIME_FUNCTION_FILTER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace callgate {

class FunctionFilter {
 public:
  static constexpr size_t kEntriesMax = 64;
  static constexpr size_t kPatternBytesMax = 128;
  static constexpr size_t kNameBytesMax = 256;

  // The function at this index of the module's function index space.
  absl::Status AddIndex(uint32_t index);
  // Functions of exactly this name.
  absl::Status AddName(absl::string_view name);
  absl::Status AddPattern(absl::string_view pattern);
  // As people write it: "#12" is an index, all else a pattern.
  absl::Status Add(absl::string_view text);

  // Whether it means no function at all.
  bool empty() const { return entries() == 0; }
  bool HasIndex(uint32_t index) const;
  bool HasName(absl::string_view name) const;

 private:
  size_t entries() const {
    return indexes_.size() + names_.size() + patterns_.size();
  }
  absl::Status CheckRoom() const;

  std::vector<uint32_t> indexes_;
  std::vector<std::string> names_;
  std::vector<std::string> patterns_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_FUNCTION_FILTER_H_
