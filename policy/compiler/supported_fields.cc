#include "policy/compiler/supported_fields.h"

#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"

namespace callgate::policy {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Paths without indices. A message is listed as well as what is done of it.
const absl::flat_hash_set<absl::string_view>& SupportedPaths() {
  static const auto* const paths = new absl::flat_hash_set<absl::string_view>{
      "api_version",
      "kind",
      "metadata",
      "metadata.name",
      "metadata.description",
      "metadata.owner",
      "metadata.labels",
      "applies_to",
      "applies_to.tenants",
      "applies_to.module_labels",
      "include",
      "defaults",
      "defaults.mode",
      "defaults.unlisted_import",
      "defaults.on_engine_error",
      "defaults.min_severity",
      "defaults.suppression",
      "defaults.suppression.burst",
      "defaults.suppression.period",
      "defaults.suppression.group_by",
      "budgets",
      "budgets.fuel_per_call",
      "budgets.fuel_per_store",
      "budgets.wall_per_call",
      "budgets.memory_bytes_total",
      "budgets.table_elements_total",
      "budgets.call_depth",
      "budgets.cpu_per_call",
      "budgets.stack_bytes",
      "budgets.events_per_call",
      "budgets.host_call_price",
      "budgets.host_call_price.import",
      "budgets.host_call_price.base",
      "budgets.host_call_price.per_byte",
      "budgets.host_calls_per_call",
      "budgets.host_bytes_per_call",
      "budgets.open_handles",
      "budgets.on_exceed",
      "budgets.module",
      "budgets.module.bytes",
      "budgets.module.functions",
      "budgets.module.imports",
      "budgets.module.exports",
      "budgets.module.types",
      "budgets.module.locals_per_function",
      "budgets.module.locals_total",
      "budgets.module.params_per_function",
      "budgets.module.nesting_depth",
      "budgets.module.br_table_targets",
      "budgets.module.function_body_bytes",
      "budgets.module.memories",
      "budgets.module.memory_pages_initial",
      "budgets.module.tables",
      "budgets.module.table_elements_initial",
      "budgets.module.globals",
      "budgets.module.data_segments",
      "budgets.module.element_segments",
      "budgets.module.custom_section_bytes",
      "budgets.module.name_bytes",
      "budgets.module.results_per_function",
      "budgets.module.element_segment_items_total",
      "imports",
      "imports.import",
      "imports.action",
      "imports.guest_errno",
      "imports.severity",
      "imports.id",
      "imports.mode",
      "imports.tags",
      "imports.message",
      "imports.description",
      "imports.when",
      "imports.throttle",
      "imports.throttle.base_delay",
      "imports.throttle.factor",
      "imports.throttle.max_delay",
      "imports.throttle.cool_down",
      "imports.args",
      "imports.args.name",
      "imports.args.index",
      "imports.args.type",
      "imports.args.len_index",
      "imports.args.dir_index",
      "imports.args.max_bytes",
      "imports.args.redact",
      "lists",
      "lists.name",
      "lists.kind",
      "lists.items",
      "macros",
      "macros.name",
      "macros.when",
      "rules",
      "rules.id",
      "rules.description",
      "rules.event",
      "rules.when",
      "rules.action",
      "rules.guest_errno",
      "rules.severity",
      "rules.tags",
      "rules.message",
      "rules.throttle",
      "rules.throttle.base_delay",
      "rules.throttle.factor",
      "rules.throttle.max_delay",
      "rules.throttle.cool_down",
      "rules.mode",
      "rules.enabled",
      "rules.function",
      "exceptions",
      "exceptions.rule",
      "exceptions.name",
      "exceptions.fields",
      "exceptions.comps",
      "exceptions.values",
      "exceptions.values.v",
      "exceptions.reason",
      "exceptions.expires",
      "rate_limits",
      "rate_limits.id",
      "rate_limits.import",
      "rate_limits.when",
      "rate_limits.cost",
      "rate_limits.max_keys",
      "rate_limits.key",
      "rate_limits.refill_per_second",
      "rate_limits.burst",
      "rate_limits.action",
      "rate_limits.guest_errno",
      "rate_limits.severity",
      "rate_limits.mode",
      "rate_limits.tags",
      "rate_limits.message",
      "rate_limits.description",
      "rate_limits.throttle",
      "rate_limits.throttle.base_delay",
      "rate_limits.throttle.factor",
      "rate_limits.throttle.max_delay",
      "rate_limits.throttle.cool_down",
      "anomaly",
      "anomaly.id",
      "anomaly.description",
      "anomaly.alphabet",
      "anomaly.ngram",
      "anomaly.locality_frame",
      "anomaly.max_ngrams",
      "anomaly.profile_key",
      "anomaly.when_no_profile",
      "anomaly.learning",
      "anomaly.learning.state",
      "anomaly.learning.min_calls",
      "anomaly.learning.min_runs",
      "anomaly.learning.stable_novelty",
      "anomaly.learning.max_time",
      "anomaly.learning.freeze_on_stable",
      "anomaly.learning.require_approval",
      "anomaly.thresholds",
      "anomaly.thresholds.when",
      "anomaly.thresholds.action",
      "anomaly.thresholds.severity",
      "anomaly.thresholds.guest_errno",
      "anomaly.thresholds.throttle",
      "anomaly.thresholds.throttle.base_delay",
      "anomaly.thresholds.throttle.factor",
      "anomaly.thresholds.throttle.max_delay",
      "anomaly.thresholds.throttle.cool_down",
      "anomaly.frequency",
      "anomaly.frequency.ewma_alpha",
      "anomaly.frequency.z_score",
      "anomaly.frequency.min_samples",
      "anomaly.frequency.action",
      "anomaly.frequency.severity",
      "anomaly.frequency.guest_errno",
      "anomaly.frequency.throttle",
      "anomaly.frequency.throttle.base_delay",
      "anomaly.frequency.throttle.factor",
      "anomaly.frequency.throttle.max_delay",
      "anomaly.frequency.throttle.cool_down",
      "anomaly.mode",
      "anomaly.callsite_functions",
      "tests",
      "tests.name",
      "tests.description",
      "tests.start",
      "tests.stores",
      "tests.stores.name",
      "tests.stores.tenant",
      "tests.stores.module_name",
      "tests.stores.module_digest",
      "tests.events",
      "tests.events.at",
      "tests.events.import",
      "tests.events.args",
      "tests.events.result",
      "tests.events.sizes",
      "tests.events.outside",
      "tests.events.store",
      "tests.events.index",
      "tests.events.memory_bytes",
      "tests.events.fuel_used",
      "tests.events.depth",
      "tests.events.repeat",
      "tests.events.every",
      "tests.events.site",
      "tests.events.caller",
      "tests.events.new_call",
      "tests.events.event",
      "tests.events.current",
      "tests.events.desired",
      "tests.events.results",
      "tests.events.function",
      "tests.events.score",
      "tests.events.score.frame",
      "tests.events.score.novel",
      "tests.events.score.strange",
      "tests.events.score.recent",
      "tests.events.score.total",
      "tests.events.score.calls",
      "tests.events.score.share_z",
      "tests.events.engine_error",
      "tests.expect",
      "tests.expect.event",
      "tests.expect.verdict",
      "tests.expect.rules",
      "tests.expect.no_rules",
      "tests.expect.not_rules",
      "tests.expect.would_be",
      "tests.expect.guest_errno",
      "tests.expect.delay",
      "tests.expect.message",
      "tests.expect.time",
      "temporal",
      "temporal.id",
      "temporal.description",
      "temporal.sequence",
      "temporal.sequence.steps",
      "temporal.sequence.steps.as",
      "temporal.sequence.steps.when",
      "temporal.sequence.steps.attempts",
      "temporal.sequence.unless",
      "temporal.sequence.unless.as",
      "temporal.sequence.unless.when",
      "temporal.sequence.unless.attempts",
      "temporal.sequence.within",
      "temporal.sequence.max_partial",
      "temporal.require",
      "temporal.require.when",
      "temporal.require.formerly",
      "temporal.require.formerly.as",
      "temporal.require.formerly.when",
      "temporal.require.formerly.attempts",
      "temporal.require.within",
      "temporal.require.max_events",
      "temporal.count",
      "temporal.count.when",
      "temporal.count.within",
      "temporal.count.gte",
      "temporal.count.key",
      "temporal.count.max_keys",
      "temporal.distinct",
      "temporal.distinct.when",
      "temporal.distinct.value",
      "temporal.distinct.within",
      "temporal.distinct.gte",
      "temporal.distinct.key",
      "temporal.distinct.max_keys",
      "temporal.distinct.max_values",
      "temporal.sum",
      "temporal.sum.when",
      "temporal.sum.value",
      "temporal.sum.within",
      "temporal.sum.gte",
      "temporal.sum.count_in_flight",
      "temporal.sum.key",
      "temporal.sum.max_keys",
      "temporal.scope",
      "temporal.action",
      "temporal.guest_errno",
      "temporal.severity",
      "temporal.tags",
      "temporal.message",
      "temporal.throttle",
      "temporal.throttle.base_delay",
      "temporal.throttle.factor",
      "temporal.throttle.max_delay",
      "temporal.throttle.cool_down",
      "temporal.mode",
      "temporal.on_overflow",
  };
  return *paths;
}

}  // namespace

std::vector<Problem> FindUnsupportedFields(const LoadedPolicyFile& file) {
  std::vector<Problem> problems;
  struct Pending {
    const Message* message;
    std::string pattern;  // without indices
    std::string path;
  };
  std::vector<Pending> pending = {{&file.proto, "", ""}};
  while (!pending.empty() && problems.size() < kProblemsMax) {
    const Pending at = std::move(pending.back());
    pending.pop_back();
    const Reflection& reflection = *at.message->GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(*at.message, &fields);
    for (const FieldDescriptor* field : fields) {
      const auto below = [&](const std::string& parent) {
        return parent.empty() ? field->name()
                              : absl::StrCat(parent, ".", field->name());
      };
      const std::string pattern = below(at.pattern);
      const std::string path = below(at.path);
      if (!SupportedPaths().contains(pattern)) {
        const SourcePosition where = file.PositionOf(path);
        problems.push_back({file.filename, where.line, where.column,
                            absl::StrCat(path, ": not supported yet")});
        continue;
      }
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE ||
          field->is_map() ||
          field->message_type() == google::protobuf::Duration::descriptor()) {
        continue;
      }
      if (!field->is_repeated()) {
        pending.push_back(
            {&reflection.GetMessage(*at.message, field), pattern, path});
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(*at.message, field); ++i) {
        pending.push_back(
            {&reflection.GetRepeatedMessage(*at.message, field, i), pattern,
             absl::StrCat(path, "[", i, "]")});
      }
    }
  }
  return problems;
}

}  // namespace callgate::policy
