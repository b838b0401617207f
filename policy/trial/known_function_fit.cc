#include "policy/trial/known_function_fit.h"

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/import_name.h"
#include "runtime/value.h"

namespace callgate::policy::trial {
namespace {

// A name that no policy can mean: the NUL makes it so.
constexpr absl::string_view kNobodysName("\0", 1);

using Place = std::tuple<std::string, int, int>;  // file, line, column

Place PlaceOf(const Problem& problem) {
  return {problem.file, problem.line, problem.column};
}

struct Misfit {
  Problem first;
  std::string function;
  size_t others = 0;
};

}  // namespace

LinkFindings FitToKnownFunctions(const Policy& policy,
                                 const FunctionCatalogue& functions) {
  // What a rule has to say of a function that nothing is known of, it says of
  // all functions.
  const FuncType no_type;
  std::set<Place> about_all;
  for (const Problem& problem :
       policy.CheckAgainst({{kNobodysName, kNobodysName, &no_type, nullptr}})
           .problems) {
    about_all.insert(PlaceOf(problem));
  }

  std::map<Place, Misfit> misfits;
  for (const ImportName& name : functions.Names()) {
    const FunctionCatalogue::Function function =
        functions.Find(name.module, name.name);
    const LinkFindings findings = policy.CheckAgainst(
        {{name.module, name.name, function.type, function.spec}});
    std::set<Place> here;
    for (const Problem& problem : findings.problems) {
      const Place place = PlaceOf(problem);
      if (!here.insert(place).second) continue;
      const auto [misfit, is_new] = misfits.try_emplace(place);
      if (is_new) {
        misfit->second.first = problem;
        misfit->second.function = FormatImportName(name.module, name.name);
      } else {
        ++misfit->second.others;
      }
    }
  }

  LinkFindings out;
  for (auto& [place, misfit] : misfits) {
    if (about_all.count(place) == 0) {
      out.problems.push_back(std::move(misfit.first));
      continue;
    }
    Problem warning = std::move(misfit.first);
    std::string which = misfit.function;
    if (misfit.others > 0) {
      absl::StrAppend(&which, " or one of ", misfit.others, " other functions");
    }
    warning.message =
        absl::StrCat("a module that imports ", which,
                     " will be refused, since the rule is about it as well: ",
                     warning.message);
    out.warnings.push_back(std::move(warning));
  }
  return out;
}

}  // namespace callgate::policy::trial
