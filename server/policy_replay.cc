#include "server/policy_replay.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/error_reason.h"
#include "server/policy_choice.h"

namespace callgate {
namespace {

using policies::ReplayDemand;
using policies::ReplayFindings;
using policy::Policy;
using policy::PolicySet;
using policy::trial::ReplayedStore;
using policy::trial::ReplayJudges;
using policy::trial::ReplayOptions;
using policy::trial::ReplayReport;
using policy::trial::TraceReader;

// Of the verdicts that a refusal lists.
constexpr size_t kChangesShownMax = 20;

std::string NameOf(const std::string& name_and_version) {
  return name_and_version.substr(0, name_and_version.rfind('@'));
}

// The library's status, with the reason that its code means there.
absl::Status Explain(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return WithReason(status, reason::kTraceNotFound);
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kInvalidArgument:
      return WithReason(absl::DataLossError(status.message()),
                        reason::kTraceDamaged);
    default:
      return status;
  }
}

bool IsSame(const std::shared_ptr<const Policy>& a,
            const std::shared_ptr<const Policy>& b) {
  if (a == nullptr || b == nullptr) return a == b;
  return a->version() == b->version();
}

}  // namespace

ReplayJudges JudgesWith(const PolicySet& in_force,
                        const std::shared_ptr<const Policy>& candidate,
                        bool alone, const ReplayedStore& store) {
  if (alone) return {{candidate}, false};
  ReplayJudges judges;
  bool is_in = false;
  for (const std::string& each : store.before) {
    const std::string name = NameOf(each);
    if (name == candidate->name()) {
      judges.policies.push_back(candidate);
      is_in = true;
    } else if (auto policy = in_force.Find(name)) {
      judges.policies.push_back(std::move(policy));
    } else if (name != NoPolicyLeft()->name()) {
      judges.incomplete = true;
    }
  }
  if (!is_in && candidate->AppliesTo(store.facts.tenant, store.module_labels)) {
    judges.policies.push_back(candidate);
    is_in = true;
  }
  return is_in ? judges : ReplayJudges();
}

ReplayJudges JudgesAfter(const PolicySet& before, const PolicySet& after,
                         const ReplayedStore& store) {
  const std::string& tenant = store.facts.tenant;
  ReplayJudges judges;
  bool touched = false;
  for (const std::string& each : store.before) {
    const std::string name = NameOf(each);
    if (name == NoPolicyLeft()->name()) continue;
    const auto old = before.Find(name);
    auto next = after.Find(name);
    if (old == nullptr && next == nullptr) return {};  // nobody knows it
    touched = touched || !IsSame(old, next);
    if (next == nullptr) continue;
    // One that was asked for stays as long as it may be; one that came by
    // itself goes when it is for others now.
    const bool came_by_itself =
        old != nullptr && old->AppliesTo(tenant, store.module_labels);
    if (next->AppliesTo(tenant, store.module_labels) ||
        (next->OfferedTo(tenant) && !came_by_itself)) {
      judges.policies.push_back(std::move(next));
    }
  }
  for (const auto& policy : after.policies()) {
    if (!policy->AppliesTo(tenant, store.module_labels) ||
        std::find(judges.policies.begin(), judges.policies.end(), policy) !=
            judges.policies.end()) {
      continue;
    }
    touched = touched || !IsSame(before.Find(policy->name()), policy);
    judges.policies.push_back(policy);
  }
  if (!touched) return {};
  // Its calls would be stopped, all of them.
  if (judges.policies.empty()) judges.policies.push_back(NoPolicyLeft());
  return judges;
}

std::vector<std::string> TracesOf(traces::TraceLibrary& traces,
                                  const std::string& name, absl::Time since) {
  if (!name.empty()) return {name};
  std::vector<std::string> names;
  for (const traces::TraceInfo& trace : traces.List()) {
    if (trace.recording || trace.end >= since) names.push_back(trace.name);
  }
  return names;
}

absl::Status ReplayTraces(traces::TraceLibrary& traces,
                          const std::vector<std::string>& names,
                          ReplayOptions options, ReplayReport* report) {
  for (const std::string& name : names) {
    const absl::StatusOr<TraceReader::Source> source = traces.Read(name);
    if (!source.ok()) return Explain(source.status());
    TraceReader reader(*source);
    options.trace = name;
    const absl::Status status = policy::trial::Replay(reader, options, report);
    if (absl::IsDataLoss(status) || absl::IsInvalidArgument(status)) {
      return Explain(absl::DataLossError(
          absl::StrCat("trace ", name, ": ", status.message())));
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status NoTraces() {
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, reason::kTracingOff,
      "the daemon records no traces; start it with --trace-mib, which says how "
      "many MiB of them may be kept");
}

absl::StatusOr<ReplayFindings> ReplayChange(traces::TraceLibrary* traces,
                                            const ReplayBounds& bounds,
                                            const PolicySet& before,
                                            const PolicySet& after,
                                            const ReplayDemand& demand) {
  if (traces == nullptr) return NoTraces();
  ReplayOptions options;
  if (demand.trace.empty()) options.since = absl::Now() - demand.since;
  const std::vector<std::string> names =
      TracesOf(*traces, demand.trace, options.since);
  options.judges = [&](const ReplayedStore& store) {
    return JudgesAfter(before, after, store);
  };
  ReplayReport report;
  const absl::Time latest = absl::Now() + bounds.time_max;
  bool too_many = false;
  bool too_long = false;
  options.keep_going = [&] {
    too_many = report.events > bounds.events_max;
    too_long = absl::Now() > latest;
    return !too_many && !too_long &&
           (!demand.keep_going || demand.keep_going());
  };
  const absl::Status status =
      ReplayTraces(*traces, names, std::move(options), &report);
  if (too_many || too_long || report.events > bounds.events_max) {
    return ErrorWithReason(
        absl::StatusCode::kResourceExhausted, reason::kReplayTooLong,
        absl::StrCat(
            "the replay is longer than policies may wait for: ",
            too_long ? absl::StrCat("more than ",
                                    absl::FormatDuration(bounds.time_max))
                     : absl::StrCat("more than ", bounds.events_max, " events"),
            ", after ", report.events, " events of which ", report.changed,
            " would be judged otherwise; name a shorter trace, or look at it "
            "with `callgate policy replay` and apply without"));
  }
  if (!status.ok()) return status;

  ReplayFindings findings;
  findings.events = report.events;
  findings.stores = report.stores - report.stores_skipped;
  findings.stores_left_out = report.stores_skipped;
  findings.changed = report.changed;
  findings.uncertain = report.uncertain;
  for (const policy::trial::ReplayChange& change : report.changes) {
    if (findings.changes.size() >= kChangesShownMax) break;
    findings.changes.push_back(change.ToString());
  }
  if (report.changed > demand.changed_max) {
    findings.refusal = absl::StrCat(
        report.changed, " of ", report.events,
        " recorded events would be judged otherwise, and ", demand.changed_max,
        " may be; the first: ", findings.changes.front());
  } else if (report.events == 0 && !demand.may_be_empty) {
    findings.refusal = absl::StrCat(
        demand.trace.empty()
            ? absl::StrCat("nothing that was recorded in the last ",
                           absl::FormatDuration(demand.since))
            : absl::StrCat("nothing in trace ", demand.trace),
        " is about these policies, so the replay shows nothing; record what "
        "they judge (`callgate trace record`), or apply without a replay");
  }
  return findings;
}

}  // namespace callgate
