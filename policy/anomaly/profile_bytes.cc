// Numbers are little-endian; text and lists have their length in front. In
// order:
//
//   mark, version
//   shape: n-gram, site functions, errnos (8 bits each), 0, share weight (32)
//   state (8), n-grams at most (64), when it began (64), next run (32)
//   imports: module, name                                  ascending
//   sites: functions                                       ascending
//   letters: import, site (32 each), errno class (8)       ascending
//   n-grams: letters (16 each), witnesses (32 each)        ascending
//   runs: number (32), id, ended, calls (64), added (32),
//         shares: import (32), samples (64), three doubles ascending

#include "policy/anomaly/profile_bytes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"

namespace callgate::policy::anomaly {
namespace {

constexpr char kMark[] = "cgap";
constexpr uint32_t kVersion = 1;

class Writer {
 public:
  template <typename Number>
  void Put(Number number) {
    static_assert(std::is_unsigned_v<Number>,
                  "two's complement is the caller's");
    for (size_t i = 0; i < sizeof(number); ++i) {
      bytes_.push_back(static_cast<char>(
          static_cast<uint8_t>(static_cast<uint64_t>(number) >> (8 * i))));
    }
  }
  void PutDouble(double number) {
    uint64_t bits;
    std::memcpy(&bits, &number, sizeof(bits));
    Put(bits);
  }
  void PutText(absl::string_view text) {
    Put(static_cast<uint32_t>(text.size()));
    bytes_.append(text.data(), text.size());
  }
  void PutCount(size_t count) { Put(static_cast<uint32_t>(count)); }
  void PutMark() { bytes_.append(kMark, 4); }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Past the end everything is 0 and ok() is false.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return bytes_.empty(); }
  void Fail() { ok_ = false; }

  template <typename Number>
  Number Get() {
    if (!Has(sizeof(Number))) return 0;
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof(Number); ++i) {
      number |= uint64_t{static_cast<uint8_t>(bytes_[i])} << (8 * i);
    }
    bytes_.remove_prefix(sizeof(Number));
    return static_cast<Number>(number);
  }
  double GetDouble() {
    const uint64_t bits = Get<uint64_t>();
    double number;
    std::memcpy(&number, &bits, sizeof(number));
    return number;
  }
  absl::string_view GetText(size_t max) {
    const uint32_t size = GetCount(max, 1);
    if (!ok_) return "";
    const absl::string_view text = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return text;
  }
  // Of items that take at least `bytes_each`, so that nobody makes room for
  // what is not there.
  uint32_t GetCount(size_t max, size_t bytes_each) {
    const uint32_t count = Get<uint32_t>();
    if (count > max || uint64_t{count} * bytes_each > bytes_.size())
      ok_ = false;
    return ok_ ? count : 0;
  }

 private:
  bool Has(size_t size) {
    ok_ = ok_ && bytes_.size() >= size;
    return ok_;
  }

  absl::string_view bytes_;
  bool ok_ = true;
};

bool IsShare(double value) { return value >= 0 && value <= 1.0001; }

}  // namespace

std::string SerialiseProfile(const Profile& unsorted) {
  const Profile profile = unsorted.Sorted();
  Writer out;
  out.PutMark();
  out.Put(kVersion);
  const Shape& shape = profile.shape_;
  out.Put(static_cast<uint8_t>(shape.ngram));
  out.Put(static_cast<uint8_t>(shape.site_functions));
  out.Put(static_cast<uint8_t>(shape.errnos ? 1 : 0));
  out.Put(uint8_t{0});
  out.Put(shape.share_weight);
  out.Put(static_cast<uint8_t>(profile.state_));
  out.Put(profile.ngrams_max_);
  out.Put(static_cast<uint64_t>(profile.began_));
  out.Put(profile.next_run_);

  const Alphabet& alphabet = profile.alphabet_;
  out.PutCount(alphabet.imports().size());
  for (const ImportName& import : alphabet.imports()) {
    out.PutText(import.module);
    out.PutText(import.name);
  }
  out.PutCount(alphabet.sites().size());
  for (const SiteKey& site : alphabet.sites()) {
    out.PutCount(site.size());
    for (const uint32_t function : site) out.Put(function);
  }
  out.PutCount(alphabet.letters().size() - kFirstLetter);
  for (size_t i = kFirstLetter; i < alphabet.letters().size(); ++i) {
    const LetterKey& key = alphabet.letters()[i];
    out.Put(key.import);
    out.Put(key.site);
    out.Put(static_cast<uint8_t>(key.errno_class));
  }
  std::vector<std::pair<uint64_t, Profile::Witnesses>> ngrams(
      profile.ngrams_.begin(), profile.ngrams_.end());
  std::sort(ngrams.begin(), ngrams.end());
  out.PutCount(ngrams.size());
  for (const auto& [ngram, witnesses] : ngrams) {
    for (uint32_t i = shape.ngram; i > 0; --i) {
      out.Put(static_cast<uint16_t>((ngram >> (shape.letter_bits() * (i - 1))) &
                                    (shape.letters_end() - 1)));
    }
    const auto count =
        std::find(witnesses.begin(), witnesses.end(), 0u) - witnesses.begin();
    out.PutCount(static_cast<size_t>(count));
    for (const uint32_t witness : witnesses) {
      if (witness != 0) out.Put(witness);
    }
  }
  out.PutCount(profile.runs_.size());
  for (const Profile::Run& run : profile.runs_) {
    out.Put(run.number);
    out.PutText(run.id);
    out.Put(static_cast<uint64_t>(run.ended));
    out.Put(run.calls);
    out.Put(run.added);
    out.PutCount(run.shares.size());
    for (const auto& [import, share] : run.shares) {
      out.Put(import);
      out.Put(share.samples);
      out.PutDouble(share.mean);
      out.PutDouble(share.squares);
      out.PutDouble(share.max);
    }
  }
  return out.Take();
}

// Puts a profile together from bytes that nobody vouches for. Bounds are
// checked here; that everything is sorted, used and there once is checked by
// writing the profile out again.
class ProfileReader {
 public:
  explicit ProfileReader(absl::string_view bytes) : in_(bytes) {}

  static absl::StatusOr<Profile> Parse(absl::string_view bytes) {
    const auto refuse = [](absl::string_view why) {
      return absl::InvalidArgumentError(
          absl::StrCat("not a profile of this version: ", why));
    };
    if (bytes.size() > kProfileBytesMax) {
      return refuse(absl::StrCat("it has ", bytes.size(),
                                 " bytes, the maximum is ", kProfileBytesMax));
    }
    if (bytes.substr(0, 4) != absl::string_view(kMark, 4)) {
      return refuse("it does not begin as one");
    }
    ProfileReader reader(bytes.substr(4));
    const uint32_t version = reader.in_.Get<uint32_t>();
    if (version != kVersion) {
      return refuse(
          absl::StrCat("it is of version ", version, ", not ", kVersion));
    }
    Shape shape;
    shape.ngram = reader.in_.Get<uint8_t>();
    shape.site_functions = reader.in_.Get<uint8_t>();
    shape.errnos = reader.in_.Get<uint8_t>() != 0;
    reader.in_.Get<uint8_t>();
    shape.share_weight = reader.in_.Get<uint32_t>();
    const uint8_t state = reader.in_.Get<uint8_t>();
    const uint64_t ngrams_max = reader.in_.Get<uint64_t>();
    if (!reader.in_.ok() || !shape.IsValid() || state >= kProfileStates ||
        ngrams_max > kProfileNgramsMax) {
      return refuse("its head is not one");
    }
    Profile profile(shape, ngrams_max);
    profile.state_ = static_cast<ProfileState>(state);
    profile.began_ = static_cast<int64_t>(reader.in_.Get<uint64_t>());
    profile.next_run_ = reader.in_.Get<uint32_t>();
    reader.ReadAlphabet(&profile);
    reader.ReadNgrams(&profile);
    reader.ReadRuns(&profile);
    if (!reader.in_.ok()) return refuse("it is cut off or out of bounds");
    if (!reader.in_.at_end()) return refuse("something stands behind it");
    if (SerialiseProfile(profile) != bytes) {
      return refuse("it is not as it would be written");
    }
    return profile;
  }

 private:
  void ReadAlphabet(Profile* profile) {
    Alphabet& alphabet = profile->alphabet_;
    const uint32_t imports = in_.GetCount(kImportsMax, 8);
    for (uint32_t i = 0; i < imports && in_.ok(); ++i) {
      const absl::string_view module = in_.GetText(kImportNameBytesMax);
      const absl::string_view name = in_.GetText(kImportNameBytesMax);
      if (alphabet.AddImport(module, name) != i) in_.Fail();
    }
    const uint32_t sites = in_.GetCount(kSitesMax, 4);
    for (uint32_t i = 0; i < sites && in_.ok(); ++i) {
      SiteKey site(in_.GetCount(profile->shape_.site_functions, 4));
      for (uint32_t& function : site) function = in_.Get<uint32_t>();
      if (alphabet.AddSite(site) != i) in_.Fail();
    }
    const uint32_t letters =
        in_.GetCount(profile->shape_.letters_end() - kFirstLetter, 9);
    for (uint32_t i = 0; i < letters && in_.ok(); ++i) {
      LetterKey key;
      key.import = in_.Get<uint32_t>();
      key.site = in_.Get<uint32_t>();
      const uint8_t errno_class = in_.Get<uint8_t>();
      if (errno_class >= kErrnoClasses) in_.Fail();
      key.errno_class = static_cast<ErrnoClass>(errno_class);
      if (in_.ok() && alphabet.AddLetter(key) != i + kFirstLetter) in_.Fail();
    }
  }

  void ReadNgrams(Profile* profile) {
    const Shape& shape = profile->shape_;
    const uint32_t count =
        in_.GetCount(profile->ngrams_max_, size_t{shape.ngram} * 2 + 4);
    for (uint32_t i = 0; i < count && in_.ok(); ++i) {
      uint64_t ngram = 0;
      uint16_t letter = 0;
      for (uint32_t j = 0; j < shape.ngram; ++j) {
        letter = in_.Get<uint16_t>();
        if (letter == kUnknownLetter ||
            letter >= profile->alphabet_.letters().size()) {
          in_.Fail();
        }
        ngram = ngram << shape.letter_bits() | letter;
      }
      if (letter < kFirstLetter) in_.Fail();
      Profile::Witnesses witnesses{};
      const uint32_t witness_count = in_.GetCount(kWitnessesMax, 4);
      if (witness_count == 0) in_.Fail();
      for (uint32_t j = 0; j < witness_count; ++j) {
        witnesses[j] = in_.Get<uint32_t>();
        if (witnesses[j] <= (j == 0 ? 0 : witnesses[j - 1])) in_.Fail();
        witnesses_.push_back(witnesses[j]);
      }
      if (in_.ok() && !profile->ngrams_.emplace(ngram, witnesses).second) {
        in_.Fail();
      }
    }
  }

  void ReadRuns(Profile* profile) {
    const uint32_t count = in_.GetCount(kRunsMax, 32);
    for (uint32_t i = 0; i < count && in_.ok(); ++i) {
      Profile::Run run;
      run.number = in_.Get<uint32_t>();
      run.id = std::string(in_.GetText(kRunIdBytesMax));
      run.ended = static_cast<int64_t>(in_.Get<uint64_t>());
      run.calls = in_.Get<uint64_t>();
      run.added = in_.Get<uint32_t>();
      const uint32_t before =
          profile->runs_.empty() ? 0 : profile->runs_.back().number;
      if (run.number <= before || run.number >= profile->next_run_ ||
          run.calls > kRunCallsMax || std::abs(run.ended) > kSecondsMax) {
        in_.Fail();
      }
      const uint32_t shares = in_.GetCount(kImportsMax, 36);
      for (uint32_t j = 0; j < shares && in_.ok(); ++j) {
        const uint32_t import = in_.Get<uint32_t>();
        ShareStats share;
        share.samples = in_.Get<uint64_t>();
        share.mean = in_.GetDouble();
        share.squares = in_.GetDouble();
        share.max = in_.GetDouble();
        const bool ascends =
            run.shares.empty() || import > run.shares.back().first;
        if (!ascends || import >= profile->alphabet_.imports().size() ||
            share.samples == 0 || share.samples > run.calls ||
            !IsShare(share.mean) || !IsShare(share.max) ||
            !(share.squares >= 0 &&
              share.squares <= 2 * static_cast<double>(share.samples))) {
          in_.Fail();
        }
        run.shares.emplace_back(import, share);
      }
      profile->runs_.push_back(std::move(run));
    }
    for (const uint32_t witness : witnesses_) {
      const auto at = std::lower_bound(
          profile->runs_.begin(), profile->runs_.end(), witness,
          [](const Profile::Run& run, uint32_t n) { return run.number < n; });
      if (at == profile->runs_.end() || at->number != witness) in_.Fail();
    }
  }

  // A hundred days of a call each nanosecond; no sum of them overflows.
  static constexpr uint64_t kRunCallsMax = uint64_t{1} << 53;
  static constexpr int64_t kSecondsMax = int64_t{1} << 40;

  Reader in_;
  std::vector<uint32_t> witnesses_;
};

absl::StatusOr<Profile> ParseProfile(absl::string_view bytes) {
  return ProfileReader::Parse(bytes);
}

}  // namespace callgate::policy::anomaly
