// How many uploads are under way, and whose.
//
// A tenant may have as many as are still free for others, so that with however
// many it begins, another's upload finds a place: of sixteen, the first tenant
// may have eight, the next four, and so on. An upload's tenant is known when
// its header is there; until then it counts for all of them together.
//
// Any thread.

#ifndef CALLGATE_SERVER_SERVICES_UPLOAD_SLOTS_H_
#define CALLGATE_SERVER_SERVICES_UPLOAD_SLOTS_H_

#include <cstddef>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace callgate {

class UploadSlots {
 public:
  explicit UploadSlots(size_t max) : max_(max) {}

  // ResourceExhausted TOO_MANY_UPLOADS. Every OK is followed by one End.
  absl::Status Begin() ABSL_LOCKS_EXCLUDED(mu_);
  // Says whose an upload is that has begun. ResourceExhausted TOO_MANY_UPLOADS.
  absl::Status Assign(absl::string_view tenant) ABSL_LOCKS_EXCLUDED(mu_);
  // `tenant`: that of an Assign which was OK, else empty.
  void End(absl::string_view tenant) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const size_t max_;
  absl::Mutex mu_;
  size_t all_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, size_t> of_tenant_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_UPLOAD_SLOTS_H_
