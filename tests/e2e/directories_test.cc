// What `--dir` may name: directories under an --allow-dir, as they resolve on
// the daemon's machine, and nothing that a name merely looks like.

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DirectoriesTest : public WithDaemon {
 protected:
  static void SetUpTestSuite() {
    WithDaemon::SetUpTestSuite();
    scratch().Write("allowed/in/file", "inside\n");
    scratch().Write("allowed-not/file", "beside\n");
    scratch().Write("outside/secret", "secret\n");
    ASSERT_EQ(symlink(scratch().Path("outside").c_str(),
                      scratch().Path("allowed/way-out").c_str()),
              0);
    ASSERT_EQ(symlink(scratch().Path("allowed/in").c_str(),
                      scratch().Path("way-in").c_str()),
              0);
    ASSERT_EQ(symlink("../../outside/secret",
                      scratch().Path("allowed/in/link").c_str()),
              0);
    ASSERT_EQ(symlink("/etc", scratch().Path("allowed/in/etc").c_str()), 0);
  }

  static Finished RunIn(const std::string& dir, const std::string& module) {
    return Client({"run", ModuleFile(module), "--policy", "open", "--dir",
                   absl::StrCat(dir, "::/")});
  }
};

TEST_F(DirectoriesTest, AcceptsWhatLiesUnderAnAllowedOne) {
  const std::string reads = ExitsWithErrnoOfOpening("file");
  EXPECT_THAT(RunIn(scratch().Path("allowed/in"), reads), EndsWithCode(0));
  EXPECT_THAT(RunIn(scratch().Path("allowed/in/../in"), reads),
              EndsWithCode(0));
  EXPECT_THAT(
      RunIn(scratch().Path("allowed"), ExitsWithErrnoOfOpening("in/file")),
      EndsWithCode(0));
}

TEST_F(DirectoriesTest, RefusesEverythingElse) {
  const std::string module = ExitsWith(0);
  for (const std::string& dir : std::vector<std::string>{
           scratch().Path("outside"),
           scratch().path(),
           "/",
           // A name that begins with an allowed one.
           scratch().Path("allowed-not"),
           scratch().Path("allowed/../outside"),
           scratch().Path("allowed/way-out"),
           // The lookup begins at an allowed directory, so a link into one from
           // elsewhere is nothing that it finds.
           scratch().Path("way-in"),
           // No directory.
           scratch().Path("allowed/in/file"),
           scratch().Path("allowed/no-such"),
           "allowed",
           "",
       }) {
    const Finished run = RunIn(dir, module);
    EXPECT_THAT(run, Not(EndsWithCode(0))) << dir;
    EXPECT_THAT(run, Not(EndsWithCode(134))) << dir;
  }
  EXPECT_THAT(RunIn(scratch().Path("outside"), module).err,
              HasSubstr("--allow-dir"));
}

// The guest itself: nothing above its directory, by whatever name.
TEST_F(DirectoriesTest, AGuestStaysInside) {
  const std::string inside = scratch().Path("allowed/in");
  for (const char* path :
       {"../../outside/secret", "..", "/etc/passwd", "link", "etc/passwd",
        "etc", "./../in/../../outside/secret", "link/", "file/../../../outside",
        "/../../../../etc/passwd", ""}) {
    const Finished run = RunIn(inside, ExitsWithErrnoOfOpening(path));
    EXPECT_GT(run.exit_code, 0) << path << ": " << run.err;
    EXPECT_LT(run.exit_code, 77) << path << ": " << run.err;
  }
  const Finished with_nul =
      RunIn(inside, ExitsWithErrnoOfOpening(absl::string_view("file\0x", 6)));
  EXPECT_GT(with_nul.exit_code, 0);
  EXPECT_LT(with_nul.exit_code, 77);
}

TEST_F(DirectoriesTest, WithoutAllowDirNothingIsGiven) {
  const ScratchDir own;
  own.Write("policies/open.yaml", kOpenPolicy);
  DaemonSetup setup;
  setup.data = own.Path("data");
  setup.policy_dir = own.Path("policies");
  const auto strict = DaemonUnderTest::Start(setup);
  ASSERT_TRUE(strict.ok()) << strict.status();
  const Finished run = (*strict)->Client(
      {"run", ModuleFile(ExitsWith(0)), "--policy", "open", "--dir",
       absl::StrCat(scratch().Path("allowed/in"), "::/")});
  EXPECT_THAT(run, Not(EndsWithCode(0)));
  EXPECT_THAT(run.err, HasSubstr("--allow-dir"));
}

TEST_F(DirectoriesTest, WhatAGuestWritesIsThere) {
  scratch().MakeDir("allowed/out");
  const std::string writes = Assemble(R"((module
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
      (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "made-by-guest")
    (func (export "_start")
      ;; create, for writing
      (if (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 13)
                      (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0)
                      (i32.const 8))
        (then (call $exit (i32.const 1))))
      (i32.store (i32.const 0) (i32.const 16))
      (i32.store (i32.const 4) (i32.const 13))
      (call $exit (call $write (i32.load (i32.const 8)) (i32.const 0)
                               (i32.const 1) (i32.const 12)))))
)");
  ASSERT_THAT(RunIn(scratch().Path("allowed/out"), writes), EndsWithCode(0));
  const auto made = ReadWholeFile(scratch().Path("allowed/out/made-by-guest"));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(*made, "made-by-guest");
}

// Exits with 0 if a file can neither be made 8 MiB large nor be written to
// there, with FBIG both times.
std::string MakesAFileTooLarge() {
  return Assemble(R"((module
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size"
      (func $set_size (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite"
      (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "large")
    (func (export "_start")
      ;; fd_seek, fd_write, fd_filestat_set_size
      (if (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 5)
                      (i32.const 1) (i64.const 0x400044) (i64.const 0)
                      (i32.const 0) (i32.const 8))
        (then (call $exit (i32.const 1))))
      (if (i32.ne (i32.const 22)
                  (call $set_size (i32.load (i32.const 8))
                                  (i64.const 0x800000)))
        (then (call $exit (i32.const 2))))
      (i32.store (i32.const 0) (i32.const 16))
      (i32.store (i32.const 4) (i32.const 5))
      (if (i32.ne (i32.const 22)
                  (call $pwrite (i32.load (i32.const 8)) (i32.const 0)
                                (i32.const 1) (i64.const 0x800000)
                                (i32.const 12)))
        (then (call $exit (i32.const 3))))
      (call $exit (i32.const 0))))
)");
}

TEST_F(DirectoriesTest, AFileThatIsTooLargeForTheDaemonIsTheGuestsError) {
  const ScratchDir own;
  own.Write("policies/open.yaml", kOpenPolicy);
  DaemonSetup setup;
  setup.data = own.Path("data");
  setup.policy_dir = own.Path("policies");
  setup.allow_dirs = {own.MakeDir("allowed")};
  const auto limited = DaemonUnderTest::Start(setup);
  ASSERT_TRUE(limited.ok()) << limited.status();
  const rlimit four_mib = {4 << 20, 4 << 20};
  ASSERT_EQ(
      prlimit((*limited)->process().pid(), RLIMIT_FSIZE, &four_mib, nullptr),
      0);
  EXPECT_THAT((*limited)->Client(
                  {"run", ModuleFile(MakesAFileTooLarge()), "--policy", "open",
                   "--dir", absl::StrCat(setup.allow_dirs.front(), "::/")}),
              EndsWithCode(0));
  EXPECT_TRUE((*limited)->Healthy());
}

TEST_F(DirectoriesTest, NorDoesItEndARunWithoutADaemon) {
  // In blocks of 512 bytes.
  const Command command = {
      {"/bin/sh", "-c", R"(ulimit -f 8192; exec "$0" "$@")", ClientBinary(),
       "run", "--local", "--dir",
       absl::StrCat(scratch().MakeDir("too-large"), "::/"),
       ModuleFile(MakesAFileTooLarge())},
      {},
      "",
      false};
  EXPECT_THAT(RunToEnd(command), EndsWithCode(0));
}

}  // namespace
}  // namespace callgate::e2e
