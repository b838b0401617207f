#include "server/module_library.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "server/error_reason.h"
#include "server/events/escape.h"
#include "server/module_admission.h"

namespace callgate {
namespace {

// Of the modules' bytes; what an engine makes of them is a small multiple.
constexpr uint64_t kCacheBytesMax = 64 << 20;
constexpr size_t kCacheModulesMax = 256;

std::string ShowLabels(const ModuleLibrary::Labels& labels) {
  return events::EscapeText(
      absl::StrCat("{", absl::StrJoin(labels, ", ", absl::PairFormatter("=")),
                   "}"),
      512);
}

absl::Status LabelsDiffer(const storage::ModuleRecord& record,
                          const ModuleLibrary::Labels& wanted) {
  return ErrorWithReason(
      absl::StatusCode::kAlreadyExists, reason::kLabelsDiffer,
      absl::StrCat("module ", record.digest.ToString(),
                   " is stored with the labels ", ShowLabels(record.labels),
                   ", not ", ShowLabels(wanted),
                   "; delete it first to give it others"));
}

// Why a module was not admitted, in the words of the metric.
absl::string_view RefusalWord(const absl::Status& status) {
  const std::string why = ReasonOf(status);
  if (why == reason::kModuleOverLimit) return "limit";
  if (why == reason::kModuleMalformed) return "malformed";
  if (why == reason::kModuleInvalid || why == reason::kModuleUnsupported) {
    return "invalid";
  }
  if (why == reason::kCompileBudget) return "budget";
  return "other";
}

}  // namespace

ModuleLibrary::ModuleLibrary(const Engine& engine, storage::Storage& storage,
                             policies::PolicyCatalogue& policies,
                             events::EventLog& events,
                             metrics::Metrics& metrics)
    : engine_(engine),
      storage_(storage),
      policies_(policies),
      events_(events),
      metrics_(metrics) {}

admission::ModuleLimits ModuleLibrary::UploadLimits() const {
  return LoosestLimits(engine_, policies_.current()->policies());
}

absl::StatusOr<storage::ModuleRecord> ModuleLibrary::Find(
    absl::string_view tenant, const storage::Digest& digest) {
  absl::StatusOr<storage::ModuleRecord> record =
      storage_.catalogue().GetModule(tenant, digest);
  if (absl::IsNotFound(record.status())) {
    return ErrorWithReason(
        absl::StatusCode::kNotFound, reason::kModuleNotFound,
        absl::StrCat("there is no module ", digest.ToString(), " of tenant ",
                     tenant, "; upload it first"));
  }
  return record;
}

absl::StatusOr<ModuleLibrary::Stored> ModuleLibrary::FindForUpload(
    absl::string_view tenant, const storage::Digest& digest,
    const Labels& labels) {
  absl::StatusOr<storage::ModuleRecord> record = Find(tenant, digest);
  if (!record.ok()) return record.status();
  if (!labels.empty() && labels != record->labels) {
    return LabelsDiffer(*record, labels);
  }
  return Stored{*std::move(record), true};
}

absl::StatusOr<LoadedModule> ModuleLibrary::Compile(absl::string_view tenant,
                                                    std::string bytes) {
  const admission::ModuleLimits limits = UploadLimits();
  const absl::Time start = absl::Now();
  const absl::Status scanned = CheckModuleLimits(engine_, bytes, limits);
  metrics_.ObserveScan(absl::Now() - start);
  if (!scanned.ok()) return scanned;
  const absl::Time scanned_at = absl::Now();
  absl::StatusOr<std::shared_ptr<const Module>> module =
      CompileModule(engine_, bytes, limits, tenant);
  metrics_.ObserveCompile(absl::Now() - scanned_at);
  if (!module.ok()) return module.status();
  return LoadedModule{*std::move(module),
                      std::make_shared<const std::string>(std::move(bytes))};
}

absl::StatusOr<LoadedModule> ModuleLibrary::Check(absl::string_view tenant,
                                                  std::string bytes) {
  return Compile(tenant, std::move(bytes));
}

absl::StatusOr<ModuleLibrary::Stored> ModuleLibrary::Store(
    absl::string_view tenant, const Labels& labels, std::string bytes) {
  storage::ModuleRecord record;
  record.tenant = std::string(tenant);
  record.digest = storage::DigestOf(bytes);
  record.size_bytes = bytes.size();
  record.labels = labels;
  record.created = absl::Now();

  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_tenant(record.tenant);
  event.set_module_digest(record.digest.ToString());

  absl::StatusOr<LoadedModule> loaded = Compile(tenant, std::move(bytes));
  if (!loaded.ok()) {
    metrics_.CountAdmission("refused", RefusalWord(loaded.status()));
    event.set_severity(v1::EVENT_SEVERITY_NOTICE);
    event.set_action("module_refused");
    event.set_message(std::string(loaded.status().message()));
    events_.Publish(std::move(event));
    return loaded.status();
  }
  absl::StatusOr<storage::Storage::PutResult> put =
      storage_.PutModule(record, *loaded->bytes);
  if (!put.ok()) {
    return absl::IsResourceExhausted(put.status())
               ? WithReason(put.status(), reason::kTooManyModules)
               : put.status();
  }
  metrics_.CountAdmission("admitted", "none");
  Remember(record.digest, *loaded);
  if (put->created) {
    event.set_severity(v1::EVENT_SEVERITY_INFO);
    event.set_action("module_stored");
    event.set_message(absl::StrCat(record.size_bytes, " bytes"));
    events_.Publish(std::move(event));
  } else if (!labels.empty() && labels != put->module.labels) {
    return LabelsDiffer(put->module, labels);
  }
  return Stored{std::move(put->module), !put->created};
}

absl::StatusOr<std::string> ModuleLibrary::Read(absl::string_view tenant,
                                                const storage::Digest& digest) {
  absl::StatusOr<storage::Storage::StoredModule> stored =
      storage_.ReadModule(tenant, digest);
  if (!stored.ok()) {
    if (absl::IsNotFound(stored.status())) return Find(tenant, digest).status();
    return stored.status();
  }
  return std::move(stored->bytes);
}

absl::StatusOr<LoadedModule> ModuleLibrary::Load(
    absl::string_view tenant, const storage::Digest& digest) {
  // Whether this tenant has it comes before whether anybody compiled it.
  const absl::StatusOr<storage::ModuleRecord> record = Find(tenant, digest);
  if (!record.ok()) return record.status();
  {
    const absl::MutexLock lock(&mu_);
    const auto found =
        std::find_if(cache_.begin(), cache_.end(),
                     [&](const Cached& each) { return each.digest == digest; });
    if (found != cache_.end()) {
      cache_.splice(cache_.begin(), cache_, found);
      return found->loaded;
    }
  }
  absl::StatusOr<std::string> bytes = Read(tenant, digest);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<LoadedModule> loaded = Compile(tenant, *std::move(bytes));
  if (loaded.ok()) Remember(digest, *loaded);
  return loaded;
}

std::shared_ptr<const Module> ModuleLibrary::Loaded(
    const storage::Digest& digest) const {
  const absl::MutexLock lock(&mu_);
  for (const Cached& each : cache_) {
    if (each.digest == digest) return each.loaded.module;
  }
  return nullptr;
}

void ModuleLibrary::Remember(const storage::Digest& digest,
                             const LoadedModule& loaded) {
  const absl::MutexLock lock(&mu_);
  for (const Cached& each : cache_) {
    if (each.digest == digest) return;
  }
  cache_.push_front(Cached{digest, loaded});
  cached_bytes_ += loaded.bytes->size();
  // The newest stays, however large it is: it is in use.
  while (cache_.size() > 1 &&
         (cached_bytes_ > kCacheBytesMax || cache_.size() > kCacheModulesMax)) {
    cached_bytes_ -= cache_.back().loaded.bytes->size();
    cache_.pop_back();
  }
}

ModuleLibrary::Use ModuleLibrary::Hold(absl::string_view tenant,
                                       const storage::Digest& digest) {
  Key key(std::string(tenant), digest);
  const absl::MutexLock lock(&mu_);
  ++uses_[key];
  return Use(this, std::move(key));
}

ModuleLibrary::Use::~Use() {
  if (library_ == nullptr) return;
  const absl::MutexLock lock(&library_->mu_);
  const auto found = library_->uses_.find(key_);
  if (--found->second == 0) library_->uses_.erase(found);
}

int ModuleLibrary::UsesOf(absl::string_view tenant,
                          const storage::Digest& digest) const {
  const absl::MutexLock lock(&mu_);
  const auto found = uses_.find(Key(std::string(tenant), digest));
  return found == uses_.end() ? 0 : found->second;
}

absl::Status ModuleLibrary::Delete(absl::string_view tenant,
                                   const storage::Digest& digest) {
  {
    const absl::StatusOr<storage::ModuleRecord> record = Find(tenant, digest);
    if (!record.ok()) return record.status();
    // Held over the deletion, so that no Store can begin in between.
    const absl::MutexLock lock(&mu_);
    const auto found = uses_.find(Key(std::string(tenant), digest));
    if (found != uses_.end()) {
      return ErrorWithReason(
          absl::StatusCode::kFailedPrecondition, reason::kModuleInUse,
          absl::StrCat(found->second, " Store(s) of module ", digest.ToString(),
                       " live; kill them first"));
    }
    const absl::Status status = storage_.DeleteModule(tenant, digest);
    if (!status.ok()) return status;
    // Another tenant may have it too, and will then compile it again.
    cache_.remove_if([&](const Cached& each) {
      if (each.digest != digest) return false;
      cached_bytes_ -= each.loaded.bytes->size();
      return true;
    });
  }
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_INFO);
  event.set_tenant(std::string(tenant));
  event.set_module_digest(digest.ToString());
  event.set_action("module_deleted");
  events_.Publish(std::move(event));
  return absl::OkStatus();
}

void ModuleLibrary::RefreshGauges() {
  if (const auto count = storage_.catalogue().CountModules(); count.ok()) {
    metrics_.SetModules("stored", *count);
  }
  if (const auto count = storage_.catalogue().CountQuarantined(); count.ok()) {
    metrics_.SetModules("quarantined", *count);
  }
}

}  // namespace callgate
