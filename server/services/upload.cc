#include "server/services/upload.h"

namespace callgate {

absl::Status UploadBuffer::Begin(int64_t announced, uint64_t bytes_max) {
  if (announced < 0) {
    return ErrorWithReason(
        absl::StatusCode::kInvalidArgument, reason::kBadArgument,
        absl::StrCat("size_bytes ", announced, " is negative"));
  }
  announced_ = static_cast<uint64_t>(announced);
  if (announced_ > bytes_max) {
    return ErrorWithReason(
        absl::StatusCode::kFailedPrecondition, reason::kModuleOverLimit,
        absl::StrCat("the module has ", announced_,
                     " bytes, more than the maximum of ", bytes_max,
                     "; to admit it raise budgets.module.bytes"),
        {{"limit", "bytes"},
         {"value", absl::StrCat(announced_)},
         {"max", absl::StrCat(bytes_max)}});
  }
  return absl::OkStatus();
}

absl::Status UploadBuffer::Add(absl::string_view chunk) {
  if (chunk.empty() || chunk.size() > kUploadChunkBytesMax) {
    return ErrorWithReason(
        absl::StatusCode::kInvalidArgument, reason::kBadChunk,
        absl::StrCat("a chunk has ", chunk.size(), " bytes; send 1 to ",
                     kUploadChunkBytesMax));
  }
  if (chunk.size() > announced_ - bytes_.size()) {
    return ErrorWithReason(
        absl::StatusCode::kInvalidArgument, reason::kSizeMismatch,
        absl::StrCat("more bytes come than the header's size_bytes of ",
                     announced_));
  }
  bytes_.append(chunk.data(), chunk.size());
  return absl::OkStatus();
}

absl::Status UploadBuffer::End() const {
  if (bytes_.size() == announced_) return absl::OkStatus();
  return ErrorWithReason(
      absl::StatusCode::kInvalidArgument, reason::kSizeMismatch,
      absl::StrCat("the stream ended after ", bytes_.size(),
                   " bytes; the header's size_bytes is ", announced_));
}

}  // namespace callgate
