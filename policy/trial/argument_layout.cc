#include "policy/trial/argument_layout.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "policy/argument.h"
#include "policy/file/nearest_name.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy::trial {
namespace {

constexpr uint64_t kPageBytes = 65536;
// Where the first argument's bytes are; below is what a guest never hands out.
constexpr uint64_t kFirstAddress = 1024;
constexpr uint64_t kAlignment = 8;
// The number of the first handle that a path stands for: beyond those that
// tests write as numbers, by custom.
constexpr uint64_t kFirstHandle = 1000;
constexpr uint64_t kIovecPairBytes = 8;

bool IsText(ArgKind kind) {
  switch (kind) {
    case ArgKind::kBytes:
    case ArgKind::kString:
    case ArgKind::kPath:
    case ArgKind::kSockaddr:
    case ArgKind::kIovecIn:
      return true;
    default:
      return false;
  }
}

bool IsIovec(ArgKind kind) {
  return kind == ArgKind::kIovecIn || kind == ArgKind::kIovecOut;
}

RawValue Number(ValType type, uint64_t value) {
  return type == ValType::kI64 ? RawValue::I64(value)
                               : RawValue::I32(static_cast<uint32_t>(value));
}

std::string LittleEndian(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) {
    bytes += static_cast<char>((value >> (8 * i)) & 0xff);
  }
  return bytes;
}

// A whole number, decimal or after "0x".
bool ReadUnsigned(absl::string_view text, uint64_t max, uint64_t* value) {
  if (text.empty() || text[0] == '+' || text[0] == '-' || text[0] == ' ') {
    return false;
  }
  const bool ok = absl::StartsWith(text, "0x")
                      ? absl::SimpleHexAtoi(text, value)
                      : absl::SimpleAtoi(text, value);
  return ok && *value <= max;
}

bool ReadSigned(absl::string_view text, int64_t min, int64_t max,
                int64_t* value) {
  return absl::SimpleAtoi(text, value) && *value >= min && *value <= max;
}

class Layout {
 public:
  Layout(const FuncType& type, absl::Span<const ArgSpec> specs,
         const WrittenArguments& written, SimulatedStore::HostCall* call)
      : type_(type), specs_(specs), written_(written), call_(*call) {}

  std::vector<LayoutProblem> Run() {
    call_.args.clear();
    call_.paths.clear();
    call_.writes.clear();
    for (const ValType param : type_.params) {
      call_.args.push_back(Value::Zero(param).raw());
    }
    is_set_.assign(type_.params.size(), false);
    CheckNames();
    // Numbers first: a length that is given says how long its bytes are.
    for (const auto& [name, text] : written_.values) {
      const ArgSpec* spec = Find(name);
      if (spec != nullptr && !HasLength(spec->kind)) SetNumber(*spec, text);
    }
    for (const auto& [name, text] : written_.values) {
      const ArgSpec* spec = Find(name);
      if (spec == nullptr || !HasLength(spec->kind)) continue;
      if (!IsText(spec->kind)) {
        Report(Part::kValue, name,
               "is written by the host; say how long it is in `sizes`");
      } else {
        SetBytes(*spec, Part::kValue, text.size(), &text);
      }
    }
    for (const auto& [name, text] : written_.results) SetResult(name, text);
    for (const auto& [name, text] : written_.sizes) SetSize(name, text);
    for (size_t i = 0; i < written_.outside.size(); ++i) SetOutside(i);
    for (const ArgSpec& spec : specs_) SetRest(spec);
    PlaceRanges();
    return std::move(problems_);
  }

 private:
  using Part = LayoutProblem::Part;

  void Report(Part part, absl::string_view name, std::string message) {
    problems_.push_back({part, std::string(name), std::move(message)});
  }

  const ArgSpec* Find(absl::string_view name) const {
    for (const ArgSpec& spec : specs_) {
      if (spec.name == name) return &spec;
    }
    return nullptr;
  }

  void CheckNames() {
    std::vector<std::string> names;
    for (const ArgSpec& spec : specs_) names.push_back(spec.name);
    const auto check = [&](Part part, absl::string_view key,
                           absl::string_view name) {
      if (Find(name) != nullptr) return;
      Report(part, key,
             names.empty()
                 ? "nothing is known of this function's arguments; describe "
                   "them in `args` of its entry under `imports`"
                 : absl::StrCat("the function has no such argument",
                                SuggestName(name, names)));
    };
    for (const auto& [name, text] : written_.values) {
      check(Part::kValue, name, name);
    }
    for (const auto& [name, text] : written_.sizes) {
      check(Part::kSize, name, name);
    }
    for (const auto& [name, text] : written_.results) {
      check(Part::kResult, name, name);
    }
    for (size_t i = 0; i < written_.outside.size(); ++i) {
      check(Part::kOutside, absl::StrCat(i), written_.outside[i]);
    }
  }

  void SetNumber(const ArgSpec& spec, const std::string& text) {
    const ValType type = type_.params[spec.index];
    const bool is_64_bit = type == ValType::kI64;
    const uint64_t max = is_64_bit ? std::numeric_limits<uint64_t>::max()
                                   : std::numeric_limits<uint32_t>::max();
    uint64_t number = 0;
    int64_t whole = 0;
    double real = 0;
    RawValue raw;
    switch (spec.kind) {
      case ArgKind::kS32:
        if (!ReadSigned(text, std::numeric_limits<int32_t>::min(),
                        std::numeric_limits<int32_t>::max(), &whole)) {
          return NotA(spec, text);
        }
        raw = RawValue::I32(static_cast<uint32_t>(whole));
        break;
      case ArgKind::kS64:
        if (!ReadSigned(text, std::numeric_limits<int64_t>::min(),
                        std::numeric_limits<int64_t>::max(), &whole)) {
          return NotA(spec, text);
        }
        raw = RawValue::I64(static_cast<uint64_t>(whole));
        break;
      case ArgKind::kF32:
      case ArgKind::kF64:
        if (!absl::SimpleAtod(text, &real)) return NotA(spec, text);
        raw = spec.kind == ArgKind::kF32
                  ? RawValue::F32(static_cast<float>(real))
                  : RawValue::F64(real);
        break;
      case ArgKind::kHandle:
        if (absl::StartsWith(text, "/")) {
          number = HandleOf(text);
        } else if (!ReadUnsigned(text, max, &number)) {
          return NotA(spec, text);
        }
        raw = Number(type, number);
        break;
      default:
        if (!ReadUnsigned(text, max, &number)) return NotA(spec, text);
        raw = Number(type, number);
        break;
    }
    call_.args[spec.index] = raw;
    is_set_[spec.index] = true;
  }

  void NotA(const ArgSpec& spec, const std::string& text) {
    Report(Part::kValue, spec.name,
           absl::StrCat(Quote(text), " is no ", ArgKindName(spec.kind),
                        spec.kind == ArgKind::kHandle
                            ? ": write a number, or the path that it was "
                              "opened as, from /"
                            : ""));
  }

  // A number for what was opened as `path`.
  uint64_t HandleOf(const std::string& path) {
    for (const auto& [number, known] : call_.paths) {
      if (known == path) return number;
    }
    const uint64_t number = kFirstHandle + call_.paths.size();
    call_.paths.emplace_back(number, path);
    return number;
  }

  void SetResult(const std::string& name, const std::string& text) {
    const ArgSpec* spec = Find(name);
    if (spec == nullptr) return;
    if (spec->kind != ArgKind::kAddrsOut) {
      Report(Part::kResult, name,
             absl::StrCat("is a ", ArgKindName(spec->kind),
                          ", and what is written to it no rule can read"));
      return;
    }
    // With the NUL behind it, as the host writes it.
    const std::string bytes = text + std::string(1, '\0');
    if (!HasRoom(*spec, Part::kResult, bytes.size())) return;
    SetBytes(*spec, Part::kResult, bytes.size(), nullptr);
    const RawValue raw = call_.args[spec->index];
    call_.writes.emplace_back(
        type_.params[spec->index] == ValType::kI64 ? raw.u64() : raw.u32(),
        bytes);
  }

  void SetSize(const std::string& name, const std::string& text) {
    const ArgSpec* spec = Find(name);
    if (spec == nullptr) return;
    uint64_t size = 0;
    if (!HasLength(spec->kind)) {
      Report(Part::kSize, name,
             absl::StrCat("is a ", ArgKindName(spec->kind),
                          ", which has no size; write it under `args`"));
    } else if (!ReadUnsigned(text, kArgumentBytesMax, &size)) {
      Report(Part::kSize, name,
             absl::StrCat(Quote(text), " is no number from 0 to ",
                          kArgumentBytesMax));
    } else {
      SetBytes(*spec, Part::kSize, size, nullptr);
    }
  }

  // `text` null: filled with x.
  void SetBytes(const ArgSpec& spec, Part part, uint64_t size,
                const std::string* text) {
    if (is_set_[spec.index]) {
      Report(part, spec.name, "is given twice");
      return;
    }
    if (is_set_[spec.len_index]) {
      Report(part, spec.name,
             "has its length given as well; leave one of the two out");
      return;
    }
    is_set_[spec.index] = true;
    is_set_[spec.len_index] = true;
    uint64_t address = 0;
    if (IsText(spec.kind)) {
      if (!HasRoom(spec, part, size)) return;
      address = Allocate(text != nullptr
                             ? *text
                             : std::string(static_cast<size_t>(size), 'x'));
    } else if (spec.kind == ArgKind::kAddrsOut) {
      // Nothing is written there unless the test says so.
      address = Allocate(std::string(static_cast<size_t>(size), '\0'));
    } else {
      address = Reserve(size);
    }
    uint64_t length = size;
    if (IsIovec(spec.kind)) {
      address = Allocate(LittleEndian(address) + LittleEndian(size));
      length = 1;
    }
    Set(spec.index, address);
    Set(spec.len_index, length);
    if (spec.kind == ArgKind::kPath) SetDirectory(spec);
  }

  // A path is the guest's: it begins at the root unless a handle says where.
  void SetDirectory(const ArgSpec& spec) {
    if (spec.dir_index == kNoIndex || is_set_[spec.dir_index]) return;
    is_set_[spec.dir_index] = true;
    Set(spec.dir_index, HandleOf("/"));
  }

  void SetOutside(size_t index) {
    const ArgSpec* spec = Find(written_.outside[index]);
    if (spec == nullptr) return;
    if (!HasLength(spec->kind) && spec->kind != ArgKind::kPointer) {
      Report(Part::kOutside, absl::StrCat(index), "is no address");
      return;
    }
    if (is_set_[spec->index]) {
      Report(Part::kOutside, absl::StrCat(index),
             "is given under `args` or `sizes` as well");
      return;
    }
    is_set_[spec->index] = true;
    outside_.push_back(spec->index);
    if (!HasLength(spec->kind)) return;
    if (!is_set_[spec->len_index]) Set(spec->len_index, 1);
    is_set_[spec->len_index] = true;
    if (spec->kind == ArgKind::kPath) SetDirectory(*spec);
  }

  // What nobody has given: nothing, or as much as its length says.
  void SetRest(const ArgSpec& spec) {
    if (!HasLength(spec.kind) || is_set_[spec.index]) return;
    is_set_[spec.index] = true;
    if (spec.kind == ArgKind::kPath) SetDirectory(spec);
    const RawValue raw = call_.args[spec.len_index];
    const uint64_t length =
        type_.params[spec.len_index] == ValType::kI64 ? raw.u64() : raw.u32();
    if (IsIovec(spec.kind)) {
      // Pairs of nothing; with more of them than that no call goes on.
      const uint64_t pairs = std::min(length, kIovecPairsMax + 1);
      Set(spec.index, Allocate(std::string(
                          static_cast<size_t>(pairs * kIovecPairBytes), '\0')));
    } else if (IsText(spec.kind)) {
      if (!HasRoom(spec, Part::kValue, length)) return;
      Set(spec.index, Allocate(std::string(static_cast<size_t>(length), 'x')));
    } else {
      Set(spec.index, Reserve(length));
    }
  }

  void Set(uint32_t index, uint64_t value) {
    call_.args[index] = Number(type_.params[index], value);
  }

  bool HasRoom(const ArgSpec& spec, Part part, uint64_t size) {
    if (size <= kArgumentBytesMax - bytes_) {
      bytes_ += size;
      return true;
    }
    Report(part, spec.name,
           absl::StrCat("makes the call's arguments longer than ",
                        kArgumentBytesMax, " bytes"));
    return false;
  }

  uint64_t Reserve(uint64_t size) {
    const uint64_t address = end_;
    const uint64_t room = SparseMemory::kBytesMax - 2 * kPageBytes - end_;
    end_ += std::min(size, room);
    end_ += (kAlignment - end_ % kAlignment) % kAlignment;
    return address;
  }
  uint64_t Allocate(std::string bytes) {
    const uint64_t address = Reserve(bytes.size());
    ranges_.emplace_back(address, std::move(bytes));
    return address;
  }

  void PlaceRanges() {
    const uint64_t pages = end_ / kPageBytes + 1;
    const uint64_t size = pages * kPageBytes;
    call_.memory.Reset(size);
    for (auto& [address, bytes] : ranges_) {
      call_.memory.Add(address, std::move(bytes));
    }
    for (const uint32_t index : outside_) Set(index, size);
  }

  const FuncType& type_;
  const absl::Span<const ArgSpec> specs_;
  const WrittenArguments& written_;
  SimulatedStore::HostCall& call_;
  std::vector<bool> is_set_;  // by parameter
  std::vector<std::pair<uint64_t, std::string>> ranges_;
  std::vector<uint32_t> outside_;
  uint64_t end_ = kFirstAddress;
  uint64_t bytes_ = 0;  // of arguments that the host reads
  std::vector<LayoutProblem> problems_;
};

}  // namespace

std::vector<LayoutProblem> LayOutArguments(const FuncType& type,
                                           absl::Span<const ArgSpec> specs,
                                           const WrittenArguments& written,
                                           SimulatedStore::HostCall* call) {
  for (const ArgSpec& spec : specs) {
    CALLGATE_CHECK(spec.index < type.params.size(), "a spec fits its type");
  }
  return Layout(type, specs, written, call).Run();
}

}  // namespace callgate::policy::trial
