// Why something could not be done, for programs: a reason from one list, beside
// the status code and the sentence.
//
// The reason travels as a google.rpc.ErrorInfo payload of the absl::Status,
// under its type URL, which is the form in which gRPC sends it on; so a status
// keeps its reason from the place that knows it to the client that acts on it.
// Pure functions; any thread.

#ifndef CALLGATE_SERVER_ERROR_REASON_H_
#define CALLGATE_SERVER_ERROR_REASON_H_

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace callgate {

// The reasons of proto/callgate/v1/*_service.proto.
namespace reason {
inline constexpr char kModuleMalformed[] = "MODULE_MALFORMED";
inline constexpr char kModuleInvalid[] = "MODULE_INVALID";
inline constexpr char kModuleUnsupported[] = "MODULE_UNSUPPORTED";
inline constexpr char kModuleOverLimit[] = "MODULE_OVER_LIMIT";
inline constexpr char kModuleQuarantined[] = "MODULE_QUARANTINED";
inline constexpr char kModuleNotFound[] = "MODULE_NOT_FOUND";
inline constexpr char kModuleInUse[] = "MODULE_IN_USE";
inline constexpr char kLabelsDiffer[] = "LABELS_DIFFER";
inline constexpr char kDigestMismatch[] = "DIGEST_MISMATCH";
inline constexpr char kSizeMismatch[] = "SIZE_MISMATCH";
inline constexpr char kBadChunk[] = "BAD_CHUNK";
inline constexpr char kUploadStalled[] = "UPLOAD_STALLED";
inline constexpr char kCompileBudget[] = "COMPILE_BUDGET";
inline constexpr char kTooManyModules[] = "TOO_MANY_MODULES";
inline constexpr char kTooManyUploads[] = "TOO_MANY_UPLOADS";
inline constexpr char kMissingImport[] = "MISSING_IMPORT";
inline constexpr char kImportType[] = "IMPORT_TYPE";
inline constexpr char kNoStart[] = "NO_START";
inline constexpr char kInstantiationTrapped[] = "INSTANTIATION_TRAPPED";
inline constexpr char kExportNotFound[] = "EXPORT_NOT_FOUND";
inline constexpr char kBadArgument[] = "BAD_ARGUMENT";
inline constexpr char kOutOfBounds[] = "OUT_OF_BOUNDS";
inline constexpr char kStoreNotFound[] = "STORE_NOT_FOUND";
inline constexpr char kStoreEnded[] = "STORE_ENDED";
inline constexpr char kDirNotAllowed[] = "DIR_NOT_ALLOWED";
inline constexpr char kQueueFull[] = "QUEUE_FULL";
inline constexpr char kTooManyStores[] = "TOO_MANY_STORES";
inline constexpr char kTooManyRuns[] = "TOO_MANY_RUNS";
inline constexpr char kDraining[] = "DRAINING";
inline constexpr char kNoPolicy[] = "NO_POLICY";
inline constexpr char kPolicyNotFound[] = "POLICY_NOT_FOUND";
inline constexpr char kPolicyVersionNotFound[] = "POLICY_VERSION_NOT_FOUND";
inline constexpr char kPolicyInvalid[] = "POLICY_INVALID";
inline constexpr char kPolicyRefused[] = "POLICY_REFUSED";
inline constexpr char kPolicyFromDirectory[] = "POLICY_FROM_DIRECTORY";
inline constexpr char kPolicyInUse[] = "POLICY_IN_USE";
inline constexpr char kEtagMismatch[] = "ETAG_MISMATCH";
inline constexpr char kTooManyPolicies[] = "TOO_MANY_POLICIES";
inline constexpr char kProfileNotFound[] = "PROFILE_NOT_FOUND";
inline constexpr char kProfileAmbiguous[] = "PROFILE_AMBIGUOUS";
inline constexpr char kProfileState[] = "PROFILE_STATE";
inline constexpr char kProfileFull[] = "PROFILE_FULL";
inline constexpr char kCompacted[] = "COMPACTED";
inline constexpr char kBadResumeToken[] = "BAD_RESUME_TOKEN";
inline constexpr char kSlowConsumer[] = "SLOW_CONSUMER";
inline constexpr char kTooManyWatchers[] = "TOO_MANY_WATCHERS";
inline constexpr char kTracingOff[] = "TRACING_OFF";
inline constexpr char kTraceRecording[] = "TRACE_RECORDING";
inline constexpr char kTraceNotFound[] = "TRACE_NOT_FOUND";
inline constexpr char kTraceDamaged[] = "TRACE_DAMAGED";
inline constexpr char kReplayTooLong[] = "REPLAY_TOO_LONG";
inline constexpr char kReplayRefused[] = "REPLAY_REFUSED";
inline constexpr char kDecisionNotFound[] = "DECISION_NOT_FOUND";
}  // namespace reason

// The domain of our ErrorInfo.
inline constexpr char kErrorDomain[] = "callgate";

// A status with its reason. `metadata` says what the reason is about.
absl::Status ErrorWithReason(
    absl::StatusCode code, absl::string_view reason, absl::string_view message,
    const std::map<std::string, std::string>& metadata = {});

// The same status with `reason`, in place of one that it had.
absl::Status WithReason(
    absl::Status status, absl::string_view reason,
    const std::map<std::string, std::string>& metadata = {});

// The reason, or an empty string.
std::string ReasonOf(const absl::Status& status);
// One entry of its metadata, or an empty string.
std::string ReasonMetadata(const absl::Status& status, const std::string& key);

}  // namespace callgate

#endif  // CALLGATE_SERVER_ERROR_REASON_H_
