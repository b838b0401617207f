// Every profile there is, shared by all Stores of one tenant and module.
//
// A Store begins with a Lease: the model to be judged by, if the profile says
// so, and whether what it does is to be recorded. When it has ended well, its
// record is submitted. The model is that of the Store's beginning for all of
// its life.
//
// Any thread. Changes are handed to the keeper, in order for each profile,
// which outlives the book. What a person changes counts when it is kept. What a
// run teaches counts at once and is kept soon: whoever ends a Store does not
// wait for the disk, and a crash may take the last runs along, from which
// nobody has heard that they were learned.

#ifndef CALLGATE_POLICY_ANOMALY_PROFILE_BOOK_H_
#define CALLGATE_POLICY_ANOMALY_PROFILE_BOOK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/anomaly/model.h"
#include "policy/anomaly/profile.h"
#include "policy/anomaly/run_record.h"
#include "policy/anomaly/shape.h"

namespace callgate::policy::anomaly {

// In place of a module's, of a profile that is of all modules of a tenant.
inline constexpr char kDigestOfAllModules[] =
    "sha256:0000000000000000000000000000000000000000000000000000000000000000";

struct ProfileId {
  std::string tenant;
  std::string module_digest;  // "sha256:…"
  Shape shape;

  friend bool operator<(const ProfileId& a, const ProfileId& b) {
    return a.Key() < b.Key();
  }
  friend bool operator==(const ProfileId& a, const ProfileId& b) {
    return a.Key() == b.Key();
  }

 private:
  std::tuple<const std::string&, const std::string&, uint32_t, uint32_t, bool,
             uint32_t>
  Key() const {
    return {tenant,       module_digest,     shape.ngram, shape.site_functions,
            shape.errnos, shape.share_weight};
  }
};

// "6-4-e-3277": n-gram, site functions, "e" with errnos and "x" without, share
// weight. What tells profiles of one module apart.
std::string ShapeName(const Shape& shape);
absl::StatusOr<Shape> ParseShapeName(absl::string_view name);

// Keeps profiles beyond the book's life.
class ProfileKeeper {
 public:
  virtual ~ProfileKeeper() = default;
  // Has kept it when it returns OK; may wait for the disk.
  virtual absl::Status Keep(const ProfileId& id, const Profile& profile) = 0;
  // Will keep it, and does not wait for the disk. Whatever comes later of the
  // same profile may take its place. ResourceExhausted: too many wait already.
  virtual absl::Status KeepSoon(const ProfileId& id,
                                std::shared_ptr<const Profile> profile) = 0;
  // As Keep.
  virtual absl::Status Forget(const ProfileId& id) = 0;
};

class ProfileBook {
 public:
  static constexpr size_t kProfilesMax = 10'000;

  // `keeper` may be null.
  explicit ProfileBook(ProfileKeeper* keeper) : keeper_(keeper) {}
  ProfileBook(const ProfileBook&) = delete;
  ProfileBook& operator=(const ProfileBook&) = delete;

  // What is kept already; before anybody else uses the book.
  absl::Status Load(const ProfileId& id, Profile profile);

  struct Lease {
    // Null: nothing is judged.
    std::shared_ptr<const Model> model;
    // What is judged is only said: nobody has approved the profile yet.
    bool trial = false;
    // Of a record; 0: nothing is to be recorded.
    uint64_t record_ngrams_max = 0;
  };
  // `ngrams_max` is for a profile that is not there yet.
  Lease Begin(const ProfileId& id, const LearningRule& rule,
              uint64_t ngrams_max);

  // The number of the run. As Profile::Add, or what the keeper says, which is
  // asked to keep it soon.
  absl::StatusOr<uint32_t> Submit(const ProfileId& id, const RunRecord& record,
                                  absl::string_view run_id, absl::Time ended,
                                  const LearningRule& rule,
                                  uint64_t ngrams_max);

  // Those of a tenant, in order.
  std::vector<ProfileId> List(absl::string_view tenant) const;
  // NotFound.
  absl::StatusOr<Profile> Get(const ProfileId& id) const;
  // Changes the profile as `edit` does, all or nothing. NotFound, what `edit`
  // says, or what the keeper says.
  absl::Status Edit(const ProfileId& id,
                    const std::function<absl::Status(Profile&)>& edit);
  absl::Status Remove(const ProfileId& id);

 private:
  struct Entry {
    explicit Entry(Profile p)
        : profile(std::make_shared<const Profile>(std::move(p))) {}
    std::mutex mu;
    // Guarded by mu.
    std::shared_ptr<const Profile> profile;
    std::shared_ptr<const Model> model;  // null: to be made
    bool removed = false;
  };

  std::shared_ptr<Entry> Find(const ProfileId& id) const;
  std::shared_ptr<Entry> FindOrMake(const ProfileId& id, uint64_t ngrams_max);

  ProfileKeeper* const keeper_;
  mutable std::mutex mu_;
  // Guarded by mu_, which is never held over an Entry's.
  std::map<ProfileId, std::shared_ptr<Entry>> entries_;
};

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_PROFILE_BOOK_H_
