// From a place in a module to the line of its source, where the compiler found
// one.
//
// What the compiler answered may be hostile and is checked here. Paths are a
// stranger's: UTF-8 of up to 1,024 bytes, to be escaped before they reach a
// terminal. Immutable; any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_SOURCE_SOURCE_MAP_H_
#define CALLGATE_RUNTIME_NATIVE_SOURCE_SOURCE_MAP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/native/compiled_module.pb.h"

namespace callgate::native {

struct SourcePlace {
  absl::string_view file;  // the SourceMap's
  uint32_t line = 0;       // from 1
  uint32_t column = 0;     // 0: not known
};

class SourceMap {
 public:
  SourceMap() = default;

  // Module offsets are below `module_bytes`. InvalidArgument says what is
  // wrong; a compiler that is not broken gives no cause.
  static absl::StatusOr<SourceMap> Make(const SourceLines& lines,
                                        uint64_t module_bytes);

  std::optional<SourcePlace> Find(uint64_t module_offset) const;

  bool empty() const { return entries_.empty(); }
  // There were more than the compiler's bounds allow.
  bool is_cut() const { return is_cut_; }
  // Memory that it takes.
  uint64_t bytes() const;

 private:
  struct Entry {
    uint32_t begin = 0;
    uint32_t file = 0;  // index plus one, or 0
    uint32_t line = 0;
    uint32_t column = 0;
  };

  std::vector<std::string> files_;
  std::vector<Entry> entries_;  // by `begin`
  bool is_cut_ = false;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_SOURCE_SOURCE_MAP_H_
