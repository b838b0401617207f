// One thing after another: step 0, later step 1, ..., the last at most `within`
// after the first, and nothing of `unless` in between.
//
// Events are not used up: every event that ends such a sequence says so, since
// a guest whose first attempt was stopped may just try again.
//
// Whether an event is a step can depend on the steps before it ("correlated":
// sending what was read). If it does not, then of all the ways in which i steps
// can have been done only the one that began last matters, because it has the
// most time left; memory is one attempt for each step, and the answer is that
// of looking through all events. If it does, each way is an attempt of its own.
// They are bounded; when a young one has to go for a new one, it is the one
// that began first, and whoever asked is told.
//
// A Record is what is kept of an event that was a step. Memory grows with the
// attempts, by doubling, up to that of the bound; apart from that nothing is
// allocated, if copying a Record over another allocates nothing. One thread at
// a time.

#ifndef CALLGATE_POLICY_TEMPORAL_SEQUENCE_H_
#define CALLGATE_POLICY_TEMPORAL_SEQUENCE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "policy/temporal/moment.h"
#include "runtime/check.h"

namespace callgate::policy::temporal {

inline constexpr size_t kSequenceStepsMax = 8;

template <typename Record>
class Sequence {
 public:
  // The first `done` steps, with what is kept of each.
  struct Attempt {
    Moment began = 0;
    size_t done = 0;  // 0: there is no attempt in this place
    uint64_t first_event = 0;
    uint64_t last_event = 0;
    std::vector<Record> records;
  };

  // `prototypes`: of the records of every step but the last, of which nothing
  // is kept; 1 to kSequenceStepsMax - 1. `attempts_max` bounds correlated
  // attempts.
  Sequence(std::vector<Record> prototypes, Span within, bool is_correlated,
           size_t attempts_max)
      : steps_(prototypes.size() + 1),
        within_(within),
        is_correlated_(is_correlated),
        attempts_max_(is_correlated ? attempts_max : steps_ - 1) {
    CALLGATE_CHECK(steps_ >= 2 && steps_ <= kSequenceStepsMax,
                   "the loader counts steps");
    CALLGATE_CHECK(attempts_max >= 1, "the loader bounds attempts");
    prototype_.records = std::move(prototypes);
    if (!is_correlated_) attempts_.assign(attempts_max_, prototype_);
  }

  // The attempt that an event which is the last step completes: of those for
  // which `matches(attempt)` the one that began last; null if there is none.
  // Nothing is changed: the event has not happened yet. `event` is its number,
  // unlike any other's. Valid until OnEvent.
  template <typename Matches>
  const Attempt* Completed(Moment now, uint64_t event,
                           const Matches& matches) const {
    const Attempt* best = nullptr;
    for (const Attempt& attempt : attempts_) {
      if (attempt.done != steps_ - 1 || attempt.last_event == event ||
          !IsWithin(attempt.began, now, within_) ||
          (best != nullptr && best->began > attempt.began)) {
        continue;
      }
      if (matches(attempt)) best = &attempt;
    }
    return best;
  }

  // An event that happened, not before the last one.
  //
  //   matches(step, attempt)  whether it is this step, from 0 to the last but
  //                           one, of an attempt that has come so far; the
  //                           attempt is null for step 0
  //   fill(record, step)      makes the record of it
  //   ends(attempt)           whether it is one of `unless` for this attempt
  //
  // One that is of `unless` ends what began before it, but not what it begins
  // itself: nothing lies between an event and itself. Told twice, as it begins
  // and as it ends, an event is still at most one step of an attempt. Returns
  // whether an attempt was lost that was young enough to be completed.
  template <typename Matches, typename Fill, typename Ends>
  bool OnEvent(Moment now, uint64_t event, const Matches& matches,
               const Fill& fill, const Ends& ends) {
    bool lost = false;
    // From the last step down, so that an event is one step of an attempt only.
    for (size_t step = steps_ - 1; step-- > 0;) {
      if (step == 0) {
        if (!matches(step, static_cast<const Attempt*>(nullptr))) continue;
        const size_t place = TakePlace(now, 1, &lost);
        Attempt& begun = attempts_[place];
        begun.began = now;
        begun.done = 1;
        begun.first_event = begun.last_event = event;
        fill(&begun.records[0], step);
        continue;
      }
      const size_t known = attempts_.size();
      for (size_t from = 0; from < known; ++from) {
        const Attempt& attempt = attempts_[from];
        if (attempt.done != step || attempt.last_event == event ||
            !IsWithin(attempt.began, now, within_) ||
            !matches(step, &attempt)) {
          continue;
        }
        Extend(now, event, from, fill, &lost);
      }
    }
    for (Attempt& attempt : attempts_) {
      if (attempt.done > 0 && attempt.first_event != event && ends(attempt)) {
        attempt.done = 0;
      }
    }
    return lost;
  }

  void Clear() {
    for (Attempt& attempt : attempts_) attempt.done = 0;
  }

  // Attempts that there are.
  size_t size() const {
    return static_cast<size_t>(
        std::count_if(attempts_.begin(), attempts_.end(),
                      [](const Attempt& a) { return a.done > 0; }));
  }
  // Attempts that there is memory for.
  size_t capacity() const { return attempts_.size(); }

 private:
  template <typename Fill>
  void Extend(Moment now, uint64_t event, size_t from, const Fill& fill,
              bool* lost) {
    const size_t step = attempts_[from].done;
    const size_t place = TakePlace(now, step + 1, lost);
    Attempt& to = attempts_[place];
    if (place != from) {
      const Attempt& attempt = attempts_[from];
      to.began = attempt.began;
      to.first_event = attempt.first_event;
      std::copy_n(attempt.records.begin(), step, to.records.begin());
    }
    to.done = step + 1;
    to.last_event = event;
    fill(&to.records[step], step);
  }

  // Where to put an attempt with `done` steps.
  size_t TakePlace(Moment now, size_t done, bool* lost) {
    // Whatever has come as far began no later, so it is none to keep.
    if (!is_correlated_) return done - 1;
    size_t oldest = 0;
    for (size_t i = 0; i < attempts_.size(); ++i) {
      if (attempts_[i].done == 0 ||
          !IsWithin(attempts_[i].began, now, within_)) {
        return i;
      }
      if (attempts_[i].began < attempts_[oldest].began) oldest = i;
    }
    if (attempts_.size() < attempts_max_) {
      const size_t first = attempts_.size();
      const size_t room =
          std::min(attempts_max_, std::max<size_t>(1, first * 2));
      attempts_.reserve(room);
      attempts_.resize(room, prototype_);
      return first;
    }
    *lost = true;
    return oldest;
  }

  size_t steps_;
  Span within_;
  bool is_correlated_;
  size_t attempts_max_;
  Attempt prototype_;
  // By steps done, or, if correlated, in no order.
  std::vector<Attempt> attempts_;
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_SEQUENCE_H_
