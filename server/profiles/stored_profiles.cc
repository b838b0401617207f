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

StoredProfiles::StoredProfiles(
    storage::Catalogue& catalogue,
    std::function<void(const absl::Status&)> on_not_kept)
    : catalogue_(catalogue),
      on_not_kept_(std::move(on_not_kept)),
      thread_([this] { Run(); }) {}

StoredProfiles::~StoredProfiles() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

absl::Status StoredProfiles::Write(const ProfileId& id,
                                   const Profile& profile) {
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

StoredProfiles::Waiting StoredProfiles::TakeOver(const ProfileId& id) {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [&] { return !writing_ || !(*writing_ == id); });
  const auto at = waiting_.find(id);
  if (at == waiting_.end()) return nullptr;
  Waiting waited = std::move(at->second);
  waiting_.erase(at);
  changed_.notify_all();
  return waited;
}

void StoredProfiles::PutBack(const ProfileId& id, Waiting profile) {
  if (profile == nullptr) return;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    waiting_.emplace(id, std::move(profile));
    order_.push_back(id);
  }
  changed_.notify_all();
}

absl::Status StoredProfiles::Keep(const ProfileId& id, const Profile& profile) {
  Waiting waited = TakeOver(id);
  absl::Status kept = Write(id, profile);
  if (!kept.ok()) PutBack(id, std::move(waited));
  return kept;
}

absl::Status StoredProfiles::KeepSoon(const ProfileId& id, Waiting profile) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    const auto at = waiting_.find(id);
    if (at != waiting_.end()) {
      at->second = std::move(profile);
      return absl::OkStatus();
    }
    if (waiting_.size() >= kWaitingMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat(kWaitingMax,
                       " profiles wait for the disk already, so this run "
                       "teaches nothing"));
    }
    waiting_.emplace(id, std::move(profile));
    order_.push_back(id);
  }
  changed_.notify_all();
  return absl::OkStatus();
}

absl::Status StoredProfiles::Forget(const ProfileId& id) {
  absl::StatusOr<storage::Digest> digest =
      storage::Digest::Parse(id.module_digest);
  if (!digest.ok()) return digest.status();
  Waiting waited = TakeOver(id);
  absl::Status forgotten = catalogue_.DeleteProfile(
      id.tenant, *digest, policy::anomaly::ShapeName(id.shape));
  // It may be that nothing but what waited was there.
  if (waited != nullptr && absl::IsNotFound(forgotten)) {
    forgotten = absl::OkStatus();
  }
  if (!forgotten.ok()) PutBack(id, std::move(waited));
  return forgotten;
}

void StoredProfiles::Flush() {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [&] { return waiting_.empty() && !writing_; });
}

void StoredProfiles::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (true) {
    changed_.wait(lock, [&] { return ends_ || !order_.empty(); });
    if (order_.empty()) return;
    const ProfileId id = std::move(order_.front());
    order_.pop_front();
    const auto at = waiting_.find(id);
    if (at == waiting_.end()) continue;  // somebody else has written it
    const Waiting profile = std::move(at->second);
    waiting_.erase(at);
    writing_ = id;
    lock.unlock();
    const absl::Status kept = Write(id, *profile);
    if (!kept.ok()) on_not_kept_(kept);
    lock.lock();
    writing_.reset();
    changed_.notify_all();
  }
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
