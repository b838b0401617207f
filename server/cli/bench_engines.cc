#include "server/cli/bench_engines.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
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
  BenchEngine made;
  made.engine = NewReferenceEngine();
  return made;
}

struct NamedEngine {
  absl::string_view name;
  OrFailure<BenchEngine> (*make)(const EngineChoice& choice);
};

constexpr NamedEngine kEngines[] = {
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
