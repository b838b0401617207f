#include "server/daemon.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "policy/anomaly/profile_book.h"
#include "runtime/executor/executor.h"
#include "runtime/native/hosted_engine.h"
#include "runtime/wasi/wasi.h"
#include "server/allowed_dirs.h"
#include "server/engine_gauges.h"
#include "server/events/alert_file.h"
#include "server/events/event_log.h"
#include "server/guest_runs.h"
#include "server/internal_faults.h"
#include "server/loopback_address.h"
#include "server/metrics/metrics.h"
#include "server/metrics/observers.h"
#include "server/metrics/page_server.h"
#include "server/module_library.h"
#include "server/policies/directory_watcher.h"
#include "server/policies/policy_catalogue.h"
#include "server/policy_gauges.h"
#include "server/policy_replay.h"
#include "server/policy_rollout.h"
#include "server/profiles/stored_profiles.h"
#include "server/quarantine_book.h"
#include "server/services/event_service.h"
#include "server/services/module_service.h"
#include "server/services/policy_service.h"
#include "server/services/profile_service.h"
#include "server/services/service_parts.h"
#include "server/services/store_service.h"
#include "server/services/trial_service.h"
#include "server/services/upload.h"
#include "server/storage/storage.h"
#include "server/store_registry.h"
#include "server/surge_rollback.h"
#include "server/tested_policies.h"
#include "server/timer.h"
#include "server/version.h"
#include "server/worker_pool.h"

namespace callgate {
namespace {

constexpr int kMessageBytesMax = 4 << 20;
constexpr int kMetadataBytesMax = 8 << 10;
constexpr int kStreamsPerConnection = 256;
constexpr int kIdleConnectionMs = 15 * 60 * 1000;
constexpr int kConnectionAgeMs = 60 * 60 * 1000;
constexpr int kConnectionGraceMs = 10 * 60 * 1000;
constexpr int kPingIntervalMs = 10 * 1000;
constexpr int kPingStrikes = 3;
constexpr size_t kNetworkBytesMax = 256 << 20;

constexpr absl::Duration kSurgeLookEvery = absl::Seconds(5);

constexpr size_t kControlThreads = 4;
constexpr size_t kControlQueue = 64;
constexpr size_t kWatchersMax = 32;

// "module.name" of every function that the daemon offers to guests: the only
// imports that a metric names.
std::vector<std::string> KnownImports(const HostModules& host_modules) {
  std::vector<std::string> names = host_modules.ImportNames();
  for (const wasi::FunctionInfo& function : wasi::AllFunctions()) {
    names.push_back(absl::StrCat(wasi::kModuleName, ".", function.name));
  }
  return names;
}

metrics::MetricsOptions MetricsOptionsOf(const HostModules& host_modules) {
  metrics::MetricsOptions options;
  options.version = kVersion;
  options.start_time = absl::Now();
  options.known_imports = KnownImports(host_modules);
  return options;
}

// Why gRPC could not have an address: it says only that it could not.
absl::Status BindError(const LoopbackAddress& address) {
  const bool v6 = address.host == "[::1]";
  const int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string why = "it cannot be bound";
  if (fd >= 0) {
    sockaddr_in6 six = {};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(address.port);
    six.sin6_addr = in6addr_loopback;
    sockaddr_in four = {};
    four.sin_family = AF_INET;
    four.sin_port = htons(address.port);
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // SAFETY: both are socket addresses of the family that the socket has.
    const auto* any = v6 ? reinterpret_cast<const sockaddr*>(&six)
                         : reinterpret_cast<const sockaddr*>(&four);
    if (bind(fd, any, v6 ? sizeof(six) : sizeof(four)) != 0) {
      why = errno == EADDRINUSE ? "the port is in use" : std::strerror(errno);
    }
    close(fd);
  }
  return absl::UnavailableError(absl::StrCat(
      "--listen ", address.ToString(), ": ", why,
      "; stop what uses it (ss -ltnp shows it), or choose another port"));
}

}  // namespace

class Daemon::Impl {
 public:
  Impl(const Config& config, HostModules host_modules)
      : config_(config),
        host_modules_(std::move(host_modules)),
        metrics_(MetricsOptionsOf(host_modules_)),
        storage_counter_(metrics_),
        event_counter_(metrics_),
        events_(EventOptions()),
        faults_(events_, metrics_),
        stores_(config_.max_stores, events_, metrics_),
        asides_(config_.max_runs, 0),
        control_(kControlThreads, kControlQueue),
        // An upload gives its place back before its thread is free.
        compiles_(kUploadsMax, kUploadsMax),
        watchers_(kWatchersMax, 0) {}

  ~Impl();

  absl::Status Start();
  void Drain();
  absl::Status ReloadPolicies() { return policies_->Reload(); }

  std::string listen_address() const { return listen_; }
  std::string metrics_address() const { return page_server_->address(); }

 private:
  events::EventLogOptions EventOptions() {
    events::EventLogOptions options;
    options.observer = &event_counter_;
    return options;
  }

  // What changes of --policy-dir have to pass.
  std::optional<policies::ReplayDemand> DirectoryReplay() const {
    if (config_.policy_replay == absl::ZeroDuration()) return std::nullopt;
    policies::ReplayDemand demand;
    demand.since = config_.policy_replay;
    demand.changed_max = config_.policy_replay_max_changed;
    demand.may_be_empty = true;
    return demand;
  }

  absl::Status StartServer();
  absl::Status Announce();
  void SweepIdle();
  void SweepSuppressed();
  void WatchForSurges();
  void PublishDaemonEvent(absl::string_view action, absl::string_view message);
  void ReportAlerts(const absl::Status& status);
  void ReportTrace(absl::string_view name, const absl::Status& why);

  // In this order: what stands later uses what stands before.
  const Config config_;
  const HostModules host_modules_;
  metrics::Metrics metrics_;
  metrics::StorageCounter storage_counter_;
  metrics::EventCounter event_counter_;
  events::EventLog events_;
  InternalFaults faults_;
  std::unique_ptr<HostedEngine> engine_;
  std::unique_ptr<EngineGauges> engine_gauges_;
  AllowedDirs allowed_dirs_;
  std::unique_ptr<storage::Storage> storage_;
  std::unique_ptr<QuarantineBook> quarantines_;
  std::unique_ptr<events::AlertFile> alerts_;
  Explanations explanations_;
  TestedPolicies tested_policies_;
  std::unique_ptr<traces::TraceLibrary> traces_;  // null: not wanted
  std::unique_ptr<policies::PolicyCatalogue> policies_;
  std::unique_ptr<StoredProfiles> stored_profiles_;
  std::unique_ptr<policy::anomaly::ProfileBook> profiles_;
  std::unique_ptr<ModuleLibrary> modules_;
  // Outlives the Stores.
  policy::RuleStates rule_states_;
  StoreRegistry stores_;
  std::unique_ptr<PolicyRollout> rollout_;
  std::unique_ptr<SurgeRollback> surge_rollback_;  // null: not wanted
  PolicyGauges policy_gauges_{metrics_};
  std::unique_ptr<policies::DirectoryWatcher> policy_watcher_;
  Timer timer_;
  std::unique_ptr<GuestRuns> runs_;
  WorkerPool asides_;
  WorkerPool control_;
  WorkerPool compiles_;
  WorkerPool watchers_;
  std::atomic<bool> draining_{false};
  std::unique_ptr<ModuleService> module_service_;
  std::unique_ptr<StoreService> store_service_;
  std::unique_ptr<PolicyService> policy_service_;
  std::unique_ptr<ProfileService> profile_service_;
  std::unique_ptr<EventService> event_service_;
  std::unique_ptr<TrialService> trial_service_;
  std::unique_ptr<grpc::Server> server_;
  std::string listen_;
  std::unique_ptr<metrics::PageServer> page_server_;
};

absl::Status Daemon::Impl::Start() {
  absl::StatusOr<AllowedDirs> allowed = AllowedDirs::Open(config_.allow_dirs);
  if (!allowed.ok()) return allowed.status();
  allowed_dirs_ = *std::move(allowed);

  storage::StorageOptions storage_options;
  storage_options.observer = &storage_counter_;
  absl::StatusOr<std::unique_ptr<storage::Storage>> storage =
      storage::Storage::Open(config_.data, storage_options);
  if (!storage.ok()) return storage.status();
  storage_ = *std::move(storage);
  quarantines_ =
      std::make_unique<QuarantineBook>(storage_->catalogue(), faults_, events_);

  if (!config_.alerts.empty()) {
    events::AlertFileOptions options;
    options.path = config_.alerts;
    options.on_change = [this](const absl::Status& status) {
      ReportAlerts(status);
    };
    absl::StatusOr<std::unique_ptr<events::AlertFile>> alerts =
        events::AlertFile::Start(options, events_);
    if (!alerts.ok()) return alerts.status();
    alerts_ = *std::move(alerts);
  }
  if (config_.trace_mib > 0) {
    absl::StatusOr<std::unique_ptr<traces::TraceLibrary>> traces =
        traces::TraceLibrary::Open(
            {absl::StrCat(config_.data, "/traces"),
             uint64_t{config_.trace_mib} << 20, config_.trace_age,
             [this](const traces::TraceInfo& trace) {
               PublishDaemonEvent(
                   "trace_ended",
                   absl::StrCat("trace ", trace.name, ": ", trace.end_reason));
             },
             &storage_counter_,
             [this](absl::string_view name, const absl::Status& why) {
               ReportTrace(name, why);
             }});
    if (!traces.ok()) return traces.status();
    traces_ = *std::move(traces);
  }
  policies::DirectoryWatcher::Options watched;
  watched.directory = config_.policy_dir;
  if (!config_.policy_dir.empty()) {
    watched.look = policies::LookOf(config_.policy_dir);
  }
  absl::StatusOr<std::unique_ptr<policies::PolicyCatalogue>> policies =
      policies::PolicyCatalogue::Open(
          {config_.policy_dir,
           TryPolicy,
           [this] {
             if (rollout_) rollout_->Run();
             if (surge_rollback_) {
               surge_rollback_->NoteSwap(DenialSurge::Now());
             }
           },
           [this](const policy::PolicySet& before,
                  const policy::PolicySet& after,
                  const policies::ReplayDemand& demand) {
             return ReplayChange(traces_.get(), ReplayBounds(), before, after,
                                 demand);
           },
           DirectoryReplay(),
           config_.policy_mode,
           {config_.audit_tenants.begin(), config_.audit_tenants.end()},
           [this](absl::string_view name) { return stores_.JudgedBy(name); }},
          storage_->catalogue(), events_, metrics_);
  if (!policies.ok()) return policies.status();
  policies_ = *std::move(policies);
  stored_profiles_ = std::make_unique<StoredProfiles>(
      storage_->catalogue(), [this](const absl::Status& why) {
        v1::Event event;
        event.set_kind(v1::EVENT_KIND_LIFECYCLE);
        event.set_severity(v1::EVENT_SEVERITY_WARNING);
        event.set_action("profile_not_kept");
        event.set_message(std::string(why.message()));
        faults_.Report(InternalFault::kProfileNotStored, "", std::move(event));
      });
  profiles_ =
      std::make_unique<policy::anomaly::ProfileBook>(stored_profiles_.get());
  const absl::Status loaded = stored_profiles_->LoadInto(*profiles_);
  if (!loaded.ok()) return loaded;
  rollout_ = std::make_unique<PolicyRollout>(*policies_, stores_, rule_states_,
                                             metrics_);
  if (config_.surge_rollback > 0) {
    DenialSurge::Options surge;
    surge.tenants_min = config_.surge_rollback;
    surge_rollback_ =
        std::make_unique<SurgeRollback>(surge, *policies_, events_);
    WatchForSurges();
  }
  if (!config_.policy_dir.empty()) {
    absl::StatusOr<std::unique_ptr<policies::DirectoryWatcher>> watcher =
        policies::DirectoryWatcher::Start(std::move(watched), [this] {
          // Events and metrics tell of what is wrong.
          policies_->Reload().IgnoreError();
        });
    if (!watcher.ok()) return watcher.status();
    policy_watcher_ = *std::move(watcher);
  }
  HostedEngineOptions engine;
  engine.service.worker_path = config_.compiler;
  engine.service.account_queue_max = config_.compile_queue;
  engine.service.account_budget.amount =
      absl::ToChronoMilliseconds(config_.compile_time);
  engine.service.account_budget.window =
      absl::ToChronoMilliseconds(config_.compile_window);
  if (config_.code_cache_mib > 0) {
    engine.cache_folder = absl::StrCat(config_.data, "/code");
    engine.cache_bytes_max = uint64_t{config_.code_cache_mib} << 20;
  }
  absl::StatusOr<std::unique_ptr<HostedEngine>> hosted =
      HostedEngine::Start(std::move(engine));
  if (!hosted.ok()) return hosted.status();
  engine_ = *std::move(hosted);
  modules_ = std::make_unique<ModuleLibrary>(engine_->engine(), *storage_,
                                             *policies_, events_, metrics_);

  engine_gauges_ = std::make_unique<EngineGauges>(*engine_, metrics_);
  metrics_.BeforeScrape([this] {
    engine_gauges_->Refresh();
    stores_.RefreshGauges();
    policy_gauges_.Refresh(*policies_->current(), absl::Now());
    policy_gauges_.Refresh(rule_states_);
    modules_->RefreshGauges();
    metrics_.SetModules("quarantine_not_stored", quarantines_->unstored());
    metrics::RefreshEventGauges(events_, metrics_);
  });
  Executor::Options executor_options;
  executor_options.threads = config_.threads;
  executor_options.jobs_max = config_.max_runs;
  absl::StatusOr<std::unique_ptr<Executor>> executor =
      Executor::Start(executor_options);
  if (!executor.ok()) return executor.status();
  runs_ = std::make_unique<GuestRuns>(*std::move(executor));
  absl::Status status = StartServer();
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<metrics::PageServer>> page =
      metrics::PageServer::Start(config_.metrics, metrics_);
  if (!page.ok()) return page.status();
  page_server_ = *std::move(page);
  SweepIdle();
  SweepSuppressed();
  PublishDaemonEvent("daemon_started",
                     absl::StrCat("listening at ", listen_, ", engine ",
                                  engine_->engine().name()));
  return Announce();
}

absl::Status Daemon::Impl::StartServer() {
  const ServiceParts parts{
      config_,          engine_->engine(),
      host_modules_,    allowed_dirs_,
      *storage_,        *quarantines_,
      *policies_,       *profiles_,
      *modules_,        stores_,
      *rollout_,        surge_rollback_ ? &surge_rollback_->denials() : nullptr,
      rule_states_,     events_,
      faults_,          explanations_,
      tested_policies_, traces_.get(),
      metrics_,         timer_,
      *runs_,           asides_,
      control_,         compiles_,
      watchers_,        draining_};
  module_service_ = std::make_unique<ModuleService>(parts);
  store_service_ = std::make_unique<StoreService>(parts);
  policy_service_ = std::make_unique<PolicyService>(parts);
  profile_service_ = std::make_unique<ProfileService>(parts);
  event_service_ = std::make_unique<EventService>(parts);
  trial_service_ = std::make_unique<TrialService>(parts);

  const absl::StatusOr<LoopbackAddress> address =
      ParseLoopbackAddress("--listen", config_.listen);
  if (!address.ok()) return address.status();

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address->ToString(),
                           grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(module_service_.get());
  builder.RegisterService(store_service_.get());
  builder.RegisterService(policy_service_.get());
  builder.RegisterService(profile_service_.get());
  builder.RegisterService(event_service_.get());
  builder.RegisterService(trial_service_.get());
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.SetMaxSendMessageSize(kMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             kStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             kIdleConnectionMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kConnectionAgeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                             kConnectionGraceMs);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kPingStrikes);
  // Two daemons must not share a port without knowing.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  grpc::ResourceQuota quota("callgated");
  quota.Resize(kNetworkBytesMax);
  builder.SetResourceQuota(quota);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port == 0) return BindError(*address);
  listen_ = absl::StrCat(address->host, ":", port);
  return absl::OkStatus();
}

absl::Status Daemon::Impl::Announce() {
  if (config_.announce.empty()) return absl::OkStatus();
  // Beside and renamed: whoever waits for the file finds all of it.
  const std::string text =
      absl::StrCat("listen=", listen_, "\nmetrics=", metrics_address(), "\n");
  const std::string beside = absl::StrCat(config_.announce, ".new");
  const auto failed = [this] {
    return absl::UnavailableError(absl::StrCat("--announce ", config_.announce,
                                               ": ", std::strerror(errno)));
  };
  const int fd =
      open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return failed();
  const bool written =
      write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (close(fd) != 0 || !written ||
      rename(beside.c_str(), config_.announce.c_str()) != 0) {
    return failed();
  }
  return absl::OkStatus();
}

void Daemon::Impl::SweepIdle() {
  const absl::Time now = absl::Now();
  stores_.EndIdle(now - config_.store_idle);
  if (traces_ != nullptr) traces_->Sweep(now);
  quarantines_->RetryUnstored();
  policies_->RetryUnstored();
  stores_.CollectReplaced();
  const absl::Duration pause =
      std::min(absl::Seconds(10),
               std::max(config_.store_idle / 4, absl::Milliseconds(10)));
  timer_.Schedule(now + pause, [this] { SweepIdle(); });
}

void Daemon::Impl::SweepSuppressed() {
  stores_.suppressor().Sweep();
  timer_.Schedule(absl::Now() + absl::Seconds(1),
                  [this] { SweepSuppressed(); });
}

void Daemon::Impl::WatchForSurges() {
  // Undoing one takes the timer's thread for longer than usual, and hardly ever
  // happens.
  surge_rollback_->Check(DenialSurge::Now());
  timer_.Schedule(absl::Now() + kSurgeLookEvery, [this] { WatchForSurges(); });
}

void Daemon::Impl::PublishDaemonEvent(absl::string_view action,
                                      absl::string_view message) {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_INFO);
  event.set_action(std::string(action));
  event.set_message(std::string(message));
  events_.Publish(std::move(event));
}

void Daemon::Impl::ReportAlerts(const absl::Status& status) {
  if (status.ok()) {
    faults_.Clear(InternalFault::kAlertsNotWritten, "");
    PublishDaemonEvent("alert_file_written_again", "");
    return;
  }
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_ERROR);
  event.set_action("alert_file_not_written");
  event.set_message(std::string(status.message()));
  faults_.Report(InternalFault::kAlertsNotWritten, "", std::move(event));
}

void Daemon::Impl::ReportTrace(absl::string_view name,
                               const absl::Status& why) {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_ERROR);
  event.set_action("trace_not_written");
  event.set_message(absl::StrCat(
      "trace ", name, " ends before its time: ", std::string(why.message())));
  // Each trace is one of its own.
  faults_.Report(InternalFault::kTraceNotWritten, name, std::move(event));
}

void Daemon::Impl::Drain() {
  if (draining_.exchange(true)) return;
  PublishDaemonEvent("daemon_draining", "");
  if (server_ != nullptr) {
    server_->GetHealthCheckService()->SetServingStatus(false);
  }
  if (runs_ == nullptr) return;  // it never started
  const absl::Time deadline = absl::Now() + config_.drain_timeout;
  runs_->executor().WaitUntilIdle(deadline);
  // Interrupted guests end at their next instruction, and host functions that
  // wait are woken. Again and again, for Stores that were being made.
  do {
    stores_.EndAll(EndReason::kDraining, "the daemon is shutting down");
  } while (
      !runs_->executor().WaitUntilIdle(absl::Now() + absl::Milliseconds(100)));
  stores_.suppressor().TellAll();
  quarantines_->RetryUnstored();
}

Daemon::Impl::~Impl() {
  Drain();
  // Ends the readers of events, and with them the last RPCs that last.
  events_.Shutdown();
  if (server_ != nullptr) {
    server_->Shutdown(absl::ToChronoTime(absl::Now() + absl::Seconds(5)));
    server_->Wait();
  }
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(
    const Config& config, HostModules host_modules) {
  auto impl = std::make_unique<Impl>(config, std::move(host_modules));
  const absl::Status status = impl->Start();
  if (!status.ok()) return status;
  return absl::WrapUnique(new Daemon(std::move(impl)));
}

Daemon::Daemon(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Daemon::~Daemon() = default;

std::string Daemon::listen_address() const { return impl_->listen_address(); }
std::string Daemon::metrics_address() const { return impl_->metrics_address(); }
void Daemon::Drain() { impl_->Drain(); }
absl::Status Daemon::ReloadPolicies() { return impl_->ReloadPolicies(); }

}  // namespace callgate
