#include "runtime/wasi/confined_path.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/wasi/fake_guest.h"
#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

// outside/            what must not be reached
//   secret
// inside/             what lookups start from
//   file
//   sub/deep/leaf
//   to_file -> file               to_sub -> sub
//   to_secret -> ../outside/secret
//   to_outside -> ../outside      to_root -> /
//   dangling -> nothing           loop -> loop
//   up -> sub/../..               sub/back -> ../file
class Tree {
 public:
  Tree() {
    dir_.MakeDir("outside");
    dir_.MakeFile("outside/secret", "secret");
    dir_.MakeDir("inside");
    dir_.MakeFile("inside/file", "file");
    dir_.MakeDir("inside/sub");
    dir_.MakeDir("inside/sub/deep");
    dir_.MakeFile("inside/sub/deep/leaf", "leaf");
    dir_.MakeLink("inside/to_file", "file");
    dir_.MakeLink("inside/to_sub", "sub");
    dir_.MakeLink("inside/to_secret", "../outside/secret");
    dir_.MakeLink("inside/to_outside", "../outside");
    dir_.MakeLink("inside/to_root", "/");
    dir_.MakeLink("inside/to_absolute", dir_.At("inside/file"));
    dir_.MakeLink("inside/dangling", "nothing");
    dir_.MakeLink("inside/loop", "loop");
    dir_.MakeLink("inside/up", "sub/../..");
    dir_.MakeLink("inside/sub/back", "../file");
    dir_.MakeLink("inside/proc", "/proc/self/root");
    inside_ = UniqueFd(open(dir_.At("inside").c_str(), O_PATH | O_DIRECTORY));
  }

  int inside() const { return inside_.get(); }
  const ScratchDir& dir() const { return dir_; }

 private:
  ScratchDir dir_;
  UniqueFd inside_;
};

struct Row {
  std::string name;
  std::string path;
  Errno following;
  Errno not_following;
};

class Lookup : public testing::TestWithParam<Row> {};

Errno NumberOf(const OutcomeOr<UniqueFd>& fd) {
  return fd.ok() ? Errno::kSuccess : fd.failure().number();
}

TEST_P(Lookup, StaysInside) {
  const Tree tree;
  const std::string& path = GetParam().path;
  EXPECT_EQ(NumberOf(OpenBeneath(tree.inside(), path, O_PATH)),
            GetParam().following);
  EXPECT_EQ(NumberOf(OpenBeneath(tree.inside(), path, O_PATH | O_NOFOLLOW)),
            GetParam().not_following);
}

constexpr Errno kOk = Errno::kSuccess;
constexpr Errno kOut = Errno::kNotCapable;

INSTANTIATE_TEST_SUITE_P(
    Paths, Lookup,
    testing::ValuesIn(std::vector<Row>({
        {"file", "file", kOk, kOk},
        {"dot", ".", kOk, kOk},
        {"nested", "sub/deep/leaf", kOk, kOk},
        {"double_slash", "sub//deep///leaf", kOk, kOk},
        {"dots_inside", "sub/./deep/../../file", kOk, kOk},
        {"trailing_slash_dir", "sub/", kOk, kOk},
        {"trailing_slash_file", "file/", Errno::kNotDir, Errno::kNotDir},
        {"missing", "nothing", Errno::kNoEnt, Errno::kNoEnt},
        {"empty", "", Errno::kNoEnt, Errno::kNoEnt},
        {"through_file", "file/x", Errno::kNotDir, Errno::kNotDir},
        {"nul", std::string("file\0/../../outside", 19), Errno::kInval,
         Errno::kInval},
        {"nul_last", std::string("file\0", 5), Errno::kInval, Errno::kInval},
        {"only_nul", std::string("\0", 1), Errno::kInval, Errno::kInval},
        {"parent", "..", kOut, kOut},
        {"parent_slash", "../", kOut, kOut},
        {"parent_and_back", "../inside/file", kOut, kOut},
        {"parent_of_missing", "nothing/../..", Errno::kNoEnt, Errno::kNoEnt},
        {"too_many_parents", "sub/../../inside/file", kOut, kOut},
        {"outside", "../outside/secret", kOut, kOut},
        {"absolute", "/etc/passwd", kOut, kOut},
        {"absolute_root", "/", kOut, kOut},
        {"double_slash_first", "//file", kOut, kOut},
        {"link_to_file", "to_file", kOk, kOk},
        {"link_to_dir_slash", "to_sub/", kOk, kOk},
        {"through_link", "to_sub/deep/leaf", kOk, kOk},
        {"link_up_but_inside", "sub/back", kOk, kOk},
        {"link_out", "to_secret", kOut, kOk},
        {"link_out_slash", "to_outside/", kOut, kOut},
        {"through_link_out", "to_outside/secret", kOut, kOut},
        {"link_to_root", "to_root", kOut, kOk},
        {"link_to_root_slash", "to_root/", kOut, kOut},
        {"absolute_link_to_inside", "to_absolute", kOut, kOk},
        {"dangling", "dangling", Errno::kNoEnt, kOk},
        {"loop", "loop", Errno::kLoop, kOk},
        {"link_up_and_out", "up", kOut, kOk},
        {"through_link_up_and_out", "up/outside/secret", kOut, kOut},
        {"magic_link", "proc", kOut, kOk},
        {"through_magic_link", "proc/etc/passwd", kOut, kOut},
        {"long_component", std::string(256, 'x'), Errno::kNameTooLong,
         Errno::kNameTooLong},
    })),
    [](const auto& row) { return row.param.name; });

struct NameRow {
  std::string name;
  std::string path;
  Errno number;
  std::string last;
  bool trailing_slash;
  ConfinedName::Dots dots;
};

class Names : public testing::TestWithParam<NameRow> {};

TEST_P(Names, AreOneComponentOfADirectoryInside) {
  const Tree tree;
  const OutcomeOr<ConfinedName> found =
      FindName(tree.inside(), GetParam().path);
  ASSERT_EQ(found.ok() ? Errno::kSuccess : found.failure().number(),
            GetParam().number);
  if (!found.ok()) return;
  EXPECT_EQ(found->name, GetParam().last);
  EXPECT_EQ(found->trailing_slash, GetParam().trailing_slash);
  EXPECT_EQ(found->dots, GetParam().dots);
  EXPECT_EQ(found->parent.valid(),
            GetParam().dots == ConfinedName::Dots::kNone);
}

constexpr auto kNone = ConfinedName::Dots::kNone;
constexpr auto kOne = ConfinedName::Dots::kOne;
constexpr auto kTwo = ConfinedName::Dots::kTwo;

INSTANTIATE_TEST_SUITE_P(
    Paths, Names,
    testing::ValuesIn(std::vector<NameRow>({
        {"plain", "new", kOk, "new", false, kNone},
        {"slash", "new/", kOk, "new/", true, kNone},
        {"slashes", "new///", kOk, "new/", true, kNone},
        {"nested", "sub/deep/new", kOk, "new", false, kNone},
        {"through_link", "to_sub/new", kOk, "new", false, kNone},
        {"link_itself", "to_secret", kOk, "to_secret", false, kNone},
        {"dot", ".", kOk, ".", false, kOne},
        {"dot_slash", "sub/./", kOk, ".", true, kOne},
        {"dots_inside", "sub/..", kOk, "..", false, kTwo},
        {"dots_outside", "..", kOut, "", false, kNone},
        {"dots_outside_deeper", "sub/../..", kOut, "", false, kNone},
        {"dots_missing", "nothing/..", Errno::kNoEnt, "", false, kNone},
        {"parent_outside", "../new", kOut, "", false, kNone},
        {"parent_through_link_out", "to_outside/new", kOut, "", false, kNone},
        {"parent_through_root_link", "to_root/tmp/new", kOut, "", false, kNone},
        {"absolute", "/new", kOut, "", false, kNone},
        {"root", "///", kOut, "", false, kNone},
        {"empty", "", Errno::kNoEnt, "", false, kNone},
        {"parent_missing", "nothing/new", Errno::kNoEnt, "", false, kNone},
        {"parent_is_file", "file/new", Errno::kNotDir, "", false, kNone},
        {"nul", std::string("a\0b", 3), Errno::kInval, "", false, kNone},
    })),
    [](const auto& row) { return row.param.name; });

// A neighbour swaps a directory with a link that leads outside while lookups go
// through it. Each lookup finds the inside or fails; none finds the secret.
TEST(ConfinedPathRaceTest, NeverEscapes) {
  constexpr int kLookups = 20'000;
  constexpr int kLookupsMax = 5'000'000;
  constexpr int kSwaps = 100;
  const Tree tree;
  tree.dir().MakeDir("inside/door");
  tree.dir().MakeFile("inside/door/secret", "harmless");
  tree.dir().MakeLink("inside/spare", "../outside");
  const std::string door = tree.dir().At("inside/door");
  const std::string spare = tree.dir().At("inside/spare");

  std::atomic<bool> stop{false};
  std::atomic<int> swaps{0};
  std::thread neighbour([&] {
    while (!stop) {
      if (renameat2(AT_FDCWD, door.c_str(), AT_FDCWD, spare.c_str(),
                    RENAME_EXCHANGE) == 0) {
        ++swaps;
      }
    }
  });
  struct stat secret {};
  ASSERT_EQ(stat(tree.dir().At("outside/secret").c_str(), &secret), 0);

  int found = 0;
  int refused = 0;
  // At least so many, and on until the neighbour has done its part.
  for (int i = 0; i < kLookups || (swaps < kSwaps && i < kLookupsMax); ++i) {
    const OutcomeOr<UniqueFd> fd =
        OpenBeneath(tree.inside(), "sub/../door/secret", O_RDONLY);
    if (fd.ok()) {
      struct stat status {};
      ASSERT_EQ(fstat(fd->get(), &status), 0);
      ASSERT_NE(status.st_ino, secret.st_ino) << "escaped";
      ++found;
    } else {
      const Errno number = fd.failure().number();
      ASSERT_TRUE(number == Errno::kNotCapable || number == Errno::kAgain)
          << static_cast<int>(number);
      ++refused;
    }
    // Making and removing names goes through the door as well.
    const OutcomeOr<ConfinedName> name =
        FindName(tree.inside(), "door/planted");
    if (name.ok()) {
      UniqueFd planted(openat(name->parent.get(), name->name.c_str(),
                              O_CREAT | O_WRONLY | O_EXCL, 0600));
      unlinkat(name->parent.get(), name->name.c_str(), 0);
    }
    ASSERT_FALSE(tree.dir().Has("outside/planted"));
  }
  stop = true;
  neighbour.join();
  EXPECT_GE(swaps, kSwaps);
  EXPECT_GT(found, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
