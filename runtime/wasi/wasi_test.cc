#include "runtime/wasi/wasi.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/wasi/fake_guest.h"

namespace callgate {
namespace wasi {
namespace {

// wide/            tenant/inner/   file   to_other -> ../other
// other/
class World {
 public:
  World() {
    dir.MakeDir("wide");
    dir.MakeDir("wide/tenant");
    dir.MakeDir("wide/tenant/inner");
    dir.MakeFile("wide/file", "");
    dir.MakeDir("other");
    dir.MakeDir("widest");
    dir.MakeLink("wide/to_other", "../other");
    dir.MakeLink("wide/to_tenant", "tenant");
  }
  ScratchDir dir;
};

struct Row {
  std::string name;
  std::function<void(const World&, Options&)> change;
  absl::StatusCode code;
  // In the message.
  std::vector<std::string> says;
};

class Create : public testing::TestWithParam<Row> {};

TEST_P(Create, RefusesByName) {
  const World world;
  Options options;
  GetParam().change(world, options);
  const absl::StatusOr<std::shared_ptr<Context>> context =
      Context::Create(std::move(options));
  EXPECT_EQ(context.status().code(), GetParam().code) << context.status();
  for (const std::string& part : GetParam().says) {
    EXPECT_TRUE(absl::StrContains(context.status().message(), part))
        << context.status();
  }
}

Preopen In(const World& world, const char* path, const char* inside = "") {
  Preopen preopen{world.dir.At(path), "/data"};
  if (*inside != '\0') preopen.inside = world.dir.At(inside);
  return preopen;
}

constexpr auto kOk = absl::StatusCode::kOk;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;

INSTANTIATE_TEST_SUITE_P(Rows, Create,
                         testing::
                             ValuesIn(
                                 std::vector<Row>(
                                     {
                                         {"nothing",
                                          [](const World&, Options&) {},
                                          kOk,
                                          {}},
                                         {"nul_in_argument",
                                          [](const World&, Options& o) {
                                            o.args = {"ok",
                                                      std::string("a\0b", 3)};
                                          },
                                          kInvalid,
                                          {"argument 1", "NUL"}},
                                         {"nul_in_environment",
                                          [](const World&, Options& o) {
                                            o.env = {std::string("a=\0", 3)};
                                          },
                                          kInvalid,
                                          {"environment variable 0", "NUL"}},
                                         {"no_equals",
                                          [](const World&, Options& o) {
                                            o.env = {"A=1", "B"};
                                          },
                                          kInvalid,
                                          {"environment variable 1",
                                           "NAME=value"}},
                                         {"no_name",
                                          [](const World&, Options& o) {
                                            o.env = {"=1"};
                                          },
                                          kInvalid,
                                          {"environment variable 0",
                                           "NAME=value"}},
                                         {"strings_at_the_limit",
                                          [](const World&, Options& o) {
                                            o.args = {std::string((1 << 20) - 1,
                                                                  'x')};
                                          },
                                          kOk,
                                          {}},
                                         {"strings_past_the_limit",
                                          [](const World&, Options& o) {
                                            o.args = {
                                                std::string((1 << 20) - 2, 'x'),
                                                ""};
                                            o.env = {"A="};
                                          },
                                          kInvalid,
                                          {"1048579", "1048576"}},
                                         {"two_inputs",
                                          [](const World&, Options& o) {
                                            o.stdin_bytes = "x";
                                            o.stdin_fd = 0;
                                          },
                                          kInvalid,
                                          {"standard input"}},
                                         {"no_resolution",
                                          [](const World&, Options& o) {
                                            o.clock_resolution =
                                                absl::ZeroDuration();
                                          },
                                          kInvalid,
                                          {"clock_resolution"}},
                                         {"missing_directory",
                                          [](const World& w, Options& o) {
                                            o.preopens = {In(w, "nothing")};
                                          },
                                          absl::StatusCode::kNotFound,
                                          {"/nothing\"", "\"/data\"",
                                           "does not exist"}},
                                         {"file_for_directory",
                                          [](const World& w, Options& o) {
                                            o.preopens = {In(w, "wide/file")};
                                          },
                                          kInvalid,
                                          {"/wide/file\"", "not a directory"}},
                                         {"no_guest_name",
                                          [](const World& w, Options& o) {
                                            o.preopens = {{w.dir.path(), ""}};
                                          },
                                          kInvalid,
                                          {"guest's name", "1 to 255"}},
                                         {"no_host_directory",
                                          [](const World&, Options& o) {
                                            o.preopens = {{"", "/x"}};
                                          },
                                          kInvalid,
                                          {"\"/x\"", "empty"}},
                                         {"same_guest_name",
                                          [](const World& w, Options& o) {
                                            o.preopens = {In(w, "wide"),
                                                          In(w, "other")};
                                          },
                                          kInvalid,
                                          {"two directories", "\"/data\""}},
                                         {"too_many",
                                          [](const World& w, Options& o) {
                                            for (int i = 0; i < 65; ++i) {
                                              o.preopens.push_back(
                                                  {w.dir.path(),
                                                   absl::StrCat("/", i)});
                                            }
                                          },
                                          kInvalid,
                                          {"65", "64"}},
                                         {"as_many_as_allowed",
                                          [](const World& w, Options& o) {
                                            for (int i = 0; i < 64; ++i) {
                                              o.preopens.push_back(
                                                  {w.dir.path(),
                                                   absl::StrCat("/", i)});
                                            }
                                          },
                                          kOk,
                                          {}},
                                         {"inside",
                                          [](const World& w, Options& o) {
                                            o.preopens = {
                                                In(w, "wide/tenant/inner",
                                                   "wide")};
                                          },
                                          kOk,
                                          {}},
                                         {"inside_itself",
                                          [](const World& w, Options& o) {
                                            o.preopens = {
                                                In(w, "wide", "wide")};
                                          },
                                          kOk,
                                          {}},
                                         {"inside_slashes",
                                          [](const World& w, Options& o) {
                                            o.preopens = {In(w, "wide//tenant/",
                                                             "wide/")};
                                          },
                                          kOk,
                                          {}},
                                         {"inside_root",
                                          [](const World& w, Options& o) {
                                            o.preopens = {In(w, "wide")};
                                            o.preopens[0].inside = "/";
                                          },
                                          kOk,
                                          {}},
                                         {"inside_by_link",
                                          [](const World& w, Options& o) {
                                            o.preopens = {In(
                                                w, "wide/to_tenant", "wide")};
                                          },
                                          kOk,
                                          {}},
                                         {"beside",
                                          [](const World& w, Options& o) {
                                            o.preopens = {
                                                In(w, "other", "wide")};
                                          },
                                          kDenied,
                                          {"/other\"", "not inside",
                                           "/wide\""}},
                                         {"longer_name",
                                          [](const World& w, Options& o) {
                                            o.preopens = {
                                                In(w, "widest", "wide")};
                                          },
                                          kDenied,
                                          {"not inside"}},
                                         {"dots_out",
                                          [](const World& w, Options& o) {
                                            o.preopens = {
                                                In(w, "wide/../other", "wide")};
                                          },
                                          kDenied,
                                          {"not inside"}},
                                         {"link_out",
                                          [](const World& w, Options& o) {
                                            o.preopens = {
                                                In(w, "wide/to_other", "wide")};
                                          },
                                          kDenied,
                                          {"not inside"}},
                                     })),
                         [](const auto& row) { return row.param.name; });

TEST(AddToLinkerTest, DefinesTheStandardAndNothingElse) {
  absl::StatusOr<std::shared_ptr<Context>> context = Context::Create({});
  ASSERT_TRUE(context.ok());
  Linker linker;
  ASSERT_TRUE(AddToLinker(linker, *context).ok());
  for (const FunctionInfo& info : AllFunctions()) {
    EXPECT_TRUE(linker.Defines("wasi_snapshot_preview1", info.name));
    EXPECT_FALSE(linker.Defines("wasi_unstable", info.name));
  }
  EXPECT_FALSE(linker.Defines("wasi_snapshot_preview1", "sock_open"));
  EXPECT_EQ(AddToLinker(linker, *context).code(),
            absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
