#include "server/services/profile_service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "policy/anomaly/profile_bytes.h"
#include "policy/import_name.h"
#include "policy/learned_policy.h"
#include "server/error_reason.h"
#include "server/services/resource_name.h"
#include "server/services/unary_call.h"
#include "server/storage/digest.h"

namespace callgate {
namespace {

using policy::anomaly::Profile;
using policy::anomaly::ProfileId;
using policy::anomaly::ShapeName;

constexpr char kService[] = "callgate.v1.ProfileService";
constexpr char kCollection[] = "profiles";
constexpr size_t kNgramsShown = 1000;

// The book's status, with the reason that its code means there.
absl::Status Explain(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return WithReason(status, reason::kProfileNotFound);
    case absl::StatusCode::kFailedPrecondition:
      return WithReason(status, reason::kProfileState);
    case absl::StatusCode::kResourceExhausted:
      return WithReason(status, reason::kProfileFull);
    case absl::StatusCode::kInvalidArgument:
      return WithReason(status, reason::kBadArgument);
    default:
      return status;
  }
}

std::string NameOf(const ProfileId& id) {
  return TenantResourceName(
      id.tenant, kCollection,
      absl::StrCat(id.module_digest, ".", ShapeName(id.shape)));
}

std::string VersionOf(const Profile& profile) {
  return std::string(absl::StripPrefix(
      storage::DigestOf(policy::anomaly::SerialiseProfile(profile)).ToString(),
      "sha256:"));
}

void ToMessage(const ProfileId& id, const Profile& profile, bool is_whole,
               v1::Profile* message) {
  message->set_name(NameOf(id));
  message->set_module_digest(id.module_digest);
  message->set_shape(ShapeName(id.shape));
  message->set_state(
      static_cast<v1::ProfileState>(static_cast<int>(profile.state()) + 1));
  message->set_runs_count(profile.runs().size());
  message->set_calls(profile.calls());
  message->set_ngrams_count(profile.ngram_count());
  message->set_ngrams_max(profile.ngrams_max());
  for (const policy::ImportName& import : profile.alphabet().imports()) {
    message->add_imports(policy::FormatImportName(import.module, import.name));
  }
  message->set_version(VersionOf(profile));
  if (!is_whole) return;
  for (const Profile::Run& run : profile.runs()) {
    v1::ProfileRun* to = message->add_runs();
    to->set_number(run.number);
    to->set_store_id(run.id);
    to->mutable_end_time()->set_seconds(run.ended);
    to->set_calls(run.calls);
    to->set_new_ngrams(run.added);
  }
  std::vector<std::string> ngrams;
  for (const auto& entry : profile.ngrams()) {
    ngrams.push_back(profile.Describe(entry.first));
  }
  std::sort(ngrams.begin(), ngrams.end());
  if (ngrams.size() > kNgramsShown) ngrams.resize(kNgramsShown);
  for (std::string& ngram : ngrams) message->add_ngrams(std::move(ngram));
}

}  // namespace

static_assert(static_cast<int>(policy::anomaly::ProfileState::kFrozen) + 1 ==
                  v1::PROFILE_STATE_FROZEN,
              "states have the same order");

absl::StatusOr<ProfileId> ProfileService::Resolve(
    const std::string& name) const {
  const absl::StatusOr<TenantResource> resource =
      ParseTenantResource(kCollection, name);
  if (!resource.ok()) return resource.status();
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(resource->id, absl::MaxSplits('.', 1));
  const absl::StatusOr<storage::Digest> digest =
      storage::Digest::Parse(parts.first);
  if (!digest.ok()) return WithReason(digest.status(), reason::kBadArgument);
  ProfileId id = {resource->tenant, digest->ToString(), {}};
  if (!parts.second.empty()) {
    const absl::StatusOr<policy::anomaly::Shape> shape =
        policy::anomaly::ParseShapeName(parts.second);
    if (!shape.ok()) return WithReason(shape.status(), reason::kBadArgument);
    id.shape = *shape;
    return id;
  }
  std::vector<std::string> shapes;
  for (const ProfileId& known : parts_.profiles.List(id.tenant)) {
    if (known.module_digest != id.module_digest) continue;
    id.shape = known.shape;
    shapes.push_back(ShapeName(known.shape));
  }
  if (shapes.size() > 1) {
    return ErrorWithReason(
        absl::StatusCode::kFailedPrecondition, reason::kProfileAmbiguous,
        absl::StrCat("module ", id.module_digest,
                     " has several profiles; name one as DIGEST.SHAPE: ",
                     absl::StrJoin(shapes, ", ")));
  }
  if (shapes.empty()) {
    return ErrorWithReason(
        absl::StatusCode::kNotFound, reason::kProfileNotFound,
        absl::StrCat("module ", id.module_digest, " has no profile"));
  }
  return id;
}

absl::StatusOr<Profile> ProfileService::Read(const std::string& name) const {
  const absl::StatusOr<ProfileId> id = Resolve(name);
  if (!id.ok()) return id.status();
  absl::StatusOr<Profile> profile = parts_.profiles.Get(*id);
  if (!profile.ok()) return Explain(profile.status());
  return profile;
}

absl::Status ProfileService::Edit(const std::string& name, const char* action,
                                  const Change& change, v1::Profile* response) {
  absl::Status status = CheckNotDraining(parts_);
  if (!status.ok()) return status;
  const absl::StatusOr<ProfileId> id = Resolve(name);
  if (!id.ok()) return id.status();
  status = parts_.profiles.Edit(*id, [&](Profile& profile) {
    const absl::Status changed = change(profile);
    if (changed.ok()) ToMessage(*id, profile, /*is_whole=*/true, response);
    return changed;
  });
  if (!status.ok()) return Explain(status);
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_NOTICE);
  event.set_tenant(id->tenant);
  event.set_module_digest(id->module_digest);
  event.set_action(action);
  event.set_message(absl::StrCat("profile ", ShapeName(id->shape),
                                 " is now version ", response->version()));
  parts_.events.Publish(std::move(event));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* ProfileService::ListProfiles(
    grpc::CallbackServerContext* context,
    const v1::ListProfilesRequest* request,
    v1::ListProfilesResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ListProfiles", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<std::string> tenant =
            ParseTenant(request->parent());
        if (!tenant.ok()) return tenant.status();
        const absl::StatusOr<size_t> size = ParsePageSize(request->page_size());
        if (!size.ok()) return size.status();
        // A page token is the name that the page before ended with.
        std::vector<std::pair<std::string, ProfileId>> named;
        for (ProfileId& id : parts_.profiles.List(*tenant)) {
          std::string name = NameOf(id);
          if (name > request->page_token()) {
            named.emplace_back(std::move(name), std::move(id));
          }
        }
        std::sort(named.begin(), named.end(), [](const auto& a, const auto& b) {
          return a.first < b.first;
        });
        const bool is_last = named.size() <= *size;
        if (!is_last) {
          named.resize(*size);
          response->set_next_page_token(named.back().first);
        }
        for (const auto& entry : named) {
          const absl::StatusOr<Profile> profile =
              parts_.profiles.Get(entry.second);
          // It may have gone in between.
          if (!profile.ok()) continue;
          ToMessage(entry.second, *profile, /*is_whole=*/false,
                    response->add_profiles());
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ProfileService::GetProfile(
    grpc::CallbackServerContext* context, const v1::GetProfileRequest* request,
    v1::Profile* response) {
  return UnaryCall::Start(
      parts_, kService, "GetProfile", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<ProfileId> id = Resolve(request->name());
        if (!id.ok()) return id.status();
        const absl::StatusOr<Profile> profile = parts_.profiles.Get(*id);
        if (!profile.ok()) return Explain(profile.status());
        ToMessage(*id, *profile, /*is_whole=*/true, response);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ProfileService::ApproveProfile(
    grpc::CallbackServerContext* context,
    const v1::ApproveProfileRequest* request, v1::Profile* response) {
  return UnaryCall::Start(
      parts_, kService, "ApproveProfile", context, &parts_.control,
      [this, request, response](UnaryCall&) {
        return Edit(
            request->name(), "profile_approved",
            [request](Profile& profile) {
              const std::string version = VersionOf(profile);
              if (!request->version().empty() &&
                  request->version() != version) {
                return absl::FailedPreconditionError(absl::StrCat(
                    "the profile is of version ", version,
                    " now; look at it again before you approve it"));
              }
              return profile.Approve();
            },
            response);
      });
}

grpc::ServerUnaryReactor* ProfileService::FreezeProfile(
    grpc::CallbackServerContext* context,
    const v1::FreezeProfileRequest* request, v1::Profile* response) {
  return UnaryCall::Start(
      parts_, kService, "FreezeProfile", context, &parts_.control,
      [this, request, response](UnaryCall&) {
        return Edit(
            request->name(), "profile_frozen",
            [](Profile& profile) { return profile.Freeze(); }, response);
      });
}

grpc::ServerUnaryReactor* ProfileService::RemoveProfileRun(
    grpc::CallbackServerContext* context,
    const v1::RemoveProfileRunRequest* request, v1::Profile* response) {
  return UnaryCall::Start(parts_, kService, "RemoveProfileRun", context,
                          &parts_.control,
                          [this, request, response](UnaryCall&) {
                            return Edit(
                                request->name(), "profile_run_removed",
                                [request](Profile& profile) {
                                  return profile.RemoveRun(request->run());
                                },
                                response);
                          });
}

grpc::ServerUnaryReactor* ProfileService::MergeProfile(
    grpc::CallbackServerContext* context,
    const v1::MergeProfileRequest* request, v1::Profile* response) {
  return UnaryCall::Start(
      parts_, kService, "MergeProfile", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<Profile> source = Read(request->source());
        if (!source.ok()) return source.status();
        return Edit(
            request->name(), "profile_merged",
            [&source](Profile& profile) { return profile.Merge(*source); },
            response);
      });
}

grpc::ServerUnaryReactor* ProfileService::DiffProfiles(
    grpc::CallbackServerContext* context,
    const v1::DiffProfilesRequest* request,
    v1::DiffProfilesResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "DiffProfiles", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<Profile> left = Read(request->left());
        if (!left.ok()) return left.status();
        const absl::StatusOr<Profile> right = Read(request->right());
        if (!right.ok()) return right.status();
        const absl::StatusOr<policy::anomaly::ProfileDiff> diff =
            Profile::Diff(*left, *right);
        if (!diff.ok()) return Explain(diff.status());
        for (const std::string& ngram : diff->only_left) {
          response->add_only_left(ngram);
        }
        for (const std::string& ngram : diff->only_right) {
          response->add_only_right(ngram);
        }
        response->set_only_left_count(diff->only_left_count);
        response->set_only_right_count(diff->only_right_count);
        response->set_common_count(diff->common);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ProfileService::DeleteProfile(
    grpc::CallbackServerContext* context,
    const v1::DeleteProfileRequest* request, google::protobuf::Empty*) {
  return UnaryCall::Start(
      parts_, kService, "DeleteProfile", context, &parts_.control,
      [this, request](UnaryCall&) -> absl::Status {
        const absl::Status status = CheckNotDraining(parts_);
        if (!status.ok()) return status;
        const absl::StatusOr<ProfileId> id = Resolve(request->name());
        if (!id.ok()) return id.status();
        return Explain(parts_.profiles.Remove(*id));
      });
}

grpc::ServerUnaryReactor* ProfileService::LearnPolicy(
    grpc::CallbackServerContext* context, const v1::LearnPolicyRequest* request,
    v1::LearnPolicyResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "LearnPolicy", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<ProfileId> id = Resolve(request->name());
        if (!id.ok()) return id.status();
        const absl::StatusOr<Profile> profile = parts_.profiles.Get(*id);
        if (!profile.ok()) return Explain(profile.status());
        std::string name = request->policy_name();
        if (name.empty()) {
          constexpr size_t kDigits = 12;
          name = absl::StrCat("learned-",
                              absl::StripPrefix(id->module_digest, "sha256:")
                                  .substr(0, kDigits));
        }
        // It goes into a file as it is.
        const bool is_plain =
            name.size() <= 63 &&
            std::all_of(name.begin(), name.end(), [](unsigned char c) {
              return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
            });
        if (!is_plain) {
          return ErrorWithReason(
              absl::StatusCode::kInvalidArgument, reason::kBadArgument,
              "policy_name: write 1 to 63 letters, digits, '.', '_' and '-'");
        }
        response->set_source(
            policy::LearnedPolicyYaml(*profile, name, id->module_digest));
        return absl::OkStatus();
      });
}

}  // namespace callgate
