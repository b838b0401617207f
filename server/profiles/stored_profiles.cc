#include "server/profiles/stored_profiles.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/anomaly/profile_bytes.h"

namespace callgate {

using policy::anomaly::Profile;
using policy::anomaly::ProfileBook;
using policy::anomaly::ProfileId;

absl::Status StoredProfiles::Keep(const ProfileId& id, const Profile& profile) {
  absl::StatusOr<storage::Digest> digest =
      storage::Digest::Parse(id.module_digest);
  if (!digest.ok()) return digest.status();
  storage::ProfileRecord record;
  record.tenant = id.tenant;
  record.digest = *digest;
  record.shape = policy::anomaly::ShapeName(id.shape);
  record.bytes = policy::anomaly::SerialiseProfile(profile);
  record.changed = absl::Now();
  return catalogue_.PutProfile(record);
}

absl::Status StoredProfiles::Forget(const ProfileId& id) {
  absl::StatusOr<storage::Digest> digest =
      storage::Digest::Parse(id.module_digest);
  if (!digest.ok()) return digest.status();
  return catalogue_.DeleteProfile(id.tenant, *digest,
                                  policy::anomaly::ShapeName(id.shape));
}

absl::Status StoredProfiles::LoadInto(ProfileBook& book) {
  absl::StatusOr<std::vector<storage::ProfileRecord>> records =
      catalogue_.ListProfiles();
  if (!records.ok()) return records.status();
  for (const storage::ProfileRecord& record : *records) {
    const auto lost = [&record](const absl::Status& why) {
      return absl::DataLossError(absl::StrCat(
          "profile ", record.shape, " of module ", record.digest.ToString(),
          " of tenant ", record.tenant, ": ", why.message()));
    };
    const absl::StatusOr<policy::anomaly::Shape> shape =
        policy::anomaly::ParseShapeName(record.shape);
    if (!shape.ok()) return lost(shape.status());
    absl::StatusOr<Profile> profile =
        policy::anomaly::ParseProfile(record.bytes);
    if (!profile.ok()) return lost(profile.status());
    if (profile->shape() != *shape) {
      return lost(absl::InvalidArgumentError("it is of another shape"));
    }
    const absl::Status loaded = book.Load(
        {record.tenant, record.digest.ToString(), *shape}, *std::move(profile));
    if (!loaded.ok()) return loaded;
  }
  return absl::OkStatus();
}

}  // namespace callgate
