// Who the policy is, what holds where it says nothing, and whom it is for.

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "policy/builtin/builtin_policies.h"
#include "policy/compiler/sections.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

constexpr char kApiVersion[] = "callgate.policy/v1";
constexpr char kKind[] = "Policy";

}  // namespace

void CheckForm(const LoadedPolicyFile& file, Compilation& c) {
  const v1::PolicyFile& proto = file.proto;
  const auto check_word = [&](absl::string_view path, absl::string_view found,
                              absl::string_view want) {
    if (found == want) return;
    c.Report(
        file, found.empty() ? "" : path,
        found.empty()
            ? absl::StrCat(path, " is missing; write `", path, ": ", want, "`")
            : absl::StrCat("expected ", want, ", found ", Quote(found)));
  };
  check_word("api_version", proto.api_version(), kApiVersion);
  check_word("kind", proto.kind(), kKind);
  const std::string& name = proto.metadata().name();
  if (name.empty()) {
    c.Report(file, file.positions.contains("metadata") ? "metadata" : "",
             "metadata.name is missing; a policy has a name");
  } else if (!IsName(name, "._-")) {
    c.Report(
        file, "metadata.name",
        absl::StrCat(Quote(name), " is not a name; write 1 to ", kNameBytesMax,
                     " letters, digits, '.', '_' and '-', beginning with "
                     "a letter or digit"));
  } else if (FindBuiltinPolicy(name) != nullptr &&
             FindBuiltinPolicy(name) != &file) {
    c.Report(file, "metadata.name",
             absl::StrCat(Quote(name),
                          " is a policy that ships with callgate; choose "
                          "another name"));
  }
}

void CompileHead(Compilation& c) {
  const v1::PolicyFile& proto = c.root().proto;
  c.content().name = proto.metadata().name();
  c.content().description = proto.metadata().description();
  c.content().filename = c.root().filename;
  if (proto.defaults().mode() != v1::MODE_UNSPECIFIED) {
    c.content().mode = static_cast<Mode>(proto.defaults().mode());
  }
  if (proto.defaults().min_severity() != v1::SEVERITY_UNSPECIFIED) {
    c.content().min_severity =
        static_cast<Severity>(proto.defaults().min_severity());
  }

  Verdict unlisted = Verdict::kDeny;
  if (const v1::Action a = proto.defaults().unlisted_import();
      a != v1::ACTION_UNSPECIFIED &&
      c.CheckAction(c.root(), "defaults.unlisted_import", a,
                    {v1::ACTION_ALLOW, v1::ACTION_LOG, v1::ACTION_ALERT,
                     v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                     v1::ACTION_QUARANTINE_MODULE})) {
    unlisted = ToVerdict(a);
  }
  c.content().unlisted_import = c.OwnRule("default:unlisted_import", unlisted,
                                          "defaults.unlisted_import");
  c.content().no_allow =
      c.OwnRule("default:no_allow", Verdict::kDeny, "imports");
  c.content().bad_argument =
      c.OwnRule("default:argument", Verdict::kDeny, "imports");

  Verdict on_error = Verdict::kTrap;
  if (const v1::Action a = proto.defaults().on_engine_error();
      a != v1::ACTION_UNSPECIFIED &&
      c.CheckAction(c.root(), "defaults.on_engine_error", a,
                    {v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                     v1::ACTION_QUARANTINE_MODULE})) {
    on_error = ToVerdict(a);
  }
  c.content().on_engine_error = c.OwnRule("default:on_engine_error", on_error,
                                          "defaults.on_engine_error");
  // Whatever it does to the call, a fault of ours matters.
  c.content().on_engine_error.severity = Severity::kCritical;

  Applicability& to = c.content().applies_to;
  to.on_offer_only = !proto.has_applies_to();
  to.any_tenant = proto.applies_to().tenants().empty();
  for (int i = 0; i < proto.applies_to().tenants_size(); ++i) {
    const std::string& tenant = proto.applies_to().tenants(i);
    if (tenant == "*") {
      to.any_tenant = true;
    } else if (tenant.find('*') != std::string::npos) {
      c.Report(c.root(), absl::StrCat("applies_to.tenants[", i, "]"),
               absl::StrCat(Quote(tenant),
                            " is a pattern, and tenants are named one by one; "
                            "write a name, or * alone for every tenant"));
    }
    to.tenants.push_back(tenant);
  }
  for (const auto& label : proto.applies_to().module_labels()) {
    to.module_labels.emplace_back(label.first, label.second);
  }
  std::sort(to.module_labels.begin(), to.module_labels.end());
}
}  // namespace callgate::policy
