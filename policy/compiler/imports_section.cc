#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/compiler/sections.h"
#include "policy/quote.h"
#include "runtime/call_hook.h"

namespace callgate::policy {
namespace {

void CheckAllow(const LoadedPolicyFile& file, const std::string& path,
                const v1::ImportRule& entry, Compilation& c) {
  if (entry.mode() != v1::MODE_UNSPECIFIED) {
    c.Report(file, absl::StrCat(path, ".mode"),
             "means nothing with `action: allow`; set it on entries that "
             "restrict");
  }
  if (entry.args_size() > 0) return;
  const auto unused = [&](absl::string_view field, bool set) {
    if (set) {
      c.Warn(file, absl::StrCat(path, ".", field),
             "has no effect: an entry that allows and has no args is never "
             "reported");
    }
  };
  unused("severity", entry.severity() != v1::SEVERITY_UNSPECIFIED);
  unused("tags", entry.tags_size() > 0);
  unused("message", !entry.message().empty());
}

void CheckArgument(const LoadedPolicyFile& file, const std::string& path,
                   const ArgumentRule& arg, Compilation& c) {
  const absl::string_view type = ArgKindName(*arg.kind);
  if (HasLength(*arg.kind) && !arg.len_index) {
    c.Report(file, path,
             absl::StrCat("len_index is missing; an argument of type ", type,
                          " has its length in another parameter"));
  }
  const auto misplaced = [&](absl::string_view field) {
    c.Report(file, absl::StrCat(path, ".", field),
             absl::StrCat("does not go with type ", type));
  };
  if (!HasLength(*arg.kind)) {
    if (arg.len_index) misplaced("len_index");
    if (arg.max_bytes) misplaced("max_bytes");
  }
  if (arg.dir_index && *arg.kind != ArgKind::kPath) misplaced("dir_index");
}

void CompileArguments(const LoadedPolicyFile& file,
                      const std::string& rule_path, const v1::ImportRule& entry,
                      uint32_t rule, ImportPolicy* policy, Compilation& c) {
  for (int i = 0; i < entry.args_size(); ++i) {
    const v1::ArgumentSpec& spec = entry.args(i);
    const std::string path = absl::StrCat(rule_path, ".args[", i, "]");
    ArgumentRule arg;
    arg.name = spec.name();
    arg.rule = rule;
    arg.redact = spec.redact();
    if (!IsName(spec.name(), "_")) {
      c.Report(file, path,
               spec.name().empty()
                   ? "name is missing; an argument has a name"
                   : absl::StrCat(Quote(spec.name()),
                                  " is not a name; write letters, digits and "
                                  "'_', beginning with a letter or digit"));
      continue;
    }
    if (std::any_of(
            policy->args.begin(), policy->args.end(),
            [&](const ArgumentRule& a) { return a.name == arg.name; })) {
      c.Report(file, path,
               absl::StrCat("argument ", Quote(arg.name),
                            " of this import is described already; describe "
                            "each once"));
      continue;
    }
    if (spec.has_index()) arg.index = spec.index();
    if (spec.has_len_index()) arg.len_index = spec.len_index();
    if (spec.has_dir_index()) arg.dir_index = spec.dir_index();
    if (spec.type() != v1::ARGUMENT_TYPE_UNSPECIFIED) {
      arg.kind = static_cast<ArgKind>(static_cast<int>(spec.type()) - 1);
    }
    if (spec.has_max_bytes()) {
      arg.max_bytes = spec.max_bytes();
      if (spec.max_bytes() > CallContext::kCapturedBytesMax) {
        c.Report(file, absl::StrCat(path, ".max_bytes"),
                 absl::StrCat("is ", spec.max_bytes(), "; at most ",
                              CallContext::kCapturedBytesMax));
      }
    }
    if (arg.kind) CheckArgument(file, path, arg, c);
    if (arg.kind && !arg.index) {
      c.Report(file, path,
               "index is missing; say which parameter it is, from 0");
    }
    policy->args.push_back(std::move(arg));
  }
}

}  // namespace

void CompileImports(const LoadedPolicyFile& file, Compilation& c) {
  for (int i = 0; i < file.proto.imports_size(); ++i) {
    const v1::ImportRule& entry = file.proto.imports(i);
    const std::string path = absl::StrCat("imports[", i, "]");
    const std::optional<ImportName> import =
        c.ReadImport(file, path, entry.import());
    if (entry.action() == v1::ACTION_UNSPECIFIED) {
      c.Report(file, path,
               "action is missing; allowed: allow, log, alert, throttle, deny, "
               "trap, kill_store, quarantine_module");
      continue;
    }
    if (!c.CheckAction(file, absl::StrCat(path, ".action"), entry.action(),
                       {v1::ACTION_ALLOW, v1::ACTION_LOG, v1::ACTION_ALERT,
                        v1::ACTION_THROTTLE, v1::ACTION_DENY, v1::ACTION_TRAP,
                        v1::ACTION_KILL_STORE, v1::ACTION_QUARANTINE_MODULE})) {
      continue;
    }
    const Verdict verdict = ToVerdict(entry.action());
    Rule rule = c.ReadRule(file, path, entry, verdict, kErrnoNotCapable);
    if (!entry.when().empty()) {
      rule.when = ConditionAt(file, absl::StrCat(path, ".when"), entry.when());
    }
    if (!entry.id().empty()) c.CheckId(file, path, entry.id());
    if (verdict == Verdict::kAllow) CheckAllow(file, path, entry, c);
    if (!import) continue;
    // An entry that allows speaks of its arguments alone.
    const absl::string_view prefix =
        verdict == Verdict::kAllow ? "args:" : "import:";
    rule.id =
        entry.id().empty() ? c.default_ids().Next(prefix, *import) : entry.id();

    const auto index = static_cast<uint32_t>(c.content().rules.size());
    ImportPolicy& policy = c.EntryOf(*import);
    policy.listed = true;
    if (verdict == Verdict::kAllow) {
      if (rule.when.empty()) {
        policy.allowed = true;
      } else {
        policy.conditional_allows.push_back(index);
      }
    } else {
      policy.restrictions.push_back(index);
    }
    c.rule_where().push_back({&file, path});
    c.content().rules.push_back(std::move(rule));
    CompileArguments(file, path, entry, index, &policy, c);
  }
}

void WarnOfContradictions(Compilation& c) {
  for (const ImportPolicy& import : c.content().imports) {
    const std::string name =
        FormatImportName(import.import.module, import.import.name);
    if (!import.listed) {
      if (!StopsCall(c.content().unlisted_import.verdict)) continue;
      // Then some rate limit names it.
      const auto& limits = c.content().rate_limits;
      const auto first = std::find_if(limits.begin(), limits.end(),
                                      [&](const RateLimit& limit) {
                                        return limit.import == import.import;
                                      });
      const Compilation::Place& where =
          c.limit_where()[static_cast<size_t>(first - limits.begin())];
      c.Warn(*where.file, where.path,
             absl::StrCat(name,
                          " is not listed under imports, so its calls are "
                          "refused anyway; list it with `action: allow`"));
      continue;
    }
    const bool stops =
        std::any_of(import.restrictions.begin(), import.restrictions.end(),
                    [&](uint32_t r) {
                      return StopsCall(c.content().rules[r].verdict) &&
                             c.content().rules[r].when.empty();
                    });
    if (import.allowed || stops || !import.conditional_allows.empty()) {
      continue;
    }
    if (import.restrictions.empty()) continue;
    const Compilation::Place& where =
        c.rule_where()[import.restrictions.front()];
    c.Warn(*where.file, where.path,
           absl::StrCat(name,
                        " is listed and no entry allows it, so it is denied; "
                        "add an entry with `action: allow` beside this one"));
  }
}
}  // namespace callgate::policy
