#include "policy/anomaly/profile.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::policy::anomaly {
namespace {

// The letters of an n-gram, oldest first.
std::vector<uint16_t> LettersIn(uint64_t ngram, const Shape& shape) {
  std::vector<uint16_t> letters(shape.ngram);
  for (size_t i = letters.size(); i > 0; --i) {
    letters[i - 1] = static_cast<uint16_t>(ngram & (shape.letters_end() - 1));
    ngram >>= shape.letter_bits();
  }
  return letters;
}

// Adds a run to those that had an n-gram, if there is room; greater than all of
// them.
void AddWitness(uint32_t run, Profile::Witnesses* witnesses) {
  const auto free = std::find(witnesses->begin(), witnesses->end(), 0u);
  if (free != witnesses->end()) *free = run;
}

// `order[new]` is the old number; gives the new number of each old one.
template <typename Index>
std::vector<Index> Inverse(const std::vector<uint32_t>& order, size_t size,
                           Index none) {
  std::vector<Index> inverse(size, none);
  for (size_t i = 0; i < order.size(); ++i) {
    inverse[order[i]] = static_cast<Index>(i);
  }
  return inverse;
}

}  // namespace

absl::string_view ProfileStateName(ProfileState state) {
  switch (state) {
    case ProfileState::kLearning:
      return "learning";
    case ProfileState::kStable:
      return "stable";
    case ProfileState::kExpired:
      return "expired";
    case ProfileState::kApproved:
      return "approved";
    case ProfileState::kFrozen:
      return "frozen";
  }
  return "unknown";
}

Profile::Profile(const Shape& shape, uint64_t ngrams_max)
    : shape_(shape), ngrams_max_(ngrams_max), alphabet_(shape) {
  CALLGATE_CHECK(shape.IsValid() && ngrams_max <= kProfileNgramsMax,
                 "a profile has a shape and a bound");
}

uint64_t Profile::calls() const {
  return std::accumulate(
      runs_.begin(), runs_.end(), uint64_t{0},
      [](uint64_t sum, const Run& run) { return sum + run.calls; });
}

// --- Learning ----------------------------------------------------------------

bool Profile::Learns(const LearningRule& rule) const {
  if (rule.mode == LearningRule::Mode::kOff) return false;
  switch (state_) {
    case ProfileState::kLearning:
      return true;
    case ProfileState::kStable:
      return !rule.freeze_on_stable;
    default:
      return false;
  }
}

absl::StatusOr<uint32_t> Profile::Add(const RunRecord& record,
                                      absl::string_view run_id,
                                      absl::Time ended,
                                      const LearningRule& rule) {
  if (record.shape != shape_) {
    return absl::InvalidArgumentError("the run was recorded in another shape");
  }
  if (record.overflowed) {
    return absl::InvalidArgumentError(
        "the run had more call sites or n-grams than a profile may have");
  }
  if (record.ngrams.size() == 0) {
    return absl::InvalidArgumentError("the run has no calls");
  }
  Settle(rule, ended);
  if (!Learns(rule)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the profile is ", ProfileStateName(state_), " and does not learn"));
  }
  if (runs_.size() >= kRunsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the profile has its ", kRunsMax, " runs already"));
  }
  // What it would be: either all of a run is learned or nothing.
  Alphabet alphabet = alphabet_;
  std::vector<uint32_t> imports;
  for (const ImportName& import : record.alphabet.imports()) {
    imports.push_back(alphabet.AddImport(import.module, import.name));
  }
  std::vector<uint16_t> letters = {kUnknownLetter, kBeginLetter};
  for (size_t i = kFirstLetter; i < record.alphabet.letters().size(); ++i) {
    const LetterKey& key = record.alphabet.letters()[i];
    letters.push_back(
        alphabet.AddLetter({imports[key.import],
                            alphabet.AddSite(record.alphabet.sites()[key.site]),
                            key.errno_class}));
  }
  std::vector<uint64_t> ngrams;
  bool fits = true;
  uint64_t added = 0;
  record.ngrams.ForEach([&](uint64_t ngram) {
    bool known = true;
    ngrams.push_back(Translate(ngram, letters, &known));
    fits = fits && known;
    added += uint64_t{!ngrams_.contains(ngrams.back())};
  });
  if (!fits || ngrams_.size() + added > ngrams_max_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the profile has ", alphabet_.letters().size() - kFirstLetter,
        " letters of at most ", shape_.letters_end() - kFirstLetter, " and ",
        ngrams_.size(), " n-grams of at most ", ngrams_max_,
        "; the run does not fit beside them"));
  }
  alphabet_ = std::move(alphabet);
  Run run;
  run.number = next_run_++;
  run.id = std::string(run_id.substr(0, kRunIdBytesMax));
  run.ended = absl::ToUnixSeconds(ended);
  run.calls = record.calls;
  run.added = static_cast<uint32_t>(added);
  for (size_t i = 0; i < record.shares.size(); ++i) {
    if (record.shares[i].samples == 0) continue;
    run.shares.emplace_back(imports[i], record.shares[i]);
  }
  std::sort(run.shares.begin(), run.shares.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const uint64_t ngram : ngrams) {
    AddWitness(run.number, &ngrams_[ngram]);
  }
  if (began_ == 0) began_ = run.ended;
  runs_.push_back(std::move(run));
  Settle(rule, ended);
  return runs_.back().number;
}

bool Profile::IsStable(const LearningRule& rule) const {
  if (runs_.size() < rule.min_runs || calls() < rule.min_calls) return false;
  uint64_t span_calls = 0;
  uint64_t added = 0;
  for (auto run = runs_.rbegin();
       run != runs_.rend() && span_calls < rule.min_calls; ++run) {
    span_calls += run->calls;
    added += run->added;
  }
  return static_cast<double>(added) <=
         rule.stable_novelty * static_cast<double>(span_calls);
}

void Profile::Settle(const LearningRule& rule, absl::Time now) {
  if (state_ != ProfileState::kLearning || runs_.empty() ||
      rule.mode != LearningRule::Mode::kAuto) {
    return;
  }
  if (IsStable(rule)) {
    state_ = ProfileState::kStable;
  } else if (now - absl::FromUnixSeconds(began_) > rule.max_time) {
    state_ = ProfileState::kExpired;
  }
}

absl::Status Profile::RemoveRun(uint32_t number) {
  const auto run = std::find_if(runs_.begin(), runs_.end(), [&](const Run& r) {
    return r.number == number;
  });
  if (run == runs_.end()) {
    return absl::NotFoundError(absl::StrCat("the profile has no run ", number));
  }
  runs_.erase(run);
  for (auto at = ngrams_.begin(); at != ngrams_.end();) {
    Witnesses& witnesses = at->second;
    const auto end = std::remove(witnesses.begin(), witnesses.end(), number);
    std::fill(end, witnesses.end(), 0u);
    if (witnesses[0] == 0) {
      ngrams_.erase(at++);
    } else {
      ++at;
    }
  }
  *this = Sorted();
  return absl::OkStatus();
}

absl::Status Profile::Approve() {
  if (state_ == ProfileState::kFrozen) {
    return absl::FailedPreconditionError("the profile is frozen already");
  }
  if (ngrams_.empty()) {
    return absl::FailedPreconditionError(
        "the profile has learned nothing yet; approved, it would find every "
        "call unusual");
  }
  state_ = ProfileState::kApproved;
  return absl::OkStatus();
}

absl::Status Profile::Freeze() {
  if (state_ != ProfileState::kApproved && state_ != ProfileState::kFrozen) {
    return absl::FailedPreconditionError(
        absl::StrCat("the profile is ", ProfileStateName(state_),
                     "; only an approved one is frozen"));
  }
  state_ = ProfileState::kFrozen;
  return absl::OkStatus();
}

// --- Two profiles ------------------------------------------------------------

std::vector<uint16_t> Profile::LettersOf(const Alphabet& from) const {
  std::vector<uint16_t> letters = {kUnknownLetter, kBeginLetter};
  for (size_t i = kFirstLetter; i < from.letters().size(); ++i) {
    const LetterKey& key = from.letters()[i];
    const ImportName& import = from.imports()[key.import];
    letters.push_back(alphabet_.FindLetter(
        {alphabet_.FindImport(import.module, import.name),
         alphabet_.FindSite(from.sites()[key.site]), key.errno_class}));
  }
  return letters;
}

uint64_t Profile::Translate(uint64_t ngram,
                            const std::vector<uint16_t>& letters,
                            bool* known) const {
  uint64_t translated = 0;
  for (const uint16_t letter : LettersIn(ngram, shape_)) {
    const uint16_t ours = letters[letter];
    *known = *known && ours != kUnknownLetter;
    translated = translated << shape_.letter_bits() | ours;
  }
  return translated;
}

absl::Status Profile::Merge(const Profile& other) {
  if (other.shape_ != shape_) {
    return absl::InvalidArgumentError(
        "the profiles are of different shapes and cannot be merged");
  }
  if (state_ == ProfileState::kFrozen) {
    return absl::FailedPreconditionError(
        "the profile is frozen; nothing can be merged into it");
  }
  if (runs_.size() + other.runs_.size() > kRunsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("together they have more than ", kRunsMax, " runs"));
  }
  Profile merged = *this;
  std::vector<uint32_t> imports;
  bool fits = true;
  for (const ImportName& import : other.alphabet_.imports()) {
    imports.push_back(merged.alphabet_.AddImport(import.module, import.name));
    fits = fits && imports.back() != kNone;
  }
  std::vector<uint16_t> letters = {kUnknownLetter, kBeginLetter};
  for (size_t i = kFirstLetter; i < other.alphabet_.letters().size(); ++i) {
    const LetterKey& key = other.alphabet_.letters()[i];
    letters.push_back(merged.alphabet_.AddLetter(
        {imports[key.import],
         merged.alphabet_.AddSite(other.alphabet_.sites()[key.site]),
         key.errno_class}));
  }
  absl::flat_hash_map<uint32_t, uint32_t> numbers;
  for (const Run& run : other.runs_) {
    merged.runs_.push_back(run);
    Run& copy = merged.runs_.back();
    copy.number = merged.next_run_++;
    for (auto& [import, share] : copy.shares) import = imports[import];
    std::sort(copy.shares.begin(), copy.shares.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    numbers[run.number] = copy.number;
  }
  for (const auto& [ngram, witnesses] : other.ngrams_) {
    Witnesses& ours = merged.ngrams_[Translate(ngram, letters, &fits)];
    for (const uint32_t witness : witnesses) {
      if (witness != 0) AddWitness(numbers[witness], &ours);
    }
  }
  if (!fits || merged.ngrams_.size() > ngrams_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("together they have more letters than ",
                     shape_.letters_end() - kFirstLetter,
                     " or more n-grams than ", ngrams_max_));
  }
  if (began_ == 0 || (other.began_ != 0 && other.began_ < began_)) {
    merged.began_ = other.began_;
  }
  if (state_ == ProfileState::kApproved) {
    merged.state_ = ProfileState::kStable;
  }
  *this = std::move(merged);
  return absl::OkStatus();
}

absl::StatusOr<ProfileDiff> Profile::Diff(const Profile& left,
                                          const Profile& right) {
  if (left.shape_ != right.shape_) {
    return absl::InvalidArgumentError(
        "the profiles are of different shapes and cannot be compared");
  }
  ProfileDiff diff;
  const auto compare = [](const Profile& a, const Profile& b,
                          std::vector<std::string>* only, uint64_t* count) {
    const std::vector<uint16_t> letters = b.LettersOf(a.alphabet_);
    for (const auto& entry : a.ngrams_) {
      bool known = true;
      const uint64_t there = b.Translate(entry.first, letters, &known);
      if (known && b.ngrams_.contains(there)) continue;
      ++*count;
      only->push_back(a.Describe(entry.first));
    }
    std::sort(only->begin(), only->end());
    if (only->size() > kDiffLinesMax) only->resize(kDiffLinesMax);
  };
  compare(left, right, &diff.only_left, &diff.only_left_count);
  compare(right, left, &diff.only_right, &diff.only_right_count);
  diff.common = left.ngrams_.size() - diff.only_left_count;
  return diff;
}

// --- Other forms -------------------------------------------------------------

std::shared_ptr<const Model> Profile::MakeModel() const {
  NgramSet ngrams(ngrams_.size());
  for (const auto& entry : ngrams_) ngrams.Add(entry.first);
  std::vector<ShareStats> shares(alphabet_.imports().size());
  for (const Run& run : runs_) {
    for (const auto& [import, share] : run.shares) shares[import].Add(share);
  }
  return std::make_shared<const Model>(shape_, alphabet_, std::move(ngrams),
                                       shares, calls());
}

std::string Profile::Describe(uint64_t ngram) const {
  std::string text;
  for (const uint16_t letter : LettersIn(ngram, shape_)) {
    absl::StrAppend(&text, text.empty() ? "" : " ", alphabet_.Describe(letter));
  }
  return text;
}

Profile Profile::Sorted() const {
  const std::vector<LetterKey>& letters = alphabet_.letters();
  std::vector<bool> letter_used(letters.size());
  for (const auto& entry : ngrams_) {
    for (const uint16_t letter : LettersIn(entry.first, shape_)) {
      letter_used[letter] = true;
    }
  }
  std::vector<bool> import_used(alphabet_.imports().size());
  std::vector<bool> site_used(alphabet_.sites().size());
  for (size_t i = kFirstLetter; i < letters.size(); ++i) {
    if (!letter_used[i]) continue;
    import_used[letters[i].import] = true;
    site_used[letters[i].site] = true;
  }
  const auto sorted = [](const std::vector<bool>& used, const auto& keys) {
    std::vector<uint32_t> order;
    for (uint32_t i = 0; i < used.size(); ++i) {
      if (used[i]) order.push_back(i);
    }
    std::sort(order.begin(), order.end(),
              [&](uint32_t a, uint32_t b) { return keys(a) < keys(b); });
    return order;
  };
  const std::vector<uint32_t> imports = sorted(import_used, [this](uint32_t i) {
    const ImportName& import = alphabet_.imports()[i];
    return std::tie(import.module, import.name);
  });
  const std::vector<uint32_t> sites = sorted(
      site_used,
      [this](uint32_t i) -> const SiteKey& { return alphabet_.sites()[i]; });
  const auto new_import =
      Inverse(imports, alphabet_.imports().size(), uint32_t{kNone});
  const auto new_site =
      Inverse(sites, alphabet_.sites().size(), uint32_t{kNone});

  Profile result(shape_, ngrams_max_);
  result.state_ = state_;
  result.next_run_ = next_run_;
  result.began_ = began_;
  for (const uint32_t i : imports) {
    const ImportName& import = alphabet_.imports()[i];
    result.alphabet_.AddImport(import.module, import.name);
  }
  for (const uint32_t i : sites) {
    result.alphabet_.AddSite(alphabet_.sites()[i]);
  }
  letter_used[kUnknownLetter] = false;
  letter_used[kBeginLetter] = false;
  const std::vector<uint32_t> order = sorted(letter_used, [&](uint32_t i) {
    const LetterKey& key = letters[i];
    return std::make_tuple(new_import[key.import], new_site[key.site],
                           key.errno_class);
  });
  std::vector<uint16_t> new_letter(letters.size(), kUnknownLetter);
  new_letter[kBeginLetter] = kBeginLetter;
  for (const uint32_t i : order) {
    const LetterKey& key = letters[i];
    new_letter[i] = result.alphabet_.AddLetter(
        {new_import[key.import], new_site[key.site], key.errno_class});
  }
  bool known = true;
  for (const auto& [ngram, witnesses] : ngrams_) {
    result.ngrams_.emplace(Translate(ngram, new_letter, &known), witnesses);
  }
  CALLGATE_CHECK(known, "every letter of an n-gram is kept");
  result.runs_ = runs_;
  for (Run& run : result.runs_) {
    std::vector<std::pair<uint32_t, ShareStats>> shares;
    for (const auto& [import, share] : run.shares) {
      // An import whose every n-gram has been taken out.
      if (new_import[import] == kNone) continue;
      shares.emplace_back(new_import[import], share);
    }
    std::sort(shares.begin(), shares.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    run.shares = std::move(shares);
  }
  return result;
}

}  // namespace callgate::policy::anomaly
