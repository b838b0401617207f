// Links a module's object files with each other and makes them executable.
//
// The objects are what the compiler's process answered or the code cache kept:
// x86-64 ELF relocatable files that LLVM made from position-independent code
// with hidden symbols, one per partition of a Wasm module. They are hostile
// bytes. Whatever they say is checked before it is used, what our compiler
// never writes is refused by name (abi.h lists the symbols; the sections are
// .text and .rodata), and nothing is written outside the new mapping. What
// cannot be checked is the machine code itself: whoever calls a loaded function
// trusts the compiler, and the seal on the cache.
//
// LoadObjects may be called from any thread; it keeps nothing, and neither the
// objects nor the spans need to outlive it. LoadedCode never changes after it
// was made: use it from any thread, and keep it for as long as code of it may
// run or an address in it is kept. Memory is never writable and executable at
// once, and never writable again once it is executable.
//
// Errors: InvalidArgument when the objects or the request are refused, naming
// the object by its number and the thing by its name, escaped;
// ResourceExhausted when they are too large; Unavailable when the system gives
// no memory.

#ifndef CALLGATE_RUNTIME_NATIVE_LOADER_OBJECT_LOADER_H_
#define CALLGATE_RUNTIME_NATIVE_LOADER_OBJECT_LOADER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/native/loader/code_mapping.h"

namespace callgate::native {

// What the module's scan says that the objects must define.
struct ExpectedSymbols {
  uint32_t imported_functions = 0;  // the first of `functions`: not defined
  uint32_t functions = 0;
  uint32_t types = 0;
  // The type of every function, imported ones too.
  absl::Span<const uint32_t> function_types;
};

// Sends all calls of a function, its own too, and whatever takes its address to
// the probe wrapper of its type instead: to a stub that puts `probe_context`
// into r10 and jumps to p<type>. What names f<function> is redirected, or what
// names b<function> if `body`; a jump within the function is not. The wrapper
// finds the true function by the context, which the maker fills in with
// LoadedCode::Function() or Body().
struct Redirect {
  uint32_t function = 0;
  uint64_t probe_context = 0;
  bool body = false;
};

struct LoadOptions {
  // Bounds LoadedCode::code_bytes(). More than kCodeBytesMost is taken as that.
  uint64_t code_bytes_max = uint64_t{256} << 20;
  // By function, increasing. The functions are the module's own, and their
  // bodies, where asked for, and the wrappers of their types are defined.
  absl::Span<const Redirect> redirects;
};

// Within reach of a 32-bit displacement, with room to spare.
inline constexpr uint64_t kCodeBytesMost = uint64_t{1} << 30;

// A place in the code of a function.
struct CodePlace {
  uint32_t function;
  uint64_t offset_in_symbol;
  bool body;  // of b<function> instead of f<function>
};

class LoadedCode {
 public:
  LoadedCode(const LoadedCode&) = delete;
  LoadedCode& operator=(const LoadedCode&) = delete;

  // Indices are below the expected counts; anything else is a bug.

  // f<index>, redirected or not; null for an imported function.
  const void* Function(uint32_t index) const;
  // b<index>; null when there is none.
  const void* Body(uint32_t index) const;
  // The stub that stands in for f<index> or b<index>; null when neither is
  // redirected.
  const void* Redirected(uint32_t index) const;
  const void* EntryTrampoline(uint32_t type) const;  // e<type>
  const void* HostThunk(uint32_t type) const;        // t<type>

  // Whose code is at `pc`; nothing for trampolines, thunks, wrappers, stubs,
  // constants, and addresses elsewhere. A return address may be the end of its
  // function, when the call does not return: ask for the byte before it.
  std::optional<CodePlace> Find(const void* pc) const;

  // The executable part. Constants lie before it.
  uintptr_t begin() const;
  uintptr_t end() const;
  // Of code and constants, in whole pages.
  uint64_t code_bytes() const;

 private:
  friend class ObjectLinker;

  // Places are offsets from the mapping's first byte.
  static constexpr uint32_t kNowhere = 0xffffffff;

  struct FunctionRange {
    uint32_t begin;
    uint32_t size;
    uint32_t function;
    bool body;
  };

  explicit LoadedCode(CodeMapping mapping) : mapping_(std::move(mapping)) {}
  const void* At(const std::vector<uint32_t>& places, uint32_t index) const;

  CodeMapping mapping_;
  std::vector<uint32_t> functions_;
  std::vector<uint32_t> bodies_;      // empty when there is none
  std::vector<uint32_t> redirected_;  // empty when there is none
  std::vector<uint32_t> entries_;
  std::vector<uint32_t> thunks_;
  std::vector<FunctionRange> ranges_;  // by begin; they do not overlap
};

absl::StatusOr<std::unique_ptr<const LoadedCode>> LoadObjects(
    absl::Span<const absl::string_view> objects,
    const ExpectedSymbols& expected, const LoadOptions& options);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_LOADER_OBJECT_LOADER_H_
