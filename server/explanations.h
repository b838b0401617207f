// Why decisions were what they were, for a while: the newest that fit into a
// bound of bytes, by decision id.
//
// Any thread.

#ifndef CALLGATE_SERVER_EXPLANATIONS_H_
#define CALLGATE_SERVER_EXPLANATIONS_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "policy/hook/decision.h"
#include "proto/callgate/v1/trial_service.pb.h"

namespace callgate {

class Explanations {
 public:
  static constexpr size_t kBytesMax = 16 << 20;

  explicit Explanations(size_t bytes_max = kBytesMax) : bytes_max_(bytes_max) {}
  Explanations(const Explanations&) = delete;
  Explanations& operator=(const Explanations&) = delete;

  // Keeps what is known of `decision`, unless it is a plain allow.
  void Keep(const policy::DecisionRecord& decision, absl::Time now);

  // Nothing: there was no such decision, or it is too long ago.
  std::optional<v1::Explanation> Find(absl::string_view decision_id) const;

 private:
  struct Entry {
    std::string id;
    std::string bytes;  // the message's, which take less than it does
    size_t size() const { return id.size() * 2 + bytes.size() + 64; }
  };

  const size_t bytes_max_;
  mutable absl::Mutex mu_;
  std::deque<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<absl::string_view, const Entry*> by_id_
      ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_EXPLANATIONS_H_
