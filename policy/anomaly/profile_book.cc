#include "policy/anomaly/profile_book.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace callgate::policy::anomaly {
namespace {

absl::Status NoProfile(const ProfileId& id) {
  return absl::NotFoundError(absl::StrCat("there is no profile ",
                                          ShapeName(id.shape), " of module ",
                                          id.module_digest));
}

}  // namespace

std::string ShapeName(const Shape& shape) {
  return absl::StrCat(shape.ngram, "-", shape.site_functions, "-",
                      shape.errnos ? "e" : "x", "-", shape.share_weight);
}

absl::StatusOr<Shape> ParseShapeName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '-');
  Shape shape;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[0], &shape.ngram) ||
      !absl::SimpleAtoi(parts[1], &shape.site_functions) ||
      (parts[2] != "e" && parts[2] != "x") ||
      !absl::SimpleAtoi(parts[3], &shape.share_weight) || !shape.IsValid()) {
    return absl::InvalidArgumentError(
        "a profile's shape is written as 6-4-e-0");
  }
  shape.errnos = parts[2] == "e";
  // One name for each.
  if (ShapeName(shape) != name) {
    return absl::InvalidArgumentError(
        "a profile's shape is written as 6-4-e-0");
  }
  return shape;
}

absl::Status ProfileBook::Load(const ProfileId& id, Profile profile) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (entries_.size() >= kProfilesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are more than ", kProfilesMax, " profiles"));
  }
  entries_[id] = std::make_shared<Entry>(std::move(profile));
  return absl::OkStatus();
}

std::shared_ptr<ProfileBook::Entry> ProfileBook::Find(
    const ProfileId& id) const {
  const std::lock_guard<std::mutex> lock(mu_);
  const auto at = entries_.find(id);
  return at == entries_.end() ? nullptr : at->second;
}

std::shared_ptr<ProfileBook::Entry> ProfileBook::FindOrMake(
    const ProfileId& id, uint64_t ngrams_max) {
  const std::lock_guard<std::mutex> lock(mu_);
  const auto at = entries_.find(id);
  if (at != entries_.end()) return at->second;
  if (entries_.size() >= kProfilesMax) return nullptr;
  auto entry = std::make_shared<Entry>(Profile(id.shape, ngrams_max));
  entries_[id] = entry;
  return entry;
}

ProfileBook::Lease ProfileBook::Begin(const ProfileId& id,
                                      const LearningRule& rule,
                                      uint64_t ngrams_max) {
  Lease lease;
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr) {
    if (rule.mode != LearningRule::Mode::kOff) {
      lease.record_ngrams_max = ngrams_max;
    }
    return lease;
  }
  const std::lock_guard<std::mutex> lock(entry->mu);
  const Profile& profile = *entry->profile;
  if (profile.Learns(rule)) lease.record_ngrams_max = profile.ngrams_max();
  switch (profile.state()) {
    case ProfileState::kLearning:
    case ProfileState::kExpired:
      return lease;
    case ProfileState::kStable:
      lease.trial = rule.require_approval;
      break;
    case ProfileState::kApproved:
    case ProfileState::kFrozen:
      break;
  }
  if (entry->model == nullptr) entry->model = profile.MakeModel();
  lease.model = entry->model;
  return lease;
}

absl::StatusOr<uint32_t> ProfileBook::Submit(
    const ProfileId& id, const RunRecord& record, absl::string_view run_id,
    absl::Time ended, const LearningRule& rule, uint64_t ngrams_max) {
  const std::shared_ptr<Entry> entry = FindOrMake(id, ngrams_max);
  if (entry == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", kProfilesMax, " profiles already"));
  }
  const std::lock_guard<std::mutex> lock(entry->mu);
  if (entry->removed) return NoProfile(id);
  auto learned = std::make_shared<Profile>(*entry->profile);
  const absl::StatusOr<uint32_t> number =
      learned->Add(record, run_id, ended, rule);
  if (!number.ok()) return number;
  if (keeper_ != nullptr) {
    const absl::Status kept = keeper_->KeepSoon(id, learned);
    if (!kept.ok()) return kept;
  }
  entry->profile = std::move(learned);
  entry->model = nullptr;
  return number;
}

std::vector<ProfileId> ProfileBook::List(absl::string_view tenant) const {
  const std::lock_guard<std::mutex> lock(mu_);
  std::vector<ProfileId> ids;
  for (const auto& entry : entries_) {
    if (entry.first.tenant == tenant) ids.push_back(entry.first);
  }
  return ids;
}

absl::StatusOr<Profile> ProfileBook::Get(const ProfileId& id) const {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr) return NoProfile(id);
  const std::lock_guard<std::mutex> lock(entry->mu);
  return *entry->profile;
}

absl::Status ProfileBook::Edit(
    const ProfileId& id, const std::function<absl::Status(Profile&)>& edit) {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr) return NoProfile(id);
  const std::lock_guard<std::mutex> lock(entry->mu);
  if (entry->removed) return NoProfile(id);
  Profile edited = *entry->profile;
  absl::Status status = edit(edited);
  if (!status.ok()) return status;
  if (keeper_ != nullptr) {
    status = keeper_->Keep(id, edited);
    if (!status.ok()) return status;
  }
  entry->profile = std::make_shared<const Profile>(std::move(edited));
  entry->model = nullptr;
  return absl::OkStatus();
}

absl::Status ProfileBook::Remove(const ProfileId& id) {
  const std::shared_ptr<Entry> entry = Find(id);
  if (entry == nullptr) return NoProfile(id);
  {
    const std::lock_guard<std::mutex> lock(entry->mu);
    if (keeper_ != nullptr) {
      const absl::Status status = keeper_->Forget(id);
      if (!status.ok()) return status;
    }
    entry->removed = true;
  }
  const std::lock_guard<std::mutex> lock(mu_);
  const auto at = entries_.find(id);
  if (at != entries_.end() && at->second == entry) entries_.erase(at);
  return absl::OkStatus();
}

}  // namespace callgate::policy::anomaly
