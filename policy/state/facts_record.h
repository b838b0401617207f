// A bounded copy of some facts of an event, for conditions and messages about
// later ones.
//
// Memory is that of its shape, taken when it is made; copying one over another
// of the same shape allocates nothing. A text that is longer than kTextBytesMax
// is cut: messages show its beginning, and to conditions it is absent, like
// whatever found no room. One thread at a time.

#ifndef CALLGATE_POLICY_STATE_FACTS_RECORD_H_
#define CALLGATE_POLICY_STATE_FACTS_RECORD_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "policy/expression/value.h"

namespace callgate::policy {

struct FactsShape {
  size_t facts = 0;
  size_t text_bytes = 0;  // of all texts together
  size_t items = 0;       // of all lists together
};

class FactsRecord {
 public:
  static constexpr size_t kTextBytesMax = 256;

  explicit FactsRecord(const FactsShape& shape);

  static size_t BytesFor(const FactsShape& shape);

  // Copies these, as many as the shape has facts. None is lazy; lists are of
  // scalars. Bit i of `hidden`: messages do not see fact i.
  void Fill(absl::Span<const expression::Value> values, uint64_t hidden = 0);

  // Room for the elements of the lists that Restore makes.
  using Items = std::vector<expression::Value>;
  // Writes what was copied to `values`, which views the record and `items`
  // until either changes. `items` keeps what it has, for other records, and has
  // the capacity for what comes.
  void Restore(bool for_message, absl::Span<expression::Value> values,
               Items* items) const;

 private:
  struct Cell {
    expression::ValueKind kind = expression::ValueKind::kAbsent;
    bool is_cut = false;
    bool is_hidden = false;
    uint32_t size = 0;
    uint64_t word = 0;  // or where it is in text_ or items_
  };

  // Of anything but a list.
  Cell Copy(const expression::Value& value);
  expression::Value ValueOf(const Cell& cell) const;

  std::vector<Cell> cells_;
  std::vector<Cell> items_;
  std::vector<char> text_;
  size_t items_used_ = 0;
  size_t text_used_ = 0;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_STATE_FACTS_RECORD_H_
