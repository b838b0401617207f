#include "policy/anomaly/stream.h"

#include <algorithm>
#include <cmath>

#include "runtime/check.h"

namespace callgate::policy::anomaly {
namespace {

// Gaps up to this have their decay worked out beforehand.
constexpr size_t kDecaysKept = 256;

}  // namespace

Stream::Stream(const Options& options)
    : shape_(options.shape),
      letter_bits_(shape_.letter_bits()),
      key_mask_(shape_.key_mask()),
      frame_mask_((uint64_t{1} << options.frame) - 1),
      model_(options.model),
      names_(shape_) {
  CALLGATE_CHECK(
      shape_.IsValid() && options.frame >= 1 && options.frame <= kFrameMax,
      "a stream has a shape and a frame");
  CALLGATE_CHECK(model_ == nullptr || model_->shape() == shape_,
                 "a stream is judged by a model of its shape");
  CALLGATE_CHECK(!options.begins_late || options.record_ngrams_max == 0,
                 "what is recorded is recorded from its beginning");
  if (options.begins_late) unjudged_ = shape_.ngram - 1;
  if (options.record_ngrams_max > 0) {
    record_.emplace(shape_, options.record_ngrams_max);
  }
  for (uint32_t i = 0; i + 1 < shape_.ngram; ++i) {
    known_past_ = known_past_ << letter_bits_ | kBeginLetter;
  }
  recorded_past_ = known_past_;
  if (shape_.share_weight == 0) return;
  const double keep = 1 - static_cast<double>(shape_.share_weight) / 65536;
  double decay = 1;
  for (size_t i = 0; i < kDecaysKept; ++i, decay *= keep) {
    decays_.push_back(decay);
  }
}

uint32_t Stream::AddSite(absl::string_view module, absl::string_view name,
                         absl::Span<const uint32_t> functions) {
  functions = functions.first(
      std::min<size_t>(functions.size(), shape_.site_functions));
  const uint32_t import = names_.AddImport(module, name);
  const uint32_t place = names_.AddSite(functions);
  // What there is no room for has one site together, which no letter knows.
  const uint64_t key = import == kNone || place == kNone
                           ? ~uint64_t{0}
                           : uint64_t{import} << 32 | place;
  const auto [at, is_new] =
      site_of_.try_emplace(key, static_cast<uint32_t>(sites_.size()));
  if (!is_new) return at->second;
  Site site;
  if (key != ~uint64_t{0}) {
    site.import = import;
    if (import >= shares_.size()) shares_.resize(import + 1);
    if (model_ != nullptr) {
      const Alphabet& letters = model_->alphabet();
      const uint32_t known_import = letters.FindImport(module, name);
      const uint32_t known_site = letters.FindSite(functions);
      for (size_t c = 0; c < kErrnoClasses; ++c) {
        site.known[c] = letters.FindLetter(
            {known_import, known_site, static_cast<ErrnoClass>(c)});
      }
      if (known_import < model_->usual().size()) {
        shares_[import].usual = model_->usual()[known_import];
      }
    }
    if (record_) {
      site.recorded_import = record_->alphabet.AddImport(module, name);
      site.recorded_site = record_->alphabet.AddSite(functions);
      if (site.recorded_import != kNone &&
          site.recorded_import >= record_->shares.size()) {
        record_->shares.resize(site.recorded_import + 1);
      }
    }
  }
  sites_.push_back(site);
  return at->second;
}

double Stream::Decay(uint64_t calls) const {
  if (calls < kDecaysKept) return decays_[calls];
  return std::pow(decays_[1], static_cast<double>(calls));
}

double Stream::ShareOf(Share& share) const {
  share.value = share.value * Decay(calls_ - share.last_call) +
                static_cast<double>(shape_.share_weight) / 65536;
  share.last_call = calls_;
  return share.value;
}

uint64_t Stream::RecordedLetter(Site& site, ErrnoClass errno_class) {
  uint16_t& letter = site.recorded[static_cast<size_t>(errno_class)];
  if (letter == kUnknownLetter) {
    letter = record_->alphabet.AddLetter(
        {site.recorded_import, site.recorded_site, errno_class});
    record_->overflowed |= letter == kUnknownLetter;
  }
  return letter;
}

void Stream::Shift(ErrnoClass errno_class) {
  Site& site = sites_[pending_];
  known_past_ = known_past_ << letter_bits_ |
                site.known[static_cast<size_t>(errno_class)];
  if (record_) {
    recorded_past_ =
        recorded_past_ << letter_bits_ | RecordedLetter(site, errno_class);
  }
  pending_ = kNone;
}

Score Stream::Calling(uint32_t number) {
  if (pending_ != kNone) Shift(ErrnoClass::kPending);
  Site& site = sites_[number];
  pending_ = number;
  ++calls_;
  constexpr auto kPendingClass = static_cast<size_t>(ErrnoClass::kPending);
  Score score;
  if (model_ != nullptr) {
    const uint64_t key =
        (known_past_ << letter_bits_ | site.known[kPendingClass]) & key_mask_;
    // An n-gram with an unknown letter is in no set.
    if (unjudged_ > 0) {
      --unjudged_;
    } else {
      score.novel = !model_->ngrams().Contains(key);
    }
    frame_ = (frame_ << 1 | uint64_t{score.novel}) & frame_mask_;
    total_ += uint64_t{score.novel};
    const bool is_strange = site.known[kPendingClass] == kUnknownLetter;
    strange_ = (strange_ << 1 | uint64_t{is_strange}) & frame_mask_;
    score.strange = static_cast<uint32_t>(__builtin_popcountll(strange_));
    uint64_t& word = recent_[calls_ / 64 % recent_.size()];
    const uint64_t bit = uint64_t{1} << calls_ % 64;
    if (recent_count_ > 0 && (word & bit) != 0) {
      word &= ~bit;
      --recent_count_;
    }
    if (score.novel) {
      word |= bit;
      ++recent_count_;
    }
    score.recent = recent_count_;
    score.frame = static_cast<uint32_t>(__builtin_popcountll(frame_));
    score.total = total_;
    score.calls = calls_;
  }
  if (record_) {
    ++record_->calls;
    const uint64_t letter = RecordedLetter(site, ErrnoClass::kPending);
    const uint64_t key = (recorded_past_ << letter_bits_ | letter) & key_mask_;
    record_->overflowed |= letter != kUnknownLetter &&
                           record_->ngrams.Add(key) == NgramSet::Added::kFull;
  }
  if (!decays_.empty() && site.import != kNone) {
    Share& share = shares_[site.import];
    const double value = ShareOf(share);
    if (value > share.usual.max) {
      score.share_z = (value - share.usual.mean) * share.usual.per_deviation;
    }
    if (record_ && site.recorded_import != kNone) {
      record_->shares[site.recorded_import].Add(value);
    }
  }
  return score;
}

}  // namespace callgate::policy::anomaly
