#include "server/event_suppressor.h"

#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/verdict_tally.h"

namespace callgate {
namespace {

absl::Time SteadyNow() {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

EventSuppressor::EventSuppressor(events::EventLog& events,
                                 absl::Time (*clock)())
    : events_(events), clock_(clock) {}

EventSuppressor::EventSuppressor(events::EventLog& events)
    : EventSuppressor(events, SteadyNow) {}

void EventSuppressor::Sweep() { Publish(suppressor_.TakeDue(clock_())); }

void EventSuppressor::StoreEnded(absl::string_view store_id) {
  Publish(suppressor_.TakeStore(store_id));
}

void EventSuppressor::TellAll() { Publish(suppressor_.TakeAll()); }

void EventSuppressor::Publish(const std::vector<policy::HeldBack>& all) {
  for (const policy::HeldBack& held : all) {
    v1::Event event;
    event.set_kind(held.budget.empty() ? v1::EVENT_KIND_DECISION
                                       : v1::EVENT_KIND_BUDGET);
    event.set_severity(SeverityToProto(held.severity));
    event.set_tenant(held.tenant);
    event.set_store(held.store_id);
    event.set_module_digest(held.module_digest);
    event.set_verdict(VerdictToProto(held.verdict));
    if (held.would_be_verdict != held.verdict) {
      event.set_would_be_verdict(VerdictToProto(held.would_be_verdict));
    }
    event.set_mode(std::string(policy::ModeName(held.mode)));
    event.set_budget(held.budget);
    if (!held.import_name.empty() || !held.import_module.empty()) {
      event.mutable_call()->set_import_module(held.import_module);
      event.mutable_call()->set_import_name(held.import_name);
    }
    v1::Event::Rule* const rule = event.add_rules();
    rule->set_policy(held.policy);
    rule->set_policy_version(held.policy_version);
    rule->set_id(held.rule);
    rule->set_severity(SeverityToProto(held.severity));
    event.set_suppressed(held.count);
    event.set_message(absl::StrCat(
        held.count, held.overflow ? " events of several groups" : " events",
        " were held back in ", absl::FormatDuration(held.until - held.since),
        "; this is the last of them"));
    events_.Publish(std::move(event));
  }
}

}  // namespace callgate
