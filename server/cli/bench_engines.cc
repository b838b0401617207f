#include "server/cli/bench_engines.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "runtime/check.h"
#include "runtime/native/hosted_engine.h"
#include "runtime/native/native_code.h"
#include "runtime/reference/reference_engine.h"
#include "server/cli/quoted.h"

namespace callgate::cli {
namespace {

OrFailure<BenchEngine> NewReference(const EngineChoice& choice) {
  if (!choice.level.empty()) {
    return WrongUsage(
        absl::StrCat("--level ", Quoted(choice.level),
                     ": the reference engine interprets and has no levels; "
                     "leave it out"));
  }
  const std::shared_ptr<Engine> engine = NewReferenceEngine();
  BenchEngine made;
  made.owner = engine;
  made.engine = engine.get();
  return made;
}

// A folder of this process's own; gone with it.
class ScratchFolder {
 public:
  // Nothing where none can be made. In memory if possible, since a disk is not
  // what is measured.
  static std::unique_ptr<ScratchFolder> Make() {
    for (std::string path :
         {"/dev/shm/callgate-bench-XXXXXX", "/tmp/callgate-bench-XXXXXX"}) {
      if (mkdtemp(path.data()) == nullptr) continue;
      std::unique_ptr<ScratchFolder> made(new ScratchFolder);
      made->path_ = std::move(path);
      return made;
    }
    return nullptr;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  ScratchFolder() = default;
  std::string path_;
};

uint64_t NativeCodeBytes(const Module& module) {
  const auto* code = dynamic_cast<const native::NativeCode*>(&module.code());
  CALLGATE_CHECK(code != nullptr, "the native engine made this module");
  return code->module()->current()->loaded()->code_bytes();
}

OrFailure<BenchEngine> NewNative(const EngineChoice& choice) {
  // In this order: the engine's cache lives in the folder.
  struct Owner {
    std::unique_ptr<ScratchFolder> folder = ScratchFolder::Make();
    std::unique_ptr<HostedEngine> hosted;
  };
  const auto owner = std::make_shared<Owner>();
  if (owner->folder == nullptr) {
    return FailureOf(absl::UnavailableError(
        "cannot make a folder for machine code in /dev/shm or /tmp"));
  }
  BenchEngine made;
  made.level = choice.level.empty() ? "baseline" : choice.level;
  HostedEngineOptions options;
  options.level = made.level == "optimised" ? native::Level::kOptimised
                                            : native::Level::kBaseline;
  options.fuel = choice.fuel;
  // What is measured must not change meanwhile.
  options.optimise_in_background = false;
  options.cache_folder = owner->folder->path();
  options.service.spares = 1;
  absl::StatusOr<std::unique_ptr<HostedEngine>> hosted =
      HostedEngine::Start(std::move(options));
  if (!hosted.ok()) return FailureOf(hosted.status());
  owner->hosted = *std::move(hosted);
  made.owner = owner;
  made.engine = &owner->hosted->engine();
  made.code_bytes = NativeCodeBytes;
  made.keeps_code = true;
  // A daemon's compiler is up long before a module comes. The empty module
  // waits for this one's.
  constexpr uint8_t kEmptyModule[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
  const auto warm = Module::Compile(*made.engine, kEmptyModule);
  if (!warm.ok()) return FailureOf(warm.status());
  return made;
}

struct NamedEngine {
  absl::string_view name;
  OrFailure<BenchEngine> (*make)(const EngineChoice& choice);
};

constexpr NamedEngine kEngines[] = {
    {"native", NewNative},
    {"reference", NewReference},
};

}  // namespace

OrFailure<BenchEngine> NewEngineByName(const EngineChoice& choice) {
  std::vector<absl::string_view> names;
  for (const NamedEngine& each : kEngines) {
    if (each.name == choice.engine) return each.make(choice);
    names.push_back(each.name);
  }
  return WrongUsage(absl::StrCat("--engine ", Quoted(choice.engine),
                                 ": this build has ",
                                 absl::StrJoin(names, ", ")));
}

}  // namespace callgate::cli
