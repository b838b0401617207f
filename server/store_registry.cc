#include "server/store_registry.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/check.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

// Tenants whose memory has a gauge; metrics folds what is over its own cap.
constexpr size_t kMemoryGaugesMax = 10'000;

bool HasEnded(SessionState state) {
  return state != SessionState::kIdle && state != SessionState::kRunning;
}

EndReason ReasonOf(SessionState state, EndReason asked) {
  switch (state) {
    case SessionState::kPolicyKilled:
      return asked == EndReason::kPolicyQuarantined
                 ? EndReason::kPolicyQuarantined
                 : EndReason::kPolicyKilled;
    case SessionState::kExited:
      return EndReason::kFinished;
    default:
      return asked == EndReason::kNone ? EndReason::kFailed : asked;
  }
}

}  // namespace

absl::string_view EndReasonName(EndReason reason) {
  switch (reason) {
    case EndReason::kNone:
      return "none";
    case EndReason::kFinished:
      return "finished";
    case EndReason::kKilled:
      return "killed";
    case EndReason::kPolicyKilled:
      return "policy_killed";
    case EndReason::kPolicyQuarantined:
      return "policy_quarantined";
    case EndReason::kIdle:
      return "idle";
    case EndReason::kDraining:
      return "draining";
    case EndReason::kFailed:
      return "failed";
  }
  return "none";
}

StoreEntry::StoreEntry(Facts facts, ModuleLibrary::Use use,
                       std::unique_ptr<StoreWatcher> watcher,
                       std::unique_ptr<Session> session)
    : facts_(std::move(facts)),
      watcher_(std::move(watcher)),
      session_(session.release(),
               [watcher = watcher_](Session* ended) { delete ended; }),
      use_(std::make_unique<ModuleLibrary::Use>(std::move(use))) {}

std::shared_ptr<Session> StoreEntry::session() const {
  const absl::MutexLock lock(&mu_);
  return session_;
}

std::vector<std::string> StoreEntry::policies() const {
  const absl::MutexLock lock(&mu_);
  return session_ == nullptr ? last_policies_ : session_->policy_names();
}

void StoreEntry::PublishLifecycle(absl::string_view action,
                                  v1::EventSeverity severity,
                                  absl::string_view message) {
  watcher_->PublishLifecycle(action, severity, message);
}

SessionFacts StoreEntry::state() const {
  const absl::MutexLock lock(&mu_);
  return session_ == nullptr ? last_ : session_->facts();
}

absl::Status StoreEntry::EndedStatus() const {
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, reason::kStoreEnded,
      absl::StrCat("Store ", facts_.id, " has ended: ", state().end_reason,
                   "; make a new one"));
}

StoreRegistry::StoreRegistry(size_t live_max, events::EventLog& events,
                             metrics::Metrics& metrics)
    : live_max_(live_max),
      events_(events),
      metrics_(metrics),
      suppressor_(events) {}

std::string StoreRegistry::NewId() {
  unsigned char bytes[8];
  CALLGATE_CHECK(getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes),
                 "the kernel gives 8 random bytes at once");
  // SAFETY: any object may be read as char.
  return absl::StrCat(
      "s-", absl::BytesToHexString(absl::string_view(
                reinterpret_cast<const char*>(bytes), sizeof(bytes))));
}

StoreRegistry::Slot::~Slot() {
  if (registry_ == nullptr) return;
  const absl::MutexLock lock(&registry_->mu_);
  --registry_->live_;
}

absl::StatusOr<StoreRegistry::Slot> StoreRegistry::Reserve() {
  const absl::MutexLock lock(&mu_);
  if (live_ >= live_max_) {
    return ErrorWithReason(
        absl::StatusCode::kResourceExhausted, reason::kTooManyStores,
        absl::StrCat(live_,
                     " Stores live, the maximum (--max-stores); kill "
                     "one or try again later"));
  }
  ++live_;
  return Slot(this);
}

void StoreRegistry::Add(Slot slot, const std::shared_ptr<StoreEntry>& entry) {
  slot.registry_ = nullptr;  // the entry has the room now
  {
    const absl::MutexLock lock(&mu_);
    entries_[{entry->facts().tenant, entry->facts().id}] = entry;
  }
  entry->watcher_->PublishLifecycle("store_created", v1::EVENT_SEVERITY_INFO,
                                    "");
}

absl::StatusOr<std::shared_ptr<StoreEntry>> StoreRegistry::Find(
    absl::string_view tenant, absl::string_view id) const {
  const absl::MutexLock lock(&mu_);
  const auto found = entries_.find({std::string(tenant), std::string(id)});
  if (found == entries_.end()) {
    return ErrorWithReason(absl::StatusCode::kNotFound, reason::kStoreNotFound,
                           "there is no such Store; it may have ended long "
                           "ago, or before the daemon started");
  }
  return found->second;
}

std::vector<std::shared_ptr<StoreEntry>> StoreRegistry::List(
    absl::string_view tenant, size_t page_size, absl::string_view after) const {
  std::vector<std::shared_ptr<StoreEntry>> page;
  const absl::MutexLock lock(&mu_);
  auto next = entries_.upper_bound({std::string(tenant), std::string(after)});
  for (; next != entries_.end() && next->first.first == tenant &&
         page.size() < page_size;
       ++next) {
    page.push_back(next->second);
  }
  return page;
}

void StoreRegistry::End(const std::shared_ptr<StoreEntry>& entry,
                        EndReason reason, absl::string_view message) {
  std::shared_ptr<Session> session;
  {
    const absl::MutexLock lock(&entry->mu_);
    session = entry->session_;
    if (session == nullptr) return;
    if (entry->asked_ == EndReason::kNone) entry->asked_ = reason;
  }
  session->Kill(message);
  Settle(entry);
}

void StoreRegistry::Settle(const std::shared_ptr<StoreEntry>& entry) {
  // Destroyed last, outside the locks: a Store's memory takes a while to go.
  std::shared_ptr<Session> over;
  std::unique_ptr<ModuleLibrary::Use> use;
  EndReason why = EndReason::kNone;
  std::string message;
  {
    const absl::MutexLock lock(&entry->mu_);
    if (entry->session_ == nullptr) return;
    SessionFacts facts = entry->session_->facts();
    // While a call runs it uses the Session; its end brings us here again.
    if (!HasEnded(facts.state) || facts.busy) return;
    why = ReasonOf(facts.state, entry->asked_);
    message = facts.end_reason;
    entry->last_ = std::move(facts);
    entry->last_policies_ = entry->session_->policy_names();
    over = std::move(entry->session_);
    entry->session_ = nullptr;
    use = std::move(entry->use_);
  }
  metrics_.CountStoreTermination(EndReasonName(why));
  suppressor_.StoreEnded(entry->facts().id);
  entry->watcher_->PublishLifecycle(
      "store_ended",
      why == EndReason::kPolicyKilled || why == EndReason::kPolicyQuarantined
          ? v1::EVENT_SEVERITY_WARNING
          : v1::EVENT_SEVERITY_INFO,
      absl::StrCat(EndReasonName(why), message.empty() ? "" : ": ", message));
  events_.ForgetStore(entry->facts().id);

  const Key key(entry->facts().tenant, entry->facts().id);
  const absl::MutexLock lock(&mu_);
  --live_;
  if (entry->facts().transient) {
    entries_.erase(key);
    return;
  }
  ended_.push_back(key);
  if (ended_.size() > kEndedMax) {
    entries_.erase(ended_.front());
    ended_.pop_front();
  }
}

std::vector<std::shared_ptr<StoreEntry>> StoreRegistry::Live() const {
  std::vector<std::shared_ptr<StoreEntry>> live;
  const absl::MutexLock lock(&mu_);
  for (const auto& [key, entry] : entries_) {
    const absl::MutexLock entry_lock(&entry->mu_);
    if (entry->session_ != nullptr) live.push_back(entry);
  }
  return live;
}

std::vector<std::string> StoreRegistry::JudgedBy(
    absl::string_view policy) const {
  const std::string prefix = absl::StrCat(policy, "@");
  std::vector<std::string> ids;
  for (const auto& entry : Live()) {
    for (const std::string& name : entry->policies()) {
      if (!absl::StartsWith(name, prefix)) continue;
      ids.push_back(entry->facts().id);
      break;
    }
  }
  return ids;
}

void StoreRegistry::EndModule(absl::string_view tenant,
                              absl::string_view digest, EndReason reason,
                              absl::string_view message) {
  for (const auto& entry : Live()) {
    if (entry->facts().tenant == tenant &&
        entry->facts().module_digest == digest) {
      End(entry, reason, message);
    }
  }
}

void StoreRegistry::EndAll(EndReason reason, absl::string_view message) {
  for (const auto& entry : Live()) End(entry, reason, message);
}

void StoreRegistry::EndIdle(absl::Time before) {
  for (const auto& entry : Live()) {
    const SessionFacts facts = entry->state();
    if (facts.state == SessionState::kIdle && facts.last_used < before) {
      End(entry, EndReason::kIdle, "nobody called it for too long");
    }
  }
}

void StoreRegistry::CollectReplaced() {
  for (const auto& entry : Live()) {
    if (const std::shared_ptr<Session> session = entry->session()) {
      session->CollectReplaced();
    }
  }
}

size_t StoreRegistry::running() const {
  size_t count = 0;
  for (const auto& entry : Live())
    if (entry->state().busy) ++count;
  return count;
}

void StoreRegistry::RefreshGauges() {
  uint64_t idle = 0;
  uint64_t running = 0;
  std::map<std::string, uint64_t> memory;
  for (const auto& entry : Live()) {
    const SessionFacts facts = entry->state();
    ++(facts.busy ? running : idle);
    memory[entry->facts().tenant] += facts.memory_bytes;
  }
  metrics_.SetStores("idle", idle);
  metrics_.SetStores("running", running);
  const absl::MutexLock lock(&mu_);
  for (auto& [tenant, bytes] : memory_gauges_) bytes = 0;
  for (const auto& [tenant, bytes] : memory) {
    if (memory_gauges_.size() < kMemoryGaugesMax ||
        memory_gauges_.count(tenant) > 0) {
      memory_gauges_[tenant] = bytes;
    }
  }
  for (const auto& [tenant, bytes] : memory_gauges_) {
    metrics_.SetStoreMemory(tenant, bytes);
  }
}

}  // namespace callgate
