// Functions on paths, as a guest sees them and as the host's directory shows
// them afterwards.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/wasi/abi.h"
#include "runtime/wasi/fake_guest.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint32_t N(Errno number) { return static_cast<uint32_t>(number); }
constexpr uint32_t kOk = N(Errno::kSuccess);
constexpr uint32_t kOut = N(Errno::kNotCapable);
constexpr uint32_t kFollow = lookupflags::kSymlinkFollow;

// root/            the guest's "/"
//   file           "contents"
//   dir/ full/one
//   to_file -> file   to_dir -> dir   to_secret -> ../outside/secret
//   to_outside -> ../outside          dangling -> nothing
// outside/secret
class World {
 public:
  explicit World(bool read_only = false) {
    dir.MakeDir("outside");
    dir.MakeFile("outside/secret", "secret");
    dir.MakeDir("root");
    dir.MakeFile("root/file", "contents");
    dir.MakeDir("root/dir");
    dir.MakeDir("root/full");
    dir.MakeFile("root/full/one", "1");
    dir.MakeLink("root/to_file", "file");
    dir.MakeLink("root/to_dir", "dir");
    dir.MakeLink("root/to_secret", "../outside/secret");
    dir.MakeLink("root/to_outside", "../outside");
    dir.MakeLink("root/dangling", "nothing");
    Options options;
    options.preopens = {{dir.At("root"), "/", read_only}};
    guest = std::make_unique<FakeGuest>(std::move(options));
  }

  ScratchDir dir;
  std::unique_ptr<FakeGuest> guest;
};

struct OpenRow {
  std::string name;
  std::string path;
  uint32_t dirflags = 0;
  uint32_t oflags = 0;
  uint64_t rights = 0;
  uint32_t number = 0;
  // Afterwards "root/" + this exists, and this under the world does not.
  std::string there;
  std::string not_there;
};

class PathOpenTest : public testing::TestWithParam<OpenRow> {};

TEST_P(PathOpenTest, AnswersAndChangesAsItShould) {
  const OpenRow& row = GetParam();
  World world;
  EXPECT_EQ(world.guest->Open(kFirstPreopen, row.path, row.dirflags, row.oflags,
                              row.rights),
            row.number);
  if (row.number == kOk) {
    EXPECT_EQ(world.guest->fd, kFirstPreopen + 1);
  }
  if (!row.there.empty()) {
    EXPECT_TRUE(world.dir.Has("root/" + row.there));
  }
  if (!row.not_there.empty()) {
    EXPECT_FALSE(world.dir.Has(row.not_there));
  }
  EXPECT_EQ(world.dir.Read("outside/secret"), "secret");
}

constexpr uint32_t kC = oflags::kCreat;
constexpr uint32_t kX = oflags::kCreat | oflags::kExcl;
constexpr uint32_t kD = oflags::kDirectory;
constexpr uint32_t kT = oflags::kTrunc;
constexpr uint64_t kR = rights::kFdRead;
constexpr uint64_t kW = rights::kFdWrite;

INSTANTIATE_TEST_SUITE_P(
    Rows, PathOpenTest,
    testing::ValuesIn(std::vector<OpenRow>({
        {"file", "file", 0, 0, kR, kOk, "", ""},
        {"file_without_rights", "file", 0, 0, 0, kOk, "", ""},
        {"missing", "new", 0, 0, kR, N(Errno::kNoEnt), "", "root/new"},
        {"create", "new", 0, kC, kW, kOk, "new", ""},
        {"create_existing", "file", 0, kC, kW, kOk, "file", ""},
        {"create_slash", "new/", 0, kC, kW, N(Errno::kIsDir), "", "root/new"},
        {"create_in_missing", "no/new", 0, kC, kW, N(Errno::kNoEnt), "", ""},
        {"create_outside", "../new", 0, kC, kW, kOut, "", "new"},
        {"create_through_link_out", "to_outside/new", kFollow, kC, kW, kOut, "",
         "outside/new"},
        {"create_through_dangling", "dangling", kFollow, kC, kW, kOk, "nothing",
         ""},
        {"create_not_through_dangling", "dangling", 0, kC, kW, N(Errno::kLoop),
         "", "root/nothing"},
        {"exclusive", "new", 0, kX, kW, kOk, "new", ""},
        {"exclusive_existing", "file", 0, kX, kW, N(Errno::kExist), "", ""},
        {"exclusive_dir", "dir", 0, kX, kW, N(Errno::kExist), "", ""},
        {"exclusive_dangling", "dangling", kFollow, kX, kW, N(Errno::kExist),
         "", "root/nothing"},
        {"dir", "dir", 0, 0, 0, kOk, "", ""},
        {"dir_as_dir", "dir", 0, kD, rights::kFdReaddir, kOk, "", ""},
        {"dir_slash", "dir/", 0, 0, 0, kOk, "", ""},
        {"dir_for_reading", "dir", 0, kD, kR, kOk, "", ""},
        {"dir_for_writing", "dir", 0, kD, kR | kW, N(Errno::kIsDir), "", ""},
        {"dir_truncated", "dir", 0, kT, 0, N(Errno::kIsDir), "", ""},
        {"dir_created", "dir", 0, kC, 0, N(Errno::kIsDir), "", ""},
        {"create_and_directory", "new", 0, kC | kD, 0, N(Errno::kInval), "",
         "root/new"},
        {"file_as_dir", "file", 0, kD, 0, N(Errno::kNotDir), "", ""},
        {"file_slash", "file/", 0, 0, 0, N(Errno::kNotDir), "", ""},
        {"link_not_followed", "to_file", 0, 0, kR, N(Errno::kLoop), "", ""},
        {"link_followed", "to_file", kFollow, 0, kR, kOk, "", ""},
        {"dir_link_followed", "to_dir", kFollow, kD, 0, kOk, "", ""},
        {"link_out_followed", "to_secret", kFollow, 0, kR, kOut, "", ""},
        {"link_out_slash", "to_outside/", 0, 0, 0, kOut, "", ""},
        {"link_out_truncated", "to_secret", kFollow, kT, kW, kOut, "", ""},
        {"up", "..", 0, kD, 0, kOut, "", ""},
        {"absolute", "/etc/passwd", 0, 0, kR, kOut, "", ""},
        {"nul", std::string("file\0x", 6), 0, 0, kR, N(Errno::kInval), "", ""},
        {"empty", "", 0, 0, kR, N(Errno::kNoEnt), "", ""},
        {"too_long", std::string(4096, 'x'), 0, 0, 0, N(Errno::kNameTooLong),
         "", ""},
        {"bad_dirflags", "file", 2, 0, kR, N(Errno::kInval), "", ""},
        {"bad_oflags", "file", 0, 16, kR, N(Errno::kInval), "", ""},
        {"unknown_right", "file", 0, 0, uint64_t{1} << 40, kOut, "", ""},
        {"socket_right", "file", 0, 0, rights::kSockAccept, kOut, "", ""},
    })),
    [](const auto& row) { return row.param.name; });

TEST(PathOpenTest, TruncatesOnlyWhenAsked) {
  World world;
  ASSERT_EQ(world.guest->Open(kFirstPreopen, "file", 0, 0, kW), kOk);
  EXPECT_EQ(world.dir.Read("root/file"), "contents");
  ASSERT_EQ(world.guest->Open(kFirstPreopen, "file", 0, kT, kW), kOk);
  EXPECT_EQ(world.dir.Read("root/file"), "");
}

TEST(PathOpenTest, RefusesWhatIsNeitherFileNorDirectoryAndDoesNotBlock) {
  World world;
  ASSERT_EQ(mkfifo(world.dir.At("root/pipe").c_str(), 0600), 0);
  for (const uint64_t rights : {kR, kW, kR | kW}) {
    EXPECT_EQ(world.guest->Open(kFirstPreopen, "pipe", 0, 0, rights),
              N(Errno::kNotSup));
  }
  const int sock = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_GE(sock, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The path may be too long for an address: bind from inside the directory.
  const int here = open(world.dir.At("root").c_str(), O_PATH);
  const std::string short_path =
      "/proc/self/fd/" + std::to_string(here) + "/socket";
  std::strncpy(address.sun_path, short_path.c_str(),
               sizeof(address.sun_path) - 1);
  ASSERT_EQ(
      bind(sock, reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
      0);
  close(here);
  close(sock);
  EXPECT_EQ(world.guest->Open(kFirstPreopen, "socket", 0, 0, kR),
            N(Errno::kNotSup));
}

TEST(PathOpenTest, HandsOutAsManyHandlesAsAllowed) {
  ScratchDir dir;
  Options options;
  options.preopens = {{dir.path(), "/"}};
  options.open_handles_max = 3;
  std::vector<std::string> told;
  options.on_open_handle = [&told](uint64_t number, bool refused) {
    told.push_back(absl::StrCat(number, refused ? " refused" : ""));
  };
  FakeGuest guest(std::move(options));
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_EQ(guest.Open(kFirstPreopen, name, 0, kC, kW), kOk);
  }
  EXPECT_EQ(guest.Open(kFirstPreopen, "d", 0, kC, kW), N(Errno::kMfile));
  EXPECT_FALSE(dir.Has("d"));
  EXPECT_EQ(guest.Number("fd_close", {guest.fd}), kOk);
  EXPECT_EQ(guest.Open(kFirstPreopen, "d", 0, kC, kW), kOk);
  const std::vector<std::string> expected = {"1", "2", "3", "4 refused", "3"};
  EXPECT_EQ(told, expected);
}

TEST(PathOpenTest, GivesNoMoreRightsThanWereInherited) {
  World world;
  FakeGuest& guest = *world.guest;
  // A directory whose files may only be read.
  ASSERT_EQ(
      guest.Number("path_open",
                   {kFirstPreopen, 0, guest.Put(64, "dir"), 3, kD,
                    rights::kPathOpen | rights::kPathCreateFile, kR, 0, 128}),
      kOk);
  const uint32_t narrow = guest.U32(128);
  EXPECT_EQ(guest.Open(narrow, "x", 0, kC, kR), kOk);
  EXPECT_EQ(guest.Open(narrow, "x", 0, 0, kW), kOut);
  EXPECT_EQ(guest.Open(narrow, "x", 0, 0, kR | kW), kOut);
  // And nothing else may be done in it.
  EXPECT_EQ(guest.OnPath("path_unlink_file", narrow, "x"), kOut);
  EXPECT_EQ(guest.OnPath("path_create_directory", narrow, "y"), kOut);
  EXPECT_EQ(guest.Symlink("x", narrow, "y"), kOut);
  EXPECT_EQ(guest.TwoPaths("path_rename", narrow, "x", kFirstPreopen, "y"),
            kOut);
  EXPECT_EQ(guest.TwoPaths("path_rename", kFirstPreopen, "file", narrow, "y"),
            kOut);
  EXPECT_EQ(guest.TwoPaths("path_link", narrow, "x", kFirstPreopen, "y"), kOut);
  EXPECT_EQ(guest.Open(narrow, "x", 0, kT, 0), kOut);
  EXPECT_TRUE(world.dir.Has("root/dir/x"));
}

TEST(PathOpenTest, ConfinesToTheHandleAndNotToThePreopen) {
  World world;
  FakeGuest& guest = *world.guest;
  ASSERT_EQ(guest.Open(kFirstPreopen, "dir", 0, kD, rights::kDirectory), kOk);
  const uint32_t dir = guest.fd;
  EXPECT_EQ(guest.Open(dir, "../file", 0, 0, 0), kOut);
  EXPECT_EQ(guest.OnPath("path_unlink_file", dir, "../file"), kOut);
  EXPECT_TRUE(world.dir.Has("root/file"));
}

TEST(PathOpenTest, NeedsADirectory) {
  World world;
  FakeGuest& guest = *world.guest;
  ASSERT_EQ(guest.Open(kFirstPreopen, "file", 0, 0, kR), kOk);
  EXPECT_EQ(guest.Open(guest.fd, "x", 0, kC, 0), N(Errno::kNotDir));
  EXPECT_EQ(guest.Open(1, "x", 0, kC, 0), N(Errno::kNotDir));
  EXPECT_EQ(guest.Open(77, "x", 0, kC, 0), N(Errno::kBadf));
}

// Everything that changes something, in a world where nothing may change.
TEST(ReadOnlyPreopenTest, ChangesNothing) {
  World world(/*read_only=*/true);
  FakeGuest& guest = *world.guest;
  const uint32_t d = kFirstPreopen;
  EXPECT_EQ(guest.Open(d, "file", 0, 0, kW), kOut);
  EXPECT_EQ(guest.Open(d, "file", 0, kT, kR), kOut);
  EXPECT_EQ(guest.Open(d, "new", 0, kC, kR), kOut);
  EXPECT_EQ(guest.OnPath("path_create_directory", d, "new"), kOut);
  EXPECT_EQ(guest.OnPath("path_remove_directory", d, "dir"), kOut);
  EXPECT_EQ(guest.OnPath("path_unlink_file", d, "file"), kOut);
  EXPECT_EQ(guest.Symlink("file", d, "new"), kOut);
  EXPECT_EQ(guest.TwoPaths("path_link", d, "file", d, "new"), kOut);
  EXPECT_EQ(guest.TwoPaths("path_rename", d, "file", d, "new"), kOut);
  EXPECT_EQ(
      guest.Number("path_filestat_set_times",
                   {d, 0, guest.Put(64, "file"), 4, 0, 0, fstflags::kMtim}),
      kOut);
  EXPECT_EQ(
      guest.Number("fd_filestat_set_times", {d, 0, 0, fstflags::kMtimNow}),
      kOut);
  ASSERT_EQ(guest.Open(d, "file", 0, 0, kR), kOk);
  EXPECT_EQ(guest.ReadFile(guest.fd, 100), kOk);
  EXPECT_EQ(guest.text, "contents");
  EXPECT_EQ(guest.WriteFile(guest.fd, "x"), kOut);
  EXPECT_EQ(guest.Number("fd_filestat_set_size", {guest.fd, 0}), kOut);
  EXPECT_EQ(guest.Number("fd_allocate", {guest.fd, 0, 9}), kOut);
  EXPECT_FALSE(world.dir.Has("root/new"));
  EXPECT_EQ(world.dir.Read("root/file"), "contents");
}

struct OneRow {
  std::string name;
  std::string function;
  std::string path;
  uint32_t number;
  // Whether this exists under the world afterwards.
  std::string check;
  bool exists;
};

class OnePath : public testing::TestWithParam<OneRow> {};

TEST_P(OnePath, AnswersAndChangesAsItShould) {
  World world;
  EXPECT_EQ(
      world.guest->OnPath(GetParam().function, kFirstPreopen, GetParam().path),
      GetParam().number);
  EXPECT_EQ(world.dir.Has(GetParam().check), GetParam().exists);
  EXPECT_EQ(world.dir.Read("outside/secret"), "secret");
}

constexpr char kMkdir[] = "path_create_directory";
constexpr char kRmdir[] = "path_remove_directory";
constexpr char kUnlink[] = "path_unlink_file";

INSTANTIATE_TEST_SUITE_P(
    Rows, OnePath,
    testing::ValuesIn(std::vector<OneRow>({
        {"mkdir", kMkdir, "new", kOk, "root/new", true},
        {"mkdir_slash", kMkdir, "new/", kOk, "root/new", true},
        {"mkdir_slashes", kMkdir, "dir//new//", kOk, "root/dir/new", true},
        {"mkdir_existing", kMkdir, "dir", N(Errno::kExist), "root/dir", true},
        {"mkdir_file", kMkdir, "file", N(Errno::kExist), "root/file", true},
        {"mkdir_dangling", kMkdir, "dangling", N(Errno::kExist), "root/nothing",
         false},
        {"mkdir_dangling_slash", kMkdir, "dangling/", N(Errno::kExist),
         "root/nothing", false},
        {"mkdir_dot", kMkdir, ".", N(Errno::kExist), "root", true},
        {"mkdir_dots", kMkdir, "dir/..", N(Errno::kExist), "root", true},
        {"mkdir_up", kMkdir, "..", kOut, "root", true},
        {"mkdir_outside", kMkdir, "../new", kOut, "new", false},
        {"mkdir_link_out", kMkdir, "to_outside/new", kOut, "outside/new",
         false},
        {"mkdir_absolute", kMkdir, "/new", kOut, "root/new", false},
        {"mkdir_empty", kMkdir, "", N(Errno::kNoEnt), "root", true},
        {"mkdir_no_parent", kMkdir, "no/new", N(Errno::kNoEnt), "root/no",
         false},
        {"mkdir_nul", kMkdir, std::string("a\0b", 3), N(Errno::kInval),
         "root/a", false},
        {"rmdir", kRmdir, "dir", kOk, "root/dir", false},
        {"rmdir_slash", kRmdir, "dir/", kOk, "root/dir", false},
        {"rmdir_full", kRmdir, "full", N(Errno::kNotEmpty), "root/full", true},
        {"rmdir_file", kRmdir, "file", N(Errno::kNotDir), "root/file", true},
        {"rmdir_file_slash", kRmdir, "file/", N(Errno::kNotDir), "root/file",
         true},
        {"rmdir_link", kRmdir, "to_dir", N(Errno::kNotDir), "root/dir", true},
        {"rmdir_link_slash", kRmdir, "to_dir/", N(Errno::kNotDir), "root/dir",
         true},
        {"rmdir_link_out_slash", kRmdir, "to_outside/", N(Errno::kNotDir),
         "outside", true},
        {"rmdir_dot", kRmdir, "dir/.", N(Errno::kInval), "root/dir", true},
        {"rmdir_dots", kRmdir, "dir/..", N(Errno::kNotEmpty), "root", true},
        {"rmdir_up", kRmdir, "..", kOut, "root", true},
        {"unlink", kUnlink, "file", kOk, "root/file", false},
        {"unlink_slash", kUnlink, "file/", N(Errno::kNotDir), "root/file",
         true},
        {"unlink_dir", kUnlink, "dir", N(Errno::kIsDir), "root/dir", true},
        {"unlink_dir_slash", kUnlink, "dir/", N(Errno::kIsDir), "root/dir",
         true},
        {"unlink_link", kUnlink, "to_file", kOk, "root/to_file", false},
        {"unlink_link_keeps_target", kUnlink, "to_secret", kOk,
         "outside/secret", true},
        {"unlink_link_slash", kUnlink, "to_secret/", N(Errno::kNotDir),
         "root/to_secret", true},
        {"unlink_outside", kUnlink, "../outside/secret", kOut, "outside/secret",
         true},
        {"unlink_link_out", kUnlink, "to_outside/secret", kOut,
         "outside/secret", true},
        {"unlink_dot", kUnlink, ".", N(Errno::kIsDir), "root", true},
        {"unlink_up", kUnlink, "..", kOut, "root", true},
        {"unlink_missing", kUnlink, "new", N(Errno::kNoEnt), "root/new", false},
    })),
    [](const auto& row) { return row.param.name; });

struct TwoRow {
  std::string name;
  std::string function;
  std::string from;
  std::string to;
  uint32_t number;
  std::string check;
  bool exists;
};

class TwoPathsTest : public testing::TestWithParam<TwoRow> {};

TEST_P(TwoPathsTest, AnswersAndChangesAsItShould) {
  World world;
  const TwoRow& row = GetParam();
  const uint32_t number =
      row.function == "path_symlink"
          ? world.guest->Symlink(row.from, kFirstPreopen, row.to)
          : world.guest->TwoPaths(row.function, kFirstPreopen, row.from,
                                  kFirstPreopen, row.to);
  EXPECT_EQ(number, row.number);
  EXPECT_EQ(world.dir.Has(row.check), row.exists);
  EXPECT_EQ(world.dir.Read("outside/secret"), "secret");
  EXPECT_FALSE(world.dir.Has("outside/new"));
}

constexpr char kRename[] = "path_rename";
constexpr char kLink[] = "path_link";
constexpr char kSymlink[] = "path_symlink";

INSTANTIATE_TEST_SUITE_P(
    Rows, TwoPathsTest,
    testing::ValuesIn(std::vector<TwoRow>({
        {"rename", kRename, "file", "new", kOk, "root/new", true},
        {"rename_away", kRename, "file", "new", kOk, "root/file", false},
        {"rename_over", kRename, "file", "full/one", kOk, "root/file", false},
        {"rename_dir", kRename, "full", "new", kOk, "root/new/one", true},
        {"rename_dir_slashes", kRename, "full/", "new/", kOk, "root/new/one",
         true},
        {"rename_file_slash", kRename, "file/", "new", N(Errno::kNotDir),
         "root/file", true},
        {"rename_to_slash", kRename, "file", "new/", N(Errno::kNotDir),
         "root/new", false},
        {"rename_over_full", kRename, "dir", "full", N(Errno::kNotEmpty),
         "root/dir", true},
        {"rename_file_over_dir", kRename, "file", "dir", N(Errno::kIsDir),
         "root/file", true},
        {"rename_dir_over_file", kRename, "dir", "file", N(Errno::kNotDir),
         "root/file", true},
        {"rename_link_itself", kRename, "to_secret", "new", kOk,
         "root/to_secret", false},
        {"rename_link_slash", kRename, "to_outside/", "new", N(Errno::kNotDir),
         "root/to_outside", true},
        {"rename_from_outside", kRename, "../outside/secret", "new", kOut,
         "outside/secret", true},
        {"rename_from_link_out", kRename, "to_outside/secret", "new", kOut,
         "outside/secret", true},
        {"rename_to_outside", kRename, "file", "../new", kOut, "new", false},
        {"rename_to_link_out", kRename, "file", "to_outside/new", kOut,
         "root/file", true},
        {"rename_dot", kRename, ".", "new", N(Errno::kBusy), "root/new", false},
        {"rename_to_dots", kRename, "file", "dir/..", N(Errno::kBusy),
         "root/file", true},
        {"rename_absolute", kRename, "/file", "new", kOut, "root/file", true},
        {"link", kLink, "file", "new", kOk, "root/new", true},
        {"link_existing", kLink, "file", "dir", N(Errno::kExist), "root/dir",
         true},
        {"link_itself", kLink, "file", "file", N(Errno::kExist), "root/file",
         true},
        {"link_dangling_target", kLink, "file", "dangling", N(Errno::kExist),
         "root/nothing", false},
        {"link_to_slash", kLink, "file", "new/", N(Errno::kNoEnt), "root/new",
         false},
        {"link_dir", kLink, "dir", "new", N(Errno::kPerm), "root/new", false},
        {"link_dir_slash", kLink, "dir/", "new", N(Errno::kPerm), "root/new",
         false},
        {"link_dot", kLink, ".", "new", N(Errno::kPerm), "root/new", false},
        {"link_file_slash", kLink, "file/", "new", N(Errno::kNotDir),
         "root/new", false},
        {"link_of_link", kLink, "to_secret", "new", kOk, "root/new", true},
        {"link_through_slash", kLink, "to_outside/", "new", N(Errno::kNotDir),
         "root/new", false},
        {"link_from_outside", kLink, "../outside/secret", "new", kOut,
         "root/new", false},
        {"link_from_link_out", kLink, "to_outside/secret", "new", kOut,
         "root/new", false},
        {"link_to_outside", kLink, "file", "../outside/new", kOut,
         "outside/new", false},
        {"symlink", kSymlink, "anything", "new", kOk, "root/new", true},
        {"symlink_up_is_only_text", kSymlink, "../../x", "new", kOk, "root/new",
         true},
        {"symlink_absolute", kSymlink, "/etc", "new", kOut, "root/new", false},
        {"symlink_empty", kSymlink, "", "new", N(Errno::kNoEnt), "root/new",
         false},
        {"symlink_nul", kSymlink, std::string("a\0b", 3), "new",
         N(Errno::kInval), "root/new", false},
        {"symlink_existing", kSymlink, "x", "file", N(Errno::kExist),
         "root/file", true},
        {"symlink_slash", kSymlink, "x", "new/", N(Errno::kNoEnt), "root/new",
         false},
        {"symlink_outside", kSymlink, "x", "../new", kOut, "new", false},
        {"symlink_dot", kSymlink, "x", ".", N(Errno::kExist), "root", true},
    })),
    [](const auto& row) { return row.param.name; });

TEST(PathLinkTest, DoesNotFollow) {
  World world;
  FakeGuest& guest = *world.guest;
  EXPECT_EQ(guest.Number("path_link",
                         {kFirstPreopen, kFollow, guest.Put(64, "to_secret"), 9,
                          kFirstPreopen, guest.Put(128, "new"), 3}),
            N(Errno::kInval));
  EXPECT_FALSE(world.dir.Has("root/new"));
  // What a link of a link is: the same link, still leading nowhere for guests.
  ASSERT_EQ(guest.TwoPaths("path_link", kFirstPreopen, "to_secret",
                           kFirstPreopen, "new"),
            kOk);
  EXPECT_EQ(guest.Open(kFirstPreopen, "new", kFollow, 0, kR), kOut);
}

TEST(SymlinkTest, LinksThatAGuestMakesDoNotLeadOut) {
  World world;
  FakeGuest& guest = *world.guest;
  for (const char* content :
       {"../outside/secret", "dir/../../outside/secret", "to_secret",
        "to_outside/secret", "../root/../outside/secret"}) {
    ASSERT_EQ(guest.Symlink(content, kFirstPreopen, "evil"), kOk) << content;
    EXPECT_EQ(guest.Open(kFirstPreopen, "evil", kFollow, 0, kR), kOut)
        << content;
    EXPECT_EQ(
        guest.Number("path_filestat_get",
                     {kFirstPreopen, kFollow, guest.Put(64, "evil"), 4, 256}),
        kOut)
        << content;
    EXPECT_EQ(guest.OnPath("path_unlink_file", kFirstPreopen, "evil"), kOk);
  }
}

TEST(FilestatTest, TellsOfLinksAndTargets) {
  World world;
  FakeGuest& guest = *world.guest;
  const auto type_of = [&](const char* path, uint32_t flags) {
    const uint32_t number = guest.Number(
        "path_filestat_get",
        {kFirstPreopen, flags, guest.Put(64, path), std::strlen(path), 256});
    return number == kOk ? static_cast<int>(guest.caller.memory[256 + 16])
                         : -static_cast<int>(number);
  };
  EXPECT_EQ(type_of("file", 0), static_cast<int>(Filetype::kRegularFile));
  EXPECT_EQ(guest.U64(256 + 32), 8u);
  EXPECT_EQ(type_of("dir", 0), static_cast<int>(Filetype::kDirectory));
  EXPECT_EQ(type_of("to_file", 0), static_cast<int>(Filetype::kSymbolicLink));
  EXPECT_EQ(type_of("to_file", kFollow),
            static_cast<int>(Filetype::kRegularFile));
  EXPECT_EQ(type_of("to_secret", 0), static_cast<int>(Filetype::kSymbolicLink));
  EXPECT_EQ(type_of("to_secret", kFollow), -static_cast<int>(kOut));
  EXPECT_EQ(type_of("..", 0), -static_cast<int>(kOut));
  EXPECT_EQ(type_of("file", 2), -static_cast<int>(Errno::kInval));
}

TEST(FilestatTest, SetsTimesOfLinksAndTargets) {
  World world;
  FakeGuest& guest = *world.guest;
  const auto mtim_of = [&](const char* path) {
    struct stat status {};
    EXPECT_EQ(lstat(world.dir.At(path).c_str(), &status), 0);
    return status.st_mtim.tv_sec;
  };
  const auto set = [&](const char* path, uint32_t flags, uint64_t seconds,
                       uint32_t fst_flags = fstflags::kMtim) {
    return guest.Number(
        "path_filestat_set_times",
        {kFirstPreopen, flags, guest.Put(64, path), std::strlen(path), 0,
         seconds * 1'000'000'000, fst_flags});
  };
  EXPECT_EQ(set("to_file", 0, 1000), kOk);
  EXPECT_EQ(mtim_of("root/to_file"), 1000);
  EXPECT_NE(mtim_of("root/file"), 1000);
  EXPECT_EQ(set("to_file", kFollow, 2000), kOk);
  EXPECT_EQ(mtim_of("root/file"), 2000);
  EXPECT_EQ(set("to_secret", kFollow, 3000), kOut);
  EXPECT_NE(mtim_of("outside/secret"), 3000);
  EXPECT_EQ(set("file", 0, 1, fstflags::kMtim | fstflags::kMtimNow),
            N(Errno::kInval));
  EXPECT_EQ(set("file", 0, 1, 16), N(Errno::kInval));
  EXPECT_EQ(mtim_of("root/file"), 2000);
}

TEST(ReadlinkTest, CutsAtTheBuffer) {
  World world;
  FakeGuest& guest = *world.guest;
  const auto read = [&](const char* path, uint32_t room) {
    guest.Put(512, "................");
    return guest.Number("path_readlink", {kFirstPreopen, guest.Put(64, path),
                                          std::strlen(path), 512, room, 256});
  };
  EXPECT_EQ(read("to_file", 16), kOk);
  EXPECT_EQ(guest.U32(256), 4u);
  EXPECT_EQ(guest.Bytes(512, 6), "file..");
  EXPECT_EQ(read("to_file", 2), kOk);
  EXPECT_EQ(guest.U32(256), 2u);
  EXPECT_EQ(guest.Bytes(512, 4), "fi..");
  EXPECT_EQ(read("to_file", 0), kOk);
  EXPECT_EQ(guest.U32(256), 0u);
  EXPECT_EQ(read("file", 16), N(Errno::kInval));
  EXPECT_EQ(read("dir", 16), N(Errno::kInval));
  EXPECT_EQ(read("nothing", 16), N(Errno::kNoEnt));
  EXPECT_EQ(read("to_outside/secret", 16), kOut);
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
