// From a module's DWARF, which source file, line and column its operators
// come from.
//
// The sections are a stranger's. Whatever is wrong with them loses lines and
// nothing else: nothing here fails, and work and memory are bounded by the
// module's size and the limits below.
//
// Pure; any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_SOURCE_LINES_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_SOURCE_LINES_H_

#include <cstdint>

#include "absl/types/span.h"
#include "runtime/native/compiled_module.pb.h"

namespace callgate::native {

// Of the sections that are read; with more there are no lines.
inline constexpr uint64_t kDebugBytesMax = uint64_t{256} << 20;
// Of all line tables; what comes behind them is not looked at. Each row takes
// one or more.
inline constexpr uint64_t kLineStepsMax = 16'000'000;
// Files beyond these bounds have no lines.
inline constexpr uint64_t kSourceFilesMax = 65'536;
inline constexpr uint64_t kSourcePathBytesMax = 1'024;
inline constexpr uint64_t kSourcePathBytesTotalMax = 4 << 20;
// Of the answer; places behind the last have no lines.
inline constexpr int kSourceEntriesMax = 2'000'000;
// Files that may be looked up, counted anew in each unit.
inline constexpr uint64_t kSourceFileLookupsMax = 250'000;

// Sets answer.source_lines for `offsets`, which are offsets in `module` in
// increasing order. Paths are as the compiler was told them; bytes in them that
// are not UTF-8, or control characters, become question marks.
void AddSourceLines(absl::Span<const uint8_t> module,
                    absl::Span<const uint64_t> offsets, CompiledModule& answer);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_SOURCE_LINES_H_
