// The sections of a policy file, compiled one by one into the content of a
// Compilation. Policies have them in the root and in every file it includes;
// what is the root's alone says so. The order of the calls is that of
// CompilePolicy.

#ifndef CALLGATE_POLICY_COMPILER_SECTIONS_H_
#define CALLGATE_POLICY_COMPILER_SECTIONS_H_

#include "policy/compiler/compilation.h"
#include "policy/file/policy_file.h"

namespace callgate::policy {

// api_version, kind and metadata.name of any file.
void CheckForm(const LoadedPolicyFile& file, Compilation& c);
// metadata, defaults and applies_to of the root.
void CompileHead(Compilation& c);
// defaults.suppression of the root.
void CompileSuppression(Compilation& c);

void CompileLists(const LoadedPolicyFile& file, Compilation& c);
void CompileMacros(const LoadedPolicyFile& file, Compilation& c);

void CompileBudgets(const LoadedPolicyFile& file, Compilation& c);
void CompileHostCallPrices(const LoadedPolicyFile& file, Compilation& c);
void CompileImports(const LoadedPolicyFile& file, Compilation& c);
void CompileRules(const LoadedPolicyFile& file, Compilation& c);
void CompileRateLimits(const LoadedPolicyFile& file, Compilation& c);
void CompileTemporal(const LoadedPolicyFile& file, Compilation& c);
void CompileAnomaly(const LoadedPolicyFile& file, Compilation& c);

// After the rules of all files.
void CompileExceptions(const LoadedPolicyFile& file, Compilation& c);

// Over all content: names, types and syntax of expressions. What depends on an
// import is found when a module brings one.
void CheckExpressions(Compilation& c);
// Over all content, which CheckExpressions found nothing wrong with: what rules
// remember, and how much.
void ShapeStates(Compilation& c);
// Over all content: imports that are listed and yet never allowed.
void WarnOfContradictions(Compilation& c);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_COMPILER_SECTIONS_H_
