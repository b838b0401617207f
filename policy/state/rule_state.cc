#include "policy/state/rule_state.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

uint64_t RecordsBytes(const StateShape& shape) {
  uint64_t bytes = 0;
  for (const FactsShape& record : shape.records) {
    bytes += FactsRecord::BytesFor(record);
  }
  return bytes;
}

// What the states of so many keys, or so many attempts or events, take.
uint64_t BytesOf(const StateShape& shape, size_t entries) {
  switch (shape.kind) {
    case StateShape::Kind::kBuckets:
      return RuleState::Buckets::BytesFor(entries);
    case StateShape::Kind::kCount:
      return RuleState::Counts::BytesFor(entries) +
             entries * (temporal::WindowCount::BytesFor(shape.threshold) -
                        sizeof(temporal::WindowCount));
    case StateShape::Kind::kDistinct:
      return RuleState::Distincts::BytesFor(entries) +
             entries * (temporal::WindowDistinct::BytesFor(shape.threshold) -
                        sizeof(temporal::WindowDistinct));
    case StateShape::Kind::kSum:
      return RuleState::Sums::BytesFor(entries);
    case StateShape::Kind::kSequence:
      return entries *
             (sizeof(RuleState::Sequence::Attempt) + RecordsBytes(shape));
    case StateShape::Kind::kFormerly:
      return entries * (sizeof(temporal::Moment) + RecordsBytes(shape));
  }
  return 0;
}

}  // namespace

absl::string_view StateScopeName(StateScope scope) {
  switch (scope) {
    case StateScope::kStore:
      return "store";
    case StateScope::kModule:
      return "module";
    case StateScope::kTenant:
      return "tenant";
  }
  return "";
}

uint64_t StateShape::BytesMax() const {
  size_t entries = keys_max;
  if (kind == Kind::kSequence) {
    entries = is_correlated ? records_max : records.size();
  } else if (kind == Kind::kFormerly) {
    entries = records_max;
  }
  // A prototype is one more.
  return sizeof(RuleState) + BytesOf(*this, entries) + BytesOf(*this, 1);
}

RuleState::Automaton RuleState::Make(const StateShape& shape) {
  const auto threshold = static_cast<size_t>(shape.threshold);
  switch (shape.kind) {
    case StateShape::Kind::kBuckets:
      return Buckets(shape.keys_max, temporal::TokenBucket());
    case StateShape::Kind::kCount:
      return Counts(shape.keys_max,
                    temporal::WindowCount(threshold, shape.within));
    case StateShape::Kind::kDistinct:
      return Distincts(shape.keys_max,
                       temporal::WindowDistinct(threshold, shape.within));
    case StateShape::Kind::kSum:
      return Sums(shape.keys_max,
                  temporal::WindowSum(shape.threshold, shape.within));
    case StateShape::Kind::kSequence: {
      std::vector<FactsRecord> prototypes;
      for (const FactsShape& record : shape.records) {
        prototypes.emplace_back(record);
      }
      return Sequence(std::move(prototypes), shape.within, shape.is_correlated,
                      shape.records_max);
    }
    case StateShape::Kind::kFormerly:
      break;
  }
  CALLGATE_CHECK(shape.records.size() == 1, "one record for a past event");
  return Formerly(shape.records_max, shape.within,
                  FactsRecord(shape.records[0]));
}

RuleState::RuleState(const StateShape& shape, std::shared_ptr<RuleStateUse> use)
    : shape_(shape), use_(std::move(use)), automaton_(Make(shape_)) {
  ++use_->states;
  bytes_ = Bytes();
  use_->bytes += bytes_;
  capacity_ = Capacity();
}

RuleState::~RuleState() {
  --use_->states;
  use_->entries -= entries_;
  use_->bytes -= bytes_;
}

size_t RuleState::Entries() const {
  return std::visit([](const auto& a) { return a.size(); }, automaton_);
}

size_t RuleState::Capacity() const {
  return std::visit([](const auto& a) { return a.capacity(); }, automaton_);
}

uint64_t RuleState::Bytes() const {
  return sizeof(RuleState) + BytesOf(shape_, Capacity()) + BytesOf(shape_, 1);
}

std::string RuleState::Describe() const {
  std::string text;
  const auto within = [this] {
    return absl::FormatDuration(absl::Nanoseconds(shape_.within));
  };
  switch (shape_.kind) {
    case StateShape::Kind::kBuckets:
      text = "token buckets";
      break;
    case StateShape::Kind::kCount:
      text =
          absl::StrCat("counts up to ", shape_.threshold, " within ", within());
      break;
    case StateShape::Kind::kDistinct:
      text = absl::StrCat("distinct values up to ", shape_.threshold,
                          " within ", within());
      break;
    case StateShape::Kind::kSum:
      text =
          absl::StrCat("sums up to ", shape_.threshold, " within ", within());
      break;
    case StateShape::Kind::kSequence:
      text = absl::StrCat("attempts at a sequence within ", within());
      break;
    case StateShape::Kind::kFormerly:
      text = absl::StrCat("earlier calls within ", within());
      break;
  }
  return absl::StrCat(text, " of one ", StateScopeName(shape_.scope), ": ",
                      Entries(), " remembered, ", use_->lost.load(),
                      " forgotten for others");
}

void RuleState::Account(bool has_lost) {
  if (has_lost) ++use_->lost;
  const size_t entries = Entries();
  if (entries != entries_) {
    // Unsigned, and so right for fewer, too.
    use_->entries += entries - entries_;
    entries_ = entries;
  }
  const size_t capacity = Capacity();
  if (capacity != capacity_) {
    capacity_ = capacity;
    const uint64_t bytes = Bytes();
    use_->bytes += bytes - bytes_;
    bytes_ = bytes;
  }
}

}  // namespace callgate::policy
