// Real modules on the reference engine: the standard's own conformance suite
// and command-line programs that the project did not write.
//
// They live outside the tree, in the folder that CALLGATE_CORPUS names: a
// manifest.jsonl with one JSON object for each, and the files it points at.

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <openssl/sha.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/reference/reference_engine.h"
#include "runtime/store.h"
#include "runtime/wasi/fake_guest.h"
#include "runtime/wasi/wasi.h"

namespace callgate {
namespace wasi {
namespace {

using Json = google::protobuf::Value;
using Object = google::protobuf::Struct;

// What takes longer is left to another run: the engine is slow on purpose.
constexpr absl::Duration kWall = absl::Seconds(5);

std::string CorpusDir() {
  const char* folder = std::getenv("CALLGATE_CORPUS");
  return folder == nullptr ? "" : folder;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Sha256(absl::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  // SAFETY: char and unsigned char alias; the view is read as given.
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

// The member, or a null value.
const Json& Member(const Object& object, const std::string& key) {
  static const Json& none = *new Json;
  const auto found = object.fields().find(key);
  return found == object.fields().end() ? none : found->second;
}

std::vector<Object> Items(absl::string_view wanted_class) {
  std::vector<Object> items;
  if (CorpusDir().empty()) return items;
  std::ifstream manifest(CorpusDir() + "/manifest.jsonl");
  for (std::string line; std::getline(manifest, line);) {
    Object item;
    const auto parsed =
        google::protobuf::util::JsonStringToMessage(line, &item);
    if (!parsed.ok()) std::abort();
    if (Member(item, "class").string_value() == wanted_class) {
      items.push_back(std::move(item));
    }
  }
  return items;
}

std::string TestName(const testing::TestParamInfo<Object>& row) {
  std::string name = Member(row.param, "name").string_value();
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

// How a guest ended.
struct Ended {
  absl::Status status;
  std::optional<Trap> trap;
  uint32_t exit_code = 0;
};

class CorpusTest : public testing::TestWithParam<Object> {
 protected:
  const Object& run() const { return Member(GetParam(), "run").struct_value(); }
  const Object& expect() const {
    return Member(GetParam(), "expect").struct_value();
  }

  // A fresh copy of each directory, since guests change them.
  void AddPreopens(Options& options) {
    for (const auto& [guest, folder] :
         Member(run(), "preopens").struct_value().fields()) {
      std::string source = folder.string_value();
      // Some have a remark behind the path.
      source = source.substr(0, source.find(" ("));
      const std::string copy = scratch_.At(absl::StrCat(directories_++));
      std::filesystem::copy(CorpusDir() + "/" + source, copy,
                            std::filesystem::copy_options::recursive);
      for (const auto& entry :
           std::filesystem::recursive_directory_iterator(copy)) {
        std::filesystem::permissions(entry.path(),
                                     std::filesystem::perms::owner_write,
                                     std::filesystem::perm_options::add);
      }
      std::filesystem::permissions(copy, std::filesystem::perms::owner_write,
                                   std::filesystem::perm_options::add);
      options.preopens.push_back({copy, guest});
    }
  }

  Options MakeOptions() {
    Options options;
    options.args = {"prog.wasm"};
    for (const Json& arg : Member(run(), "args").list_value().values()) {
      options.args.push_back(arg.string_value());
    }
    for (const auto& [name, value] :
         Member(run(), "env").struct_value().fields()) {
      options.env.push_back(absl::StrCat(name, "=", value.string_value()));
    }
    const std::string& stdin_file = Member(run(), "stdin_file").string_value();
    if (!stdin_file.empty()) {
      options.stdin_bytes = ReadFile(CorpusDir() + "/" + stdin_file);
    }
    AddPreopens(options);
    return options;
  }

  Ended Run(std::shared_ptr<Context> context) {
    // Real programs need more than strangers get by default.
    EngineOptions engine_options;
    engine_options.module_limits.nesting_depth = 4096;
    engine_options.module_limits.function_body_bytes = 8 << 20;
    engine_options.module_limits.memory_pages_initial = 16384;
    Limits limits;
    limits.bytes_total = 1 << 30;
    limits.call_depth = 100'000;
    const std::unique_ptr<Engine> engine = NewReferenceEngine(engine_options);
    const std::string bytes =
        ReadFile(CorpusDir() + "/" + Member(GetParam(), "path").string_value());
    // SAFETY: char and uint8_t alias, and the string outlives the call.
    const auto module = Module::Compile(
        *engine,
        {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    if (!module.ok()) return Ended{module.status(), std::nullopt};
    Store store(*engine, limits);
    Linker linker;
    absl::Status defined = AddToLinker(linker, std::move(context));
    for (const char* name : {"start", "end"}) {
      HostDefinition nothing;
      nothing.body = [](Caller&, absl::Span<const RawValue>,
                        absl::Span<RawValue>) { return nullptr; };
      defined.Update(linker.DefineFunc("bench", name, std::move(nothing)));
    }
    if (!defined.ok()) return Ended{defined, std::nullopt};
    const auto made = linker.Instantiate(store, *module, "guest");
    if (!made.ok()) return Ended{made.status(), std::nullopt};
    if (!made->instance.has_value()) return Ended{{}, made->trap};
    const auto entry = made->instance->GetFunc("_start");
    if (!entry.ok()) return Ended{entry.status(), std::nullopt};
    CallOptions call;
    call.wall = kWall;
    absl::StatusOr<CallResult> called = entry->Call({}, call);
    if (!called.ok()) return Ended{called.status(), std::nullopt};
    Ended ended;
    ended.trap = std::move(called->trap);
    if (ended.trap.has_value()) {
      const std::optional<uint32_t> code = ended.trap->exit_code();
      if (code.has_value()) {
        ended.exit_code = *code;
        ended.trap.reset();
      }
    }
    return ended;
  }

  void ExpectOutput(const std::string& output, const std::string& stream) {
    const Json& text = Member(expect(), stream);
    if (text.kind_case() == Json::kStringValue) {
      EXPECT_EQ(output, text.string_value());
    }
    const std::string digest =
        Member(expect(), stream + "_sha256").string_value();
    if (!digest.empty()) {
      EXPECT_EQ(Sha256(output), digest)
          << "it begins: " << absl::CEscape(output.substr(0, 200));
    }
  }

  void RunAndCompare() {
    absl::StatusOr<std::shared_ptr<Context>> context =
        Context::Create(MakeOptions());
    ASSERT_TRUE(context.ok()) << context.status();
    const Ended ended = Run(*context);
    const std::string output = (*context)->TakeStdout();
    const std::string errors = (*context)->TakeStderr();
    ASSERT_TRUE(ended.status.ok()) << ended.status;
    if (ended.trap.has_value() &&
        ended.trap->code() == TrapCode::kDeadlineExceeded) {
      GTEST_SKIP() << "skipped: takes more than " << kWall
                   << " on the reference engine";
    }
    ASSERT_FALSE(ended.trap.has_value()) << ended.trap->message() << "\n"
                                         << absl::CEscape(errors);
    EXPECT_EQ(ended.exit_code, Member(expect(), "exit_code").number_value())
        << absl::CEscape(errors);
    ExpectOutput(output, "stdout");
    ExpectOutput(errors, "stderr");
    for (const auto& [name, digest] :
         Member(expect(), "files_created_sha256").struct_value().fields()) {
      EXPECT_EQ(Sha256(ReadFile(scratch_.At(absl::StrCat("0/", name)))),
                digest.string_value())
          << name;
    }
  }

 private:
  ScratchDir scratch_;
  int directories_ = 0;
};

class ConformanceTest : public CorpusTest {};
class CommandTest : public CorpusTest {};

TEST_P(ConformanceTest, Passes) { RunAndCompare(); }
TEST_P(CommandTest, DoesItsJob) { RunAndCompare(); }

INSTANTIATE_TEST_SUITE_P(Suite, ConformanceTest,
                         testing::ValuesIn(Items("wasi-testsuite")), TestName);
INSTANTIATE_TEST_SUITE_P(Programs, CommandTest,
                         testing::ValuesIn(Items("wasi-command")), TestName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ConformanceTest);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CommandTest);

TEST(CorpusFolderTest, IsThere) {
  if (CorpusDir().empty()) GTEST_SKIP() << "skipped: no corpus";
  EXPECT_FALSE(Items("wasi-testsuite").empty());
  EXPECT_FALSE(Items("wasi-command").empty());
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
