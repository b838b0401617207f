// The tenants' modules: kept in storage, compiled on demand, held for as long
// as Stores use them.
//
// Compiled modules stay in a cache that is bounded in bytes, so that a Store of
// a module that was used lately costs no compilation. A module is compiled
// under the loosest limits that any policy in force gives; the limits of the
// policies that judge a Store are checked when the Store is made. Compilations
// count against the budget of the tenant that causes them.
//
// Any thread; calls may wait for the disk and for a compilation.

#ifndef CALLGATE_SERVER_MODULE_LIBRARY_H_
#define CALLGATE_SERVER_MODULE_LIBRARY_H_

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "runtime/engine.h"
#include "runtime/module.h"
#include "server/events/event_log.h"
#include "server/metrics/metrics.h"
#include "server/policies/policy_catalogue.h"
#include "server/storage/storage.h"

namespace callgate {

// A module ready to make Stores of.
struct LoadedModule {
  std::shared_ptr<const Module> module;
  // What it was made from, to be checked against other limits.
  std::shared_ptr<const std::string> bytes;
};

class ModuleLibrary {
 public:
  // All of them outlive the library.
  ModuleLibrary(const Engine& engine, storage::Storage& storage,
                policies::PolicyCatalogue& policies, events::EventLog& events,
                metrics::Metrics& metrics);
  ModuleLibrary(const ModuleLibrary&) = delete;
  ModuleLibrary& operator=(const ModuleLibrary&) = delete;

  using Labels = std::map<std::string, std::string>;

  // The limits for modules that nobody has seen yet.
  admission::ModuleLimits UploadLimits() const;

  // The stored module. NotFound MODULE_NOT_FOUND.
  absl::StatusOr<storage::ModuleRecord> Find(absl::string_view tenant,
                                             const storage::Digest& digest);

  struct Stored {
    storage::ModuleRecord record;
    bool already_present = false;
  };
  // A module that the tenant has already. AlreadyExists LABELS_DIFFER where
  // `labels` are others than its own and not empty; NotFound if it has none.
  absl::StatusOr<Stored> FindForUpload(absl::string_view tenant,
                                       const storage::Digest& digest,
                                       const Labels& labels);
  // Admits, compiles and keeps. The statuses of CompileModule, LABELS_DIFFER,
  // TOO_MANY_MODULES, and storage's.
  absl::StatusOr<Stored> Store(absl::string_view tenant, const Labels& labels,
                               std::string bytes);
  // Admits and compiles, and keeps nothing.
  absl::StatusOr<LoadedModule> Check(absl::string_view tenant,
                                     std::string bytes);

  // Its compiled form.
  absl::StatusOr<LoadedModule> Load(absl::string_view tenant,
                                    const storage::Digest& digest);
  // Its compiled form if it is at hand; null otherwise. Waits for nothing.
  std::shared_ptr<const Module> Loaded(const storage::Digest& digest) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // The bytes.
  absl::StatusOr<std::string> Read(absl::string_view tenant,
                                   const storage::Digest& digest);

  // While somebody holds a Use of a module it cannot be deleted.
  class Use {
   public:
    Use() = default;
    Use(Use&& other) noexcept
        : library_(std::exchange(other.library_, nullptr)),
          key_(std::move(other.key_)) {}
    Use& operator=(Use&&) = delete;
    ~Use();

   private:
    friend class ModuleLibrary;
    using Key = std::pair<std::string, storage::Digest>;
    Use(ModuleLibrary* library, Key key)
        : library_(library), key_(std::move(key)) {}
    ModuleLibrary* library_ = nullptr;
    Key key_;
  };
  Use Hold(absl::string_view tenant, const storage::Digest& digest);
  int UsesOf(absl::string_view tenant, const storage::Digest& digest) const;

  // NotFound, or FailedPrecondition MODULE_IN_USE.
  absl::Status Delete(absl::string_view tenant, const storage::Digest& digest);

  // Sets the gauges that count modules.
  void RefreshGauges();

 private:
  using Key = Use::Key;

  absl::StatusOr<LoadedModule> Compile(absl::string_view tenant,
                                       std::string bytes);
  void Remember(const storage::Digest& digest, const LoadedModule& loaded)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction; the references outlive this.
  const Engine& engine_;
  storage::Storage& storage_;
  policies::PolicyCatalogue& policies_;
  events::EventLog& events_;
  metrics::Metrics& metrics_;

  mutable absl::Mutex mu_;
  std::map<Key, int> uses_ ABSL_GUARDED_BY(mu_);

  // Compiled modules, the latest used first.
  struct Cached {
    storage::Digest digest;
    LoadedModule loaded;
  };
  std::list<Cached> cache_ ABSL_GUARDED_BY(mu_);
  uint64_t cached_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_MODULE_LIBRARY_H_
