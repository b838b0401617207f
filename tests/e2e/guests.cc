#include "tests/e2e/guests.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "tests/support/wat.h"

namespace callgate::e2e {
namespace {

// Any bytes as the inside of a string of the text format.
std::string Escaped(absl::string_view bytes) {
  std::string result;
  for (const char c : bytes) {
    absl::StrAppend(&result, "\\",
                    absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
  }
  return result;
}

}  // namespace

std::string Assemble(absl::string_view wat) {
  const auto bytes = AssembleWat(wat);
  if (!bytes.ok()) {
    fprintf(stderr, "%s\n", bytes.status().ToString().c_str());
    abort();
  }
  return std::string(bytes->begin(), bytes->end());
}

std::string Says(absl::string_view text) {
  return Assemble(absl::StrCat(R"((module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) ")",
                               Escaped(text), R"(")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const )",
                               text.size(), R"())
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1)
                          (i32.const 8)))))
)"));
}

std::string ExitsWith(int code) {
  return Assemble(absl::StrCat(R"((module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const )",
                               code, ")))) "));
}

std::string ExitsWithErrnoOfRandomGet() {
  return Assemble(R"((module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $exit (call $random_get (i32.const 0) (i32.const 8)))))
)");
}

std::string CopiesStdin() {
  return Assemble(R"((module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $next
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1)
                           (i32.const 8)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (if (i32.load (i32.const 8))
        (then
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1)
                                (i32.const 12)))
          (br $next))))))
)");
}

std::string Spins() {
  return Assemble(R"((module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "spinning\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 9))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1)
                          (i32.const 8)))
    (loop $forever (br $forever))))
)");
}

std::string AsksForRandomUntilDenied() {
  return Assemble(R"((module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get"
    (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "begun\n")
  (func (export "_start") (local $errno i32)
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1)
                          (i32.const 8)))
    (loop $more
      (br_if $more (i32.eqz (local.tee $errno
        (call $random_get (i32.const 64) (i32.const 8))))))
    (call $exit (local.get $errno))))
)");
}

std::string ExitsWithErrnoOfOpening(absl::string_view path) {
  return Assemble(absl::StrCat(R"((module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) ")",
                               Escaped(path), R"(")
  (func (export "_start")
    (call $exit
      (call $path_open (i32.const 3) (i32.const 1) (i32.const 16)
        (i32.const )",
                               path.size(), R"() (i32.const 0)
        (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))))
)"));
}

std::string SendsOnce() {
  return Assemble(R"((module
  (import "net" "send" (func $send (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (call $send (i32.const 7)))))
)");
}

std::string Library() {
  return Assemble(R"((module
  (memory (export "memory") 1)
  (data (i32.const 64) "callgate")
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "divide") (param i32 i32) (result i32)
    (i32.div_s (local.get 0) (local.get 1)))
  (func (export "peek") (param i32) (result i32)
    (i32.load8_u (local.get 0)))
  (func (export "spin") (loop $forever (br $forever)))
  (func (export "echo64") (param i64) (result i64) (local.get 0))
  (func (export "echof") (param f64) (result f64) (local.get 0)))
)");
}

}  // namespace callgate::e2e
