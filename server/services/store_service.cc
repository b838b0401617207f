#include "server/services/store_service.h"

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/error_reason.h"
#include "server/events/escape.h"
#include "server/services/messages.h"
#include "server/services/resource_name.h"
#include "server/services/run_stream.h"
#include "server/services/store_maker.h"
#include "server/session.h"
#include "server/store_registry.h"

namespace callgate {
namespace {

constexpr char kService[] = "callgate.v1.StoreService";
constexpr size_t kRequestIdBytesMax = 64;
constexpr size_t kKillReasonBytesMax = 256;

absl::Status BadArgument(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                         reason::kBadArgument, message);
}

v1::StoreState StateToProto(SessionState state) {
  switch (state) {
    case SessionState::kIdle:
      return v1::STORE_STATE_IDLE;
    case SessionState::kRunning:
      return v1::STORE_STATE_RUNNING;
    case SessionState::kKilled:
      return v1::STORE_STATE_KILLED;
    case SessionState::kPolicyKilled:
      return v1::STORE_STATE_POLICY_KILLED;
    case SessionState::kExited:
      return v1::STORE_STATE_EXITED;
  }
  return v1::STORE_STATE_UNSPECIFIED;
}

void SetStore(const StoreEntry& entry, v1::Store* store) {
  const StoreEntry::Facts& facts = entry.facts();
  store->set_name(TenantResourceName(facts.tenant, "stores", facts.id));
  store->set_id(facts.id);
  store->set_module_digest(facts.module_digest);
  for (const std::string& policy : entry.policies())
    store->add_policies(policy);
  store->mutable_labels()->insert(facts.labels.begin(), facts.labels.end());
  *store->mutable_create_time() = ToProto(facts.created);
  for (const std::string& warning : facts.warnings) {
    store->add_warnings(warning);
  }
  const SessionFacts state = entry.state();
  store->set_state(StateToProto(state.state));
  store->set_end_reason(state.end_reason);
  store->set_calls(state.calls);
  v1::Usage* usage = store->mutable_usage();
  usage->set_fuel(state.usage.fuel);
  *usage->mutable_wall() = ToProto(state.usage.wall);
  usage->set_host_calls(state.usage.host_calls);
  usage->set_host_bytes(state.usage.host_bytes);
  usage->set_memory_bytes(state.memory_bytes);
}

absl::StatusOr<std::shared_ptr<StoreEntry>> FindStore(const ServiceParts& parts,
                                                      absl::string_view name) {
  const absl::StatusOr<TenantResource> resource =
      ParseTenantResource("stores", name);
  if (!resource.ok()) return resource.status();
  return parts.stores.Find(resource->tenant, resource->id);
}

// A Store that takes calls, for as long as this lives.
class LiveStore {
 public:
  static absl::StatusOr<LiveStore> Find(const ServiceParts& parts,
                                        absl::string_view name) {
    absl::StatusOr<std::shared_ptr<StoreEntry>> entry = FindStore(parts, name);
    if (!entry.ok()) return entry.status();
    std::shared_ptr<Session> session = (*entry)->session();
    if (session == nullptr) return (*entry)->EndedStatus();
    return LiveStore(parts.stores, *std::move(entry), std::move(session));
  }
  LiveStore(LiveStore&&) = default;
  LiveStore& operator=(LiveStore&&) = delete;
  ~LiveStore() {
    if (entry_ != nullptr) stores_->Settle(entry_);
  }

  Session& session() const { return *session_; }
  const std::shared_ptr<Session>& shared_session() const { return session_; }

 private:
  LiveStore(StoreRegistry& stores, std::shared_ptr<StoreEntry> entry,
            std::shared_ptr<Session> session)
      : stores_(&stores),
        entry_(std::move(entry)),
        session_(std::move(session)) {}

  StoreRegistry* stores_;
  std::shared_ptr<StoreEntry> entry_;
  std::shared_ptr<Session> session_;
};

}  // namespace

absl::StatusOr<std::string> RequestIds::Begin(const Key& key,
                                              const std::string& request,
                                              absl::Time now) {
  const absl::MutexLock lock(&mu_);
  while (!ages_.empty() &&
         (ages_.front().first + kKept < now || ages_.size() >= kMax)) {
    const auto found = answers_.find(ages_.front().second);
    // A key that was forgotten and used again has a younger age further on.
    if (found != answers_.end() && found->second.time == ages_.front().first) {
      answers_.erase(found);
    }
    ages_.pop_front();
  }
  const auto found = answers_.find(key);
  if (found == answers_.end()) {
    answers_[key] = Answer{request, "", now};
    ages_.emplace_back(now, key);
    return std::string();
  }
  if (found->second.request != request) {
    return BadArgument(absl::StrCat(
        "request_id \"", events::EscapeText(key.second, kRequestIdBytesMax),
        "\" was used for another request; choose a new one"));
  }
  if (found->second.store.empty()) {
    return absl::AbortedError(
        "the first request with this request_id is still in progress; try "
        "again later");
  }
  return found->second.store;
}

void RequestIds::Remember(const Key& key, const std::string& store) {
  const absl::MutexLock lock(&mu_);
  const auto found = answers_.find(key);
  if (found != answers_.end()) found->second.store = store;
}

void RequestIds::Forget(const Key& key) {
  const absl::MutexLock lock(&mu_);
  answers_.erase(key);
}

grpc::ServerUnaryReactor* StoreService::CreateStore(
    grpc::CallbackServerContext* context, const v1::CreateStoreRequest* request,
    v1::Store* response) {
  return UnaryCall::Start(parts_, kService, "CreateStore", context,
                          &parts_.runs,
                          [this, request, response](UnaryCall& call) {
                            return DoCreate(call, *request, response);
                          });
}

absl::Status StoreService::DoCreate(UnaryCall& call,
                                    const v1::CreateStoreRequest& request,
                                    v1::Store* response) {
  const absl::StatusOr<std::string> tenant = ParseTenant(request.parent());
  if (!tenant.ok()) return tenant.status();
  if (request.request_id().size() > kRequestIdBytesMax) {
    return BadArgument(
        absl::StrCat("request_id has ", request.request_id().size(),
                     " bytes, the maximum is ", kRequestIdBytesMax));
  }
  if (request.request_id().empty()) {
    return MakeAndInstantiate(call, *tenant, request.config(), response);
  }
  const RequestIds::Key key(*tenant, request.request_id());
  const std::string asked =
      storage::DigestOf(request.SerializeAsString()).ToString();
  const absl::StatusOr<std::string> before =
      request_ids_.Begin(key, asked, absl::Now());
  if (!before.ok()) return before.status();
  if (!before->empty()) {
    const auto entry = parts_.stores.Find(*tenant, *before);
    if (!entry.ok()) return entry.status();
    SetStore(**entry, response);
    return absl::OkStatus();
  }
  const absl::Status status =
      MakeAndInstantiate(call, *tenant, request.config(), response);
  if (status.ok()) {
    request_ids_.Remember(key, response->id());
  } else {
    request_ids_.Forget(key);
  }
  return status;
}

absl::Status StoreService::MakeAndInstantiate(UnaryCall& call,
                                              const std::string& tenant,
                                              const v1::StoreConfig& config,
                                              v1::Store* response) {
  const absl::StatusOr<std::shared_ptr<StoreEntry>> entry =
      MakeStore(parts_, tenant, config, StoreStreams());
  if (!entry.ok()) return entry.status();
  const std::shared_ptr<Session> session = (*entry)->session();
  if (session == nullptr) return (*entry)->EndedStatus();
  // A caller that goes away never learns the Store's id.
  call.OnCancelled([this, entry = *entry] {
    parts_.stores.End(entry, EndReason::kKilled,
                      "the caller went away while it was made");
  });
  const absl::StatusOr<Outcome> outcome = session->Instantiate(call.deadline());
  call.OnCancelled(nullptr);
  if (!outcome.ok()) {
    parts_.stores.End(*entry, EndReason::kFailed, outcome.status().message());
    return outcome.status();
  }
  const absl::Status in_time = CheckDeadline(*outcome, call.deadline());
  if (!in_time.ok()) {
    parts_.stores.End(*entry, EndReason::kFailed, in_time.message());
    return in_time;
  }
  if (outcome->kind != OutcomeKind::kReturned) {
    const std::string what =
        outcome->trap.has_value()
            ? outcome->trap->message
            : absl::StrCat("the guest exited with ", outcome->exit_code);
    parts_.stores.End(*entry, EndReason::kFailed, what);
    return ErrorWithReason(
        absl::StatusCode::kFailedPrecondition, reason::kInstantiationTrapped,
        absl::StrCat("the module could not be instantiated: ", what),
        {{"outcome", std::string(OutcomeKindName(outcome->kind))}});
  }
  // Somebody may have ended it at the very end of the instantiation.
  parts_.stores.Settle(*entry);
  SetStore(**entry, response);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* StoreService::Invoke(
    grpc::CallbackServerContext* context, const v1::InvokeRequest* request,
    v1::InvokeResponse* response) {
  return UnaryCall::Start(parts_, kService, "Invoke", context, &parts_.runs,
                          [this, request, response](UnaryCall& call) {
                            return DoInvoke(call, *request, response);
                          });
}

absl::Status StoreService::DoInvoke(UnaryCall& call,
                                    const v1::InvokeRequest& request,
                                    v1::InvokeResponse* response) {
  absl::Status status = CheckNotDraining(parts_);
  if (!status.ok()) return status;
  absl::StatusOr<LiveStore> store = LiveStore::Find(parts_, request.name());
  if (!store.ok()) return store.status();
  absl::StatusOr<std::vector<Value>> args = ValuesFromProto(request.args());
  if (!args.ok()) return args.status();
  absl::StatusOr<std::optional<absl::Duration>> timeout =
      PositiveDuration("timeout", request.has_timeout(), request.timeout());
  if (!timeout.ok()) return timeout.status();

  CallRequest wanted;
  wanted.export_name = request.export_();
  wanted.args = *std::move(args);
  if (request.fuel() > 0) wanted.fuel = request.fuel();
  wanted.wall = *timeout;
  wanted.deadline = call.deadline();
  const std::shared_ptr<CallTicket> ticket = Session::NewTicket();
  call.OnCancelled([session = store->shared_session(), ticket] {
    session->CancelCall(ticket);
  });
  const absl::StatusOr<Outcome> outcome = store->session().Call(wanted, ticket);
  call.OnCancelled(nullptr);
  if (!outcome.ok()) return outcome.status();
  status = CheckDeadline(*outcome, wanted.deadline);
  if (!status.ok()) return status;
  *response->mutable_outcome() = ToProto(*outcome);
  return absl::OkStatus();
}

grpc::ServerBidiReactor<v1::RunStreamRequest, v1::RunStreamResponse>*
StoreService::RunStream(grpc::CallbackServerContext* context) {
  return StartRunStream(parts_, context);
}

grpc::ServerUnaryReactor* StoreService::ReadMemory(
    grpc::CallbackServerContext* context, const v1::ReadMemoryRequest* request,
    v1::ReadMemoryResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ReadMemory", context, &parts_.runs,
      [this, request, response](UnaryCall& call) -> absl::Status {
        absl::StatusOr<LiveStore> store =
            LiveStore::Find(parts_, request->name());
        if (!store.ok()) return store.status();
        absl::StatusOr<Session::MemoryRead> read =
            store->session().ReadMemory(request->memory(), request->address(),
                                        request->length(), call.deadline());
        if (!read.ok()) return read.status();
        response->set_data(std::move(read->bytes));
        response->set_memory_bytes(read->memory_bytes);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* StoreService::WriteMemory(
    grpc::CallbackServerContext* context, const v1::WriteMemoryRequest* request,
    v1::WriteMemoryResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "WriteMemory", context, &parts_.runs,
      [this, request, response](UnaryCall& call) -> absl::Status {
        absl::StatusOr<LiveStore> store =
            LiveStore::Find(parts_, request->name());
        if (!store.ok()) return store.status();
        const absl::StatusOr<uint64_t> bytes =
            store->session().WriteMemory(request->memory(), request->address(),
                                         request->data(), call.deadline());
        if (!bytes.ok()) return bytes.status();
        response->set_memory_bytes(*bytes);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* StoreService::GetStore(
    grpc::CallbackServerContext* context, const v1::GetStoreRequest* request,
    v1::Store* response) {
  return UnaryCall::Start(
      parts_, kService, "GetStore", context, nullptr,
      [this, request, response](UnaryCall&) -> absl::Status {
        const auto entry = FindStore(parts_, request->name());
        if (!entry.ok()) return entry.status();
        SetStore(**entry, response);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* StoreService::ListStores(
    grpc::CallbackServerContext* context, const v1::ListStoresRequest* request,
    v1::ListStoresResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ListStores", context, nullptr,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<std::string> tenant =
            ParseTenant(request->parent());
        if (!tenant.ok()) return tenant.status();
        const absl::StatusOr<size_t> size = ParsePageSize(request->page_size());
        if (!size.ok()) return size.status();
        // A page token is the last id of the page before.
        const auto page =
            parts_.stores.List(*tenant, *size, request->page_token());
        for (const auto& entry : page) {
          SetStore(*entry, response->add_stores());
        }
        if (page.size() == *size) {
          response->set_next_page_token(page.back()->facts().id);
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* StoreService::KillStore(
    grpc::CallbackServerContext* context, const v1::KillStoreRequest* request,
    v1::Store* response) {
  return UnaryCall::Start(
      parts_, kService, "KillStore", context, nullptr,
      [this, request, response](UnaryCall&) -> absl::Status {
        const auto entry = FindStore(parts_, request->name());
        if (!entry.ok()) return entry.status();
        parts_.stores.End(
            *entry, EndReason::kKilled,
            request->reason().empty()
                ? std::string("killed by request")
                : absl::StrCat("killed by request: ",
                               events::EscapeText(request->reason(),
                                                  kKillReasonBytesMax)));
        SetStore(**entry, response);
        return absl::OkStatus();
      });
}

}  // namespace callgate
