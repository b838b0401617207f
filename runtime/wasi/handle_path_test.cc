// What handles are called, and which calls' paths follow links: what a policy's
// rules about paths rest on.

#include "runtime/wasi/handle_path.h"

#include <stdio.h>
#include <unistd.h>

#include <memory>
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
constexpr uint32_t kLoop = N(Errno::kLoop);
constexpr uint32_t kFollow = lookupflags::kSymlinkFollow;
constexpr uint32_t kDir = oflags::kDirectory;
constexpr uint64_t kThrough = rights::kPathOpen | rights::kPathFilestatGet;

// root/            the guest's
//   file  dir/file  dir/deep/file  other/
//   to_file -> file  to_dir -> dir  dir/to_deep -> deep  up -> dir/../dir
//   out -> ../outside  absolute -> <root>/dir
// outside/dir/
class World {
 public:
  explicit World(const std::string& guest_name = "/") {
    dir.MakeDir("outside");
    dir.MakeDir("outside/dir");
    for (const char* name : {"root", "root/dir", "root/dir/deep", "root/other"})
      dir.MakeDir(name);
    for (const char* name :
         {"root/file", "root/dir/file", "root/dir/deep/file"})
      dir.MakeFile(name, "contents");
    dir.MakeLink("root/to_file", "file");
    dir.MakeLink("root/to_dir", "dir");
    dir.MakeLink("root/dir/to_deep", "deep");
    dir.MakeLink("root/up", "dir/../dir");
    dir.MakeLink("root/out", "../outside");
    dir.MakeLink("root/absolute", dir.At("root/dir"));
    Options options;
    options.preopens = {{dir.At("root"), guest_name}};
    guest = std::make_unique<FakeGuest>(std::move(options));
  }

  std::string PathOf(uint32_t fd) {
    return std::string(guest->context->GuestPathOf(fd));
  }
  void Rename(const std::string& from, const std::string& to) {
    ASSERT_EQ(rename(dir.At(from).c_str(), dir.At(to).c_str()), 0);
  }
  // A directory handle.
  uint32_t Directory(const std::string& path) {
    EXPECT_EQ(guest->Open(kFirstPreopen, path, kFollow, kDir, kThrough), kOk)
        << path;
    return guest->fd;
  }

  ScratchDir dir;
  std::unique_ptr<FakeGuest> guest;
};

struct PathRow {
  std::string name;
  std::string preopen;
  std::string path;  // opened beneath it, following links
  std::string want;
};

class PathOfHandle : public testing::TestWithParam<PathRow> {};

TEST_P(PathOfHandle, IsWhereItIs) {
  const PathRow& row = GetParam();
  World world(row.preopen);
  ASSERT_EQ(world.guest->Open(kFirstPreopen, row.path, kFollow), kOk);
  EXPECT_EQ(world.PathOf(world.guest->fd), row.want);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, PathOfHandle,
    testing::ValuesIn(std::vector<PathRow>({
        {"file", "/", "file", "/file"},
        {"file_below", "/", "dir/file", "/dir/file"},
        // A file's is as it is spelled where no link is on the way.
        {"dotdot", "/", "dir/../file", "/dir/../file"},
        {"file_in_named", "/data", "dir/file", "/data/dir/file"},
        {"file_in_named_with_slash", "/data/", "file", "/data/file"},
        {"file_in_dot", ".", "file", "./file"},
        {"link_at_the_end", "/", "to_file", "/file"},
        {"link_in_the_middle", "/", "to_dir/file", "/dir/file"},
        {"links_in_the_middle", "/data", "up/to_deep/file",
         "/data/dir/deep/file"},
        {"link_then_dotdot", "/", "to_dir/../file", "/file"},
        {"directory", "/", "dir", "/dir"},
        {"directory_slash", "/", "dir/", "/dir"},
        {"directory_dots", "/", "./dir/deep/..", "/dir"},
        {"directory_link", "/", "to_dir", "/dir"},
        {"directory_link_slash", "/data", "to_dir/", "/data/dir"},
        {"directory_link_to_links", "/", "up/to_deep", "/dir/deep"},
        {"the_preopen_again", "/", ".", "/"},
        {"the_preopen_again_by_dotdot", "/data", "dir/..", "/data"},
        {"the_preopen_again_in_dot", ".", "dir/..", "."},
        {"directory_in_dot", ".", "dir", "./dir"},
    })),
    [](const auto& row) { return row.param.name; });

TEST(HandlePathTest, OfThePreopenedDirectoryIsItsName) {
  World world("/data");
  EXPECT_EQ(world.PathOf(kFirstPreopen), "/data");
  world.Rename("root", "elsewhere");
  EXPECT_EQ(world.PathOf(kFirstPreopen), "/data");
}

TEST(HandlePathTest, OfNothingIsEmpty) {
  World world;
  for (const uint32_t fd : {0u, 1u, 2u, 77u, ~0u}) {
    EXPECT_EQ(world.PathOf(fd), "") << fd;
  }
  ASSERT_EQ(world.guest->Open(kFirstPreopen, "file"), kOk);
  ASSERT_EQ(world.guest->Number("fd_close", {world.guest->fd}), kOk);
  EXPECT_EQ(world.PathOf(world.guest->fd), "");
}

TEST(HandlePathTest, GoesWithARenamedDirectory) {
  World world;
  const uint32_t deep = world.Directory("dir/deep");
  EXPECT_EQ(world.PathOf(deep), "/dir/deep");
  ASSERT_EQ(world.guest->TwoPaths("path_rename", kFirstPreopen, "dir/deep",
                                  kFirstPreopen, "other/new"),
            kOk);
  EXPECT_EQ(world.PathOf(deep), "/other/new");
  // And with one further up.
  ASSERT_EQ(world.guest->TwoPaths("path_rename", kFirstPreopen, "other",
                                  kFirstPreopen, "dir/x"),
            kOk);
  EXPECT_EQ(world.PathOf(deep), "/dir/x/new");
  // The whole preopened directory may be moved by its host.
  world.Rename("root", "outside/moved");
  EXPECT_EQ(world.PathOf(deep), "/dir/x/new");
}

TEST(HandlePathTest, OfAFileIsWhatItWasOpenedAs) {
  World world;
  const uint32_t dir = world.Directory("to_dir");
  world.Rename("root/dir", "root/renamed");
  // The directory's name by now, and not the one it was opened by.
  ASSERT_EQ(world.guest->Open(dir, "file"), kOk);
  const uint32_t file = world.guest->fd;
  EXPECT_EQ(world.PathOf(file), "/renamed/file");
  world.Rename("root/renamed/file", "root/innocent");
  EXPECT_EQ(world.PathOf(file), "/renamed/file");
}

TEST(HandlePathTest, IsNotKnownOutsideOfThePreopenedDirectory) {
  World world;
  const uint32_t dir = world.Directory("dir");
  world.Rename("root/dir", "outside/dir");
  EXPECT_EQ(world.PathOf(dir), "");
  // Nor is anything beneath it.
  ASSERT_EQ(world.guest->Open(dir, "file"), kOk);
  EXPECT_EQ(world.PathOf(world.guest->fd), "");
  // A name that begins like the preopened directory's is another one.
  world.Rename("outside/dir", "root2");
  EXPECT_EQ(world.PathOf(dir), "");
  world.Rename("root2", "root/back");
  EXPECT_EQ(world.PathOf(dir), "/back");
}

TEST(HandlePathTest, OfADirectoryThatIsGoneIsEmpty) {
  World world;
  const uint32_t dir = world.Directory("other");
  ASSERT_EQ(rmdir(world.dir.At("root/other").c_str()), 0);
  EXPECT_EQ(world.PathOf(dir), "");
  // A name that looks as if it were gone is a name.
  world.dir.MakeDir("root/other (deleted)");
  EXPECT_EQ(world.PathOf(world.Directory("other (deleted)")),
            "/other (deleted)");
}

TEST(HandlePathTest, OutlivesThePreopenedDirectorysHandle) {
  World world("/data");
  const uint32_t dir = world.Directory("dir");
  ASSERT_EQ(world.guest->Open(kFirstPreopen, "file"), kOk);
  const uint32_t file = world.guest->fd;
  ASSERT_EQ(world.guest->Number("fd_close", {kFirstPreopen}), kOk);
  EXPECT_EQ(world.PathOf(dir), "/data/dir");
  EXPECT_EQ(world.PathOf(file), "/data/file");
  // And goes with the handle to another number.
  ASSERT_EQ(world.guest->Number("fd_renumber", {dir, file}), kOk);
  EXPECT_EQ(world.PathOf(file), "/data/dir");
  EXPECT_EQ(world.PathOf(dir), "");
}

// Whoever asks why there is no path can tell streams from what is not known.
TEST(HandlePathTest, StreamsHaveNone) {
  const World world;
  const Context& context = *world.guest->context;
  for (uint32_t fd = 0; fd < kFirstPreopen; ++fd) {
    EXPECT_TRUE(context.IsStream(fd)) << fd;
  }
  EXPECT_FALSE(context.IsStream(kFirstPreopen));
  EXPECT_FALSE(context.IsStream(kFirstPreopen + 1));
  ASSERT_EQ(world.guest->Number("fd_renumber", {1, 2}), kOk);
  EXPECT_TRUE(context.IsStream(2));
  EXPECT_FALSE(context.IsStream(1));
}

TEST(HandlePathTest, OfTwoPreopenedDirectoriesIsThatOfItsOwn) {
  World world;
  Options options;
  options.preopens = {{world.dir.At("root"), "/a"},
                      {world.dir.At("root/dir"), "/b"}};
  FakeGuest guest(std::move(options));
  ASSERT_EQ(guest.Open(kFirstPreopen, "dir/deep", 0, kDir), kOk);
  EXPECT_EQ(guest.context->GuestPathOf(guest.fd), "/a/dir/deep");
  ASSERT_EQ(guest.Open(kFirstPreopen + 1, "deep", 0, kDir), kOk);
  EXPECT_EQ(guest.context->GuestPathOf(guest.fd), "/b/deep");
  ASSERT_EQ(guest.Open(kFirstPreopen, "dir/deep/file"), kOk);
  EXPECT_EQ(guest.context->GuestPathOf(guest.fd), "/a/dir/deep/file");
}

TEST(HandlePathTest, IsNotKnownWhereItIsTooLong) {
  EXPECT_EQ(JoinHandlePath("", "x"), "");
  const std::string name(kGuestPathBytesMax - 3, 'x');
  EXPECT_EQ(JoinHandlePath("/d", absl::StrCat(name, "y")), "");
  EXPECT_EQ(JoinHandlePath("/d", name), absl::StrCat("/d/", name));
}

// --- Links -------------------------------------------------------------------

// One call of `function` with `path`; of two paths both are tried.
std::vector<uint32_t> CallWith(FakeGuest& guest, const std::string& function,
                               const std::string& path) {
  constexpr uint32_t kPathAt = 60'000;
  constexpr uint32_t kRecordAt = 61'000;
  const uint32_t at = guest.Put(kPathAt, path);
  const std::vector<uint64_t> name = {at, path.size()};
  if (function == "path_open") {
    return {guest.Open(kFirstPreopen, path, kFollow)};
  }
  if (function == "path_filestat_get") {
    return {guest.Number(
        function, {kFirstPreopen, kFollow, name[0], name[1], kRecordAt})};
  }
  if (function == "path_filestat_set_times") {
    return {guest.Number(function, {kFirstPreopen, kFollow, name[0], name[1], 0,
                                    0, fstflags::kMtimNow})};
  }
  if (function == "path_readlink") {
    return {guest.Number(function, {kFirstPreopen, name[0], name[1], kRecordAt,
                                    100, kRecordAt + 200})};
  }
  if (function == "path_symlink") {
    return {guest.Symlink("x", kFirstPreopen, path)};
  }
  if (function == "path_rename" || function == "path_link") {
    return {
        guest.TwoPaths(function, kFirstPreopen, path, kFirstPreopen, "other/a"),
        guest.TwoPaths(function, kFirstPreopen, "dir/file", kFirstPreopen,
                       absl::StrCat(path, "_2"))};
  }
  return {guest.OnPath(function, kFirstPreopen, path)};
}

constexpr const char* kPathFunctions[] = {
    "path_open",        "path_filestat_get",     "path_filestat_set_times",
    "path_readlink",    "path_symlink",          "path_rename",
    "path_link",        "path_create_directory", "path_remove_directory",
    "path_unlink_file",
};

class RefusedLinks : public testing::TestWithParam<const char*> {};

TEST_P(RefusedLinks, StopTheCallWhereOneIsOnTheWay) {
  for (const char* path :
       {"to_dir/x", "dir/to_deep/x", "up/x", "out/x", "absolute/x",
        "dir/../to_dir/x", "to_dir/../x", "./to_dir/./x", "to_dir//x"}) {
    SCOPED_TRACE(path);
    World world;
    world.guest->context->RefuseLinks(GetParam());
    for (const uint32_t number : CallWith(*world.guest, GetParam(), path)) {
      EXPECT_EQ(number, kLoop);
    }
    EXPECT_FALSE(world.dir.Has("root/dir/x"));
    EXPECT_FALSE(world.dir.Has("outside/x"));
  }
}

TEST_P(RefusedLinks, AreThoseOfThisFunctionAlone) {
  for (const char* other : kPathFunctions) {
    World world;
    world.guest->context->RefuseLinks(GetParam());
    const bool refused = std::string(other) == GetParam();
    for (const uint32_t number : CallWith(*world.guest, other, "to_dir/x")) {
      EXPECT_EQ(number == kLoop, refused) << other << " answers " << number;
    }
  }
}

TEST_P(RefusedLinks, LeavePathsWithoutOneAlone) {
  for (const char* path : {"dir/x", "dir/deep/../x", "other/../dir/./x"}) {
    SCOPED_TRACE(path);
    std::vector<uint32_t> numbers[2];
    for (const bool refuse : {false, true}) {
      World world;
      if (refuse) world.guest->context->RefuseLinks(GetParam());
      numbers[refuse ? 1 : 0] = CallWith(*world.guest, GetParam(), path);
    }
    EXPECT_EQ(numbers[0], numbers[1]);
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, RefusedLinks,
                         testing::ValuesIn(kPathFunctions),
                         [](const auto& row) {
                           return std::string(row.param);
                         });

struct EndRow {
  std::string name;
  std::string function;
  std::string path;
  uint32_t number = 0;
};

// A link that is the last component is followed by what a path is looked up
// for, and is itself what names are moved and removed for.
class RefusedLinkAtTheEnd : public testing::TestWithParam<EndRow> {};

TEST_P(RefusedLinkAtTheEnd, IsNotFollowed) {
  const EndRow& row = GetParam();
  World world;
  world.guest->context->RefuseLinks(row.function);
  EXPECT_EQ(CallWith(*world.guest, row.function, row.path).front(), row.number);
  EXPECT_EQ(world.dir.Read("root/file"), "contents");
  EXPECT_TRUE(world.dir.Has("root/dir/deep"));
}

constexpr uint32_t kNotDir = N(Errno::kNotDir);

INSTANTIATE_TEST_SUITE_P(
    Rows, RefusedLinkAtTheEnd,
    testing::ValuesIn(std::vector<EndRow>({
        {"open_file", "path_open", "to_file", kLoop},
        {"open_dir", "path_open", "to_dir", kLoop},
        {"open_dir_slash", "path_open", "to_dir/", kLoop},
        {"open_dir_dot", "path_open", "to_dir/.", kLoop},
        {"open_dangling_out", "path_open", "out", kLoop},
        {"stat", "path_filestat_get", "to_file", kLoop},
        {"stat_slash", "path_filestat_get", "to_dir/", kLoop},
        {"set_times", "path_filestat_set_times", "to_file", kLoop},
        {"read_link", "path_readlink", "to_file", kOk},
        {"read_link_slash", "path_readlink", "to_dir/", kLoop},
        {"unlink", "path_unlink_file", "to_file", kOk},
        {"unlink_slash", "path_unlink_file", "to_file/", kNotDir},
        {"remove_directory", "path_remove_directory", "to_dir", kNotDir},
        {"remove_directory_slash", "path_remove_directory", "to_dir/", kNotDir},
        {"rename", "path_rename", "to_file", kOk},
        {"rename_slash", "path_rename", "to_dir/", kNotDir},
        {"link", "path_link", "to_file", kOk},
        {"link_slash", "path_link", "to_dir/", kNotDir},
        {"create_directory", "path_create_directory", "to_dir",
         N(Errno::kExist)},
        {"create_directory_slash", "path_create_directory", "to_dir/",
         N(Errno::kExist)},
        {"symlink", "path_symlink", "to_dir", N(Errno::kExist)},
        {"absolute_path", "path_open", "/to_file", N(Errno::kNotCapable)},
        {"dotdot_out", "path_open", "../outside", N(Errno::kNotCapable)},
        {"dotdot_out_and_in", "path_open", "../root/file",
         N(Errno::kNotCapable)},
    })),
    [](const auto& row) { return row.param.name; });

TEST(RefusedLinksTest, OfAnUnknownFunctionChangeNothing) {
  World world;
  world.guest->context->RefuseLinks("path_opens");
  world.guest->context->RefuseLinks("");
  EXPECT_EQ(world.guest->Open(kFirstPreopen, "to_file", kFollow), kOk);
}

TEST(RefusedLinksTest, CountFromADirectoryThatWasReachedThroughOne) {
  World world;
  const uint32_t dir = world.Directory("to_dir");
  world.guest->context->RefuseLinks("path_open");
  ASSERT_EQ(world.guest->Open(dir, "file"), kOk);
  EXPECT_EQ(world.PathOf(world.guest->fd), "/dir/file");
  EXPECT_EQ(world.guest->Open(dir, "to_deep", kFollow), kLoop);
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
