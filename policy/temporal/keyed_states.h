// A state for each key, of at most a fixed number of keys: the least recently
// used goes for a new one, and whoever asked is told.
//
// State has Clear() and is copied from a prototype. Memory grows with the keys
// that there are, by doubling, up to that of keys_max; a key that is known, or
// takes another's place, costs no allocation. Keys are hashes with a key that
// guests do not know, so that nobody can choose two that fall together. One
// thread at a time.

#ifndef CALLGATE_POLICY_TEMPORAL_KEYED_STATES_H_
#define CALLGATE_POLICY_TEMPORAL_KEYED_STATES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/check.h"

namespace callgate::policy::temporal {

template <typename State>
class KeyedStates {
 public:
  static constexpr size_t kKeysMax = 1 << 20;

  // `keys_max` from 1 to kKeysMax.
  KeyedStates(size_t keys_max, const State& prototype)
      : keys_max_(keys_max), prototype_(prototype) {
    CALLGATE_CHECK(keys_max >= 1 && keys_max <= kKeysMax,
                   "the loader bounds keys");
    Reserve(1);
  }

  // Of the entries for `keys` keys, without what their states hold elsewhere.
  static constexpr size_t BytesFor(size_t keys) {
    return keys * (sizeof(State) + sizeof(Entry)) +
           SlotsFor(keys) * sizeof(uint32_t);
  }

  struct Found {
    State* state = nullptr;
    bool evicted = false;  // another key lost its state
  };

  // The key's state, a fresh one if it has none. Valid until the next call.
  Found Get(uint64_t key) {
    size_t slot = SlotOf(key);
    while (table_[slot] != kNone) {
      const uint32_t entry = table_[slot];
      if (entries_[entry].key == key) {
        Unlink(entry);
        LinkFirst(entry);
        return {&states_[entry], false};
      }
      slot = Next(slot);
    }
    const bool evicts = used_ == keys_max_;
    if (!evicts && used_ == entries_.size()) {
      Reserve(std::min(keys_max_, used_ * 2));
      slot = FreeSlotOf(key);
    }
    uint32_t entry;
    if (evicts) {
      entry = last_;
      Unlink(entry);
      RemoveFromTable(entry);
      states_[entry].Clear();
      // Removing may have moved others.
      slot = FreeSlotOf(key);
    } else {
      entry = static_cast<uint32_t>(used_++);
    }
    entries_[entry].key = key;
    table_[slot] = entry;
    LinkFirst(entry);
    return {&states_[entry], evicts};
  }

  size_t size() const { return used_; }
  // Keys that there is memory for.
  size_t capacity() const { return entries_.size(); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Entry {
    uint64_t key = 0;
    uint32_t newer = kNone;
    uint32_t older = kNone;
  };

  static constexpr size_t SlotsFor(size_t keys) {
    size_t slots = 4;
    while (slots < keys * 2) slots *= 2;
    return slots;
  }

  // Makes room for this many keys.
  void Reserve(size_t keys) {
    // Not resize, which may take more than was stated.
    states_.reserve(keys);
    entries_.reserve(keys);
    states_.resize(keys, prototype_);
    entries_.resize(keys);
    table_.assign(SlotsFor(keys), kNone);
    for (size_t i = 0; i < used_; ++i) {
      table_[FreeSlotOf(entries_[i].key)] = static_cast<uint32_t>(i);
    }
  }

  size_t FreeSlotOf(uint64_t key) const {
    size_t slot = SlotOf(key);
    while (table_[slot] != kNone) slot = Next(slot);
    return slot;
  }
  size_t SlotOf(uint64_t key) const {
    return static_cast<size_t>(key) & (table_.size() - 1);
  }
  size_t Next(size_t slot) const { return (slot + 1) & (table_.size() - 1); }

  void LinkFirst(uint32_t entry) {
    entries_[entry].newer = kNone;
    entries_[entry].older = first_;
    if (first_ != kNone) entries_[first_].newer = entry;
    first_ = entry;
    if (last_ == kNone) last_ = entry;
  }

  void Unlink(uint32_t entry) {
    const Entry& e = entries_[entry];
    (e.newer != kNone ? entries_[e.newer].older : first_) = e.older;
    (e.older != kNone ? entries_[e.older].newer : last_) = e.newer;
  }

  // Closes the gap, so that every key is found from its own slot on without
  // meeting an empty one.
  void RemoveFromTable(uint32_t entry) {
    size_t gap = SlotOf(entries_[entry].key);
    while (table_[gap] != entry) gap = Next(gap);
    size_t slot = gap;
    while (true) {
      slot = Next(slot);
      if (table_[slot] == kNone) break;
      const size_t home = SlotOf(entries_[table_[slot]].key);
      // It may fill the gap if its own slot is not after the gap.
      const size_t mask = table_.size() - 1;
      if (((slot - home) & mask) >= ((slot - gap) & mask)) {
        table_[gap] = table_[slot];
        gap = slot;
      }
    }
    table_[gap] = kNone;
  }

  size_t keys_max_;
  State prototype_;
  std::vector<State> states_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> table_;  // entries by key; half of it is empty
  size_t used_ = 0;
  uint32_t first_ = kNone;  // used last
  uint32_t last_ = kNone;
};

}  // namespace callgate::policy::temporal

#endif  // CALLGATE_POLICY_TEMPORAL_KEYED_STATES_H_
