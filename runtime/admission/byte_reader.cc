#include "runtime/admission/byte_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "runtime/admission/utf8.h"

namespace callgate::admission {
namespace {

// Which proposal gave a type's code its meaning; kUnknown for none.
Proposal ProposalOfTypeCode(uint8_t code) {
  switch (code) {
    case 0x7f:
    case 0x7e:
    case 0x7d:
    case 0x7c:
      return Proposal::kMvp;
    case 0x7b:
      return Proposal::kSimd;
    case 0x70:
    case 0x6f:
      return Proposal::kReferenceTypes;
    case 0x69:
    case 0x74:
      return Proposal::kExceptionReferences;
    case 0x64:
    case 0x63:
      return Proposal::kFunctionReferences;
    case 0x78:
    case 0x77:
    case 0x73:
    case 0x72:
    case 0x71:
    case 0x6e:
    case 0x6d:
    case 0x6c:
    case 0x6b:
    case 0x6a:
    case 0x5f:
    case 0x5e:
    case 0x50:
    case 0x4f:
    case 0x4e:
      return Proposal::kGarbageCollection;
    case 0x75:
    case 0x68:
    case 0x5d:
      return Proposal::kStackSwitching;
    case 0x67:
    case 0x66:
    case 0x62:
    case 0x61:
      return Proposal::kStringReferences;
    default:
      return Proposal::kUnknown;
  }
}

}  // namespace

std::string HexByte(uint64_t byte) {
  return absl::StrCat("0x", absl::Hex(byte, absl::kZeroPad2));
}

uint8_t ByteReader::Byte(absl::string_view what) {
  if (!ok()) return 0;
  if (position_ == end_) {
    Truncated(what);
    return 0;
  }
  ++state_->steps;
  return module_[position_++];
}

uint32_t ByteReader::U32(absl::string_view what) {
  return static_cast<uint32_t>(Unsigned(32, what));
}

uint64_t ByteReader::U64(absl::string_view what) { return Unsigned(64, what); }

int32_t ByteReader::S32(absl::string_view what) {
  return static_cast<int32_t>(Signed(32, what));
}

int64_t ByteReader::S33(absl::string_view what) { return Signed(33, what); }

int64_t ByteReader::S64(absl::string_view what) { return Signed(64, what); }

// LEB128. Padding up to the most bytes that the width can need is legal; a
// longer form is not, nor are bits in the last byte that the width leaves
// unused.
uint64_t ByteReader::Unsigned(int bits, absl::string_view what) {
  const uint64_t start = offset();
  uint64_t value = 0;
  for (int shift = 0; shift < bits; shift += 7) {
    const uint8_t byte = Byte(what);
    if (!ok()) return 0;
    value |= uint64_t{byte & 0x7fu} << shift;
    const int used = bits - shift;
    if (used < 7 && (byte & 0x7f) >> used != 0) {
      Malformed(start, absl::StrCat(what, " sets bits past its width of ", bits,
                                    " (LEB128)"));
      return 0;
    }
    if ((byte & 0x80) == 0) return value;
  }
  Malformed(start, absl::StrCat(what, " takes more bytes than its width of ",
                                bits, " bits can need (LEB128)"));
  return 0;
}

int64_t ByteReader::Signed(int bits, absl::string_view what) {
  const uint64_t start = offset();
  uint64_t value = 0;
  for (int shift = 0; shift < bits; shift += 7) {
    const uint8_t byte = Byte(what);
    if (!ok()) return 0;
    value |= uint64_t{byte & 0x7fu} << shift;
    const int used = bits - shift;
    if (used < 7) {
      // The sign bit and all above it must agree.
      const int top = (byte & 0x7f) >> (used - 1);
      if (top != 0 && top != 0x7f >> (used - 1)) {
        Malformed(start, absl::StrCat(what, " sets bits past its width of ",
                                      bits, " (LEB128)"));
        return 0;
      }
    }
    if ((byte & 0x80) == 0) {
      const int width = shift + 7;
      if (width < 64 && (byte & 0x40) != 0) value |= ~uint64_t{0} << width;
      return static_cast<int64_t>(value);
    }
  }
  Malformed(start, absl::StrCat(what, " takes more bytes than its width of ",
                                bits, " bits can need (LEB128)"));
  return 0;
}

absl::Span<const uint8_t> ByteReader::Bytes(uint64_t size,
                                            absl::string_view what) {
  if (!ok()) return {};
  ++state_->steps;
  if (size > end_ - position_) {
    Malformed(position_,
              absl::StrCat(what, " of ", size, " bytes cannot fit in the ",
                           end_ - position_, " that are left"));
    return {};
  }
  const size_t start = position_;
  position_ += static_cast<size_t>(size);
  return module_.subspan(start, static_cast<size_t>(size));
}

ByteReader ByteReader::Window(uint64_t size, absl::string_view what) {
  ByteReader window = *this;
  Bytes(size, what);
  // After a refusal the window is empty, and reads nothing anyway.
  window.end_ = position_;
  return window;
}

uint32_t ByteReader::Count(absl::string_view what, uint64_t item_bytes_min) {
  const uint64_t start = offset();
  const uint32_t count = U32(what);
  if (ok() && count > remaining() / item_bytes_min) {
    Malformed(start,
              absl::StrCat(what, " is ", count, ", which cannot fit in the ",
                           remaining(), " bytes that are left"));
  }
  return ok() ? count : 0;
}

absl::string_view ByteReader::Name(absl::string_view what) {
  const uint64_t start = offset();
  const uint32_t size = U32(what);
  const absl::Span<const uint8_t> bytes = Bytes(size, what);
  if (!ok()) return {};
  if (!CheckLimit(&ModuleLimits::name_bytes, size, start,
                  "$1 has a name of $0 bytes")) {
    return {};
  }
  CountSteps(bytes.size());
  if (const std::optional<size_t> bad = FindInvalidUtf8(bytes)) {
    Malformed(offset() - size + *bad, absl::StrCat(what, " is not UTF-8"));
    return {};
  }
  if (bytes.empty()) return {};
  // SAFETY: char may alias any object, and the view lives as long as the bytes.
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ValType ByteReader::TypeByte(uint8_t byte, uint64_t offset,
                             absl::string_view what) {
  const Proposal proposal = ProposalOfTypeCode(byte);
  if (proposal == Proposal::kUnknown) {
    Malformed(offset, absl::StrCat(what, " has the code ", HexByte(byte),
                                   ", which is no type"));
    return ValType::kI32;
  }
  if (!features().Has(proposal)) {
    Require(proposal, offset,
            absl::StrCat("type ", HexByte(byte), " as ", what));
    return ValType::kI32;
  }
  return static_cast<ValType>(byte);
}

ValType ByteReader::ValueType(absl::string_view what) {
  const uint64_t start = offset();
  const uint8_t byte = Byte(what);
  // Nearly every type there is, without a detour.
  if (byte >= 0x7c && byte <= 0x7f) return static_cast<ValType>(byte);
  if (!ok()) return ValType::kI32;
  return TypeByte(byte, start, what);
}

ValType ByteReader::ReferenceType(absl::string_view what) {
  const uint64_t start = offset();
  const uint8_t byte = Byte(what);
  if (!ok()) return ValType::kFuncRef;
  // Tables of functions are older than references as values.
  if (byte == 0x70) return ValType::kFuncRef;
  const ValType type = TypeByte(byte, start, what);
  if (!ok()) return ValType::kFuncRef;
  if (!IsReference(type)) {
    Malformed(start, absl::StrCat(what, " is ", ValTypeName(type),
                                  ", which is not a reference type"));
    return ValType::kFuncRef;
  }
  return type;
}

void ByteReader::ExpectEnd() {
  if (!ok() || position_ == end_) return;
  Malformed(position_, absl::StrCat(end_ - position_, " bytes too many"));
}

bool ByteReader::Malformed(uint64_t offset, absl::string_view text) {
  if (!ok()) return false;
  Refusal refusal;
  refusal.kind = Refusal::Kind::kMalformed;
  refusal.offset = offset;
  refusal.message = absl::StrCat(Subject(), ": ", text, ", at byte ", offset);
  state_->refusal = std::move(refusal);
  return false;
}

bool ByteReader::CheckIndex(uint64_t index, uint64_t count,
                            absl::string_view what, uint64_t offset) {
  if (!ok()) return false;
  if (index < count) return true;
  return Malformed(offset, absl::StrCat("there is no ", what, " ", index,
                                        ": the module has ", count, " in all"));
}

bool ByteReader::CheckLimit(uint64_t ModuleLimits::*limit, uint64_t value,
                            uint64_t offset, absl::string_view sentence) {
  if (!ok()) return false;
  const uint64_t max = state_->limits.*limit;
  if (value <= max) return true;
  Refusal refusal;
  refusal.kind = Refusal::Kind::kOverLimit;
  for (const LimitName& row : AllLimits()) {
    if (row.member == limit) refusal.limit = std::string(row.name);
  }
  refusal.value = value;
  refusal.max = max;
  refusal.offset = offset;
  refusal.message =
      absl::StrCat(absl::Substitute(sentence, value, Subject()), " at byte ",
                   offset, ", more than the maximum of ", max,
                   "; to admit it raise budgets.module.", refusal.limit);
  state_->refusal = std::move(refusal);
  return false;
}

bool ByteReader::Require(Proposal proposal, uint64_t offset,
                         absl::string_view what) {
  if (!ok()) return false;
  if (state_->features.Has(proposal)) return true;
  Refusal refusal;
  refusal.kind = Refusal::Kind::kUnsupportedFeature;
  refusal.offset = offset;
  refusal.message = absl::StrCat(
      Subject(), ": ", what, " at byte ", offset,
      proposal == Proposal::kUnknown
          ? " is of no proposal that is known here"
          : absl::StrCat(" belongs to the ", ProposalName(proposal),
                         " proposal, which is not enabled: "
                         "compile the module without it"));
  state_->refusal = std::move(refusal);
  return false;
}

void ByteReader::Truncated(absl::string_view what) {
  Malformed(position_, absl::StrCat("ends where ", what, " was expected"));
}

std::string ByteReader::Subject() const {
  if (!subject_index_.has_value()) return std::string(subject_);
  return absl::StrCat(subject_, " ", *subject_index_);
}

}  // namespace callgate::admission
