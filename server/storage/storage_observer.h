// Facts about storage for whoever counts them. No answers are expected.

#ifndef CALLGATE_SERVER_STORAGE_STORAGE_OBSERVER_H_
#define CALLGATE_SERVER_STORAGE_STORAGE_OBSERVER_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace callgate::storage {

inline constexpr char kEngineSqlite[] = "sqlite";
inline constexpr char kEngineFiles[] = "files";

inline constexpr char kOpPutModule[] = "put_module";
inline constexpr char kOpGetModule[] = "get_module";
inline constexpr char kOpListModules[] = "list_modules";
inline constexpr char kOpDeleteModule[] = "delete_module";
inline constexpr char kOpPutPolicy[] = "put_policy";
inline constexpr char kOpListPolicies[] = "list_policies";
inline constexpr char kOpCommitPolicies[] = "commit_policies";
inline constexpr char kOpReadPolicyHistory[] = "read_policy_history";
inline constexpr char kOpPutQuarantine[] = "put_quarantine";
inline constexpr char kOpFindQuarantine[] = "find_quarantine";
inline constexpr char kOpPutProfile[] = "put_profile";
inline constexpr char kOpDeleteProfile[] = "delete_profile";
inline constexpr char kOpListProfiles[] = "list_profiles";
inline constexpr char kOpPutBlob[] = "put_blob";
inline constexpr char kOpGetBlob[] = "get_blob";
inline constexpr char kOpRemoveBlob[] = "remove_blob";
inline constexpr char kOpWriteTrace[] = "write_trace";

class StorageObserver {
 public:
  virtual ~StorageObserver() = default;

  // One operation ended: one of the engines and operations above. Called on the
  // operation's thread, with its lock held: do not call storage from here.
  // NotFound and the like are answers, not errors of storage; `failed` is what
  // the disk or its contents did.
  virtual void OnOperation(absl::string_view engine, absl::string_view op,
                           absl::Duration took, bool failed) = 0;
};

// Tells the observer, which may be null, of one operation, however it ends.
class TimedOperation {
 public:
  TimedOperation(StorageObserver* observer, const char* engine, const char* op)
      : observer_(observer), engine_(engine), op_(op) {}
  ~TimedOperation() {
    if (observer_ == nullptr) return;
    observer_->OnOperation(engine_, op_, absl::Now() - start_, failed_);
  }
  TimedOperation(const TimedOperation&) = delete;
  TimedOperation& operator=(const TimedOperation&) = delete;

  void MarkFailed() { failed_ = true; }
  // The same, and gives the status back.
  absl::Status Failed(absl::Status status) {
    failed_ = true;
    return status;
  }

 private:
  StorageObserver* const observer_;
  const char* const engine_;
  const char* const op_;
  const absl::Time start_ = absl::Now();
  bool failed_ = false;
};

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_STORAGE_OBSERVER_H_
