#include "policy/state/facts_record.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/string_view.h"
#include "runtime/check.h"

namespace callgate::policy {

using expression::Value;
using expression::ValueKind;

FactsRecord::FactsRecord(const FactsShape& shape)
    : cells_(shape.facts), items_(shape.items), text_(shape.text_bytes) {}

size_t FactsRecord::BytesFor(const FactsShape& shape) {
  return sizeof(FactsRecord) + (shape.facts + shape.items) * sizeof(Cell) +
         shape.text_bytes;
}

FactsRecord::Cell FactsRecord::Copy(const Value& value) {
  Cell cell;
  cell.kind = value.kind();
  switch (value.kind()) {
    case ValueKind::kString:
    case ValueKind::kBytes:
    case ValueKind::kIp: {
      absl::string_view text = value.as_string();
      if (text.size() > kTextBytesMax) {
        text = text.substr(0, kTextBytesMax);
        cell.is_cut = true;
      }
      if (text.size() > text_.size() - text_used_) return Cell();
      std::copy(text.begin(), text.end(),
                text_.begin() + static_cast<ptrdiff_t>(text_used_));
      cell.size = static_cast<uint32_t>(text.size());
      cell.word = text_used_;
      text_used_ += text.size();
      return cell;
    }
    case ValueKind::kDouble: {
      const double real = value.as_double();
      std::memcpy(&cell.word, &real, sizeof(real));
      return cell;
    }
    case ValueKind::kNull:
    case ValueKind::kBool:
    case ValueKind::kInt:
    case ValueKind::kUint:
    case ValueKind::kDuration:
    case ValueKind::kTimestamp:
      cell.word = value.as_uint();
      return cell;
    case ValueKind::kAbsent:
    case ValueKind::kLazy:
    case ValueKind::kError:
    case ValueKind::kList:
      break;
  }
  return Cell();
}

void FactsRecord::Fill(absl::Span<const Value> values, uint64_t hidden) {
  CALLGATE_CHECK(values.size() == cells_.size(), "a record has its shape");
  items_used_ = text_used_ = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const Value& value = values[i];
    const bool is_hidden = i < 64 && (hidden >> i & 1) != 0;
    if (value.kind() != ValueKind::kList) {
      cells_[i] = Copy(value);
      cells_[i].is_hidden = is_hidden;
      continue;
    }
    cells_[i] = Cell();
    cells_[i].is_hidden = is_hidden;
    const absl::Span<const Value> list = value.as_list();
    if (list.size() > items_.size() - items_used_) continue;
    const size_t first = items_used_;
    bool whole = true;
    for (const Value& item : list) {
      Cell& copy = items_[items_used_++];
      copy = Copy(item);
      whole = whole && copy.kind == item.kind() && !copy.is_cut;
    }
    // Half a list says something else.
    if (!whole) continue;
    cells_[i].kind = ValueKind::kList;
    cells_[i].size = static_cast<uint32_t>(list.size());
    cells_[i].word = first;
  }
}

Value FactsRecord::ValueOf(const Cell& cell) const {
  const auto text = [this, &cell] {
    return absl::string_view(text_.data() + cell.word, cell.size);
  };
  switch (cell.kind) {
    case ValueKind::kString:
      return Value::String(text());
    case ValueKind::kBytes:
      return Value::Bytes(text());
    case ValueKind::kIp:
      return Value::Ip(text());
    case ValueKind::kDouble: {
      double real;
      std::memcpy(&real, &cell.word, sizeof(real));
      return Value::Double(real);
    }
    case ValueKind::kNull:
      return Value::Null();
    case ValueKind::kBool:
      return Value::Bool(cell.word != 0);
    case ValueKind::kInt:
      return Value::Int(static_cast<int64_t>(cell.word));
    case ValueKind::kUint:
      return Value::Uint(cell.word);
    case ValueKind::kDuration:
      return Value::Duration(static_cast<int64_t>(cell.word));
    case ValueKind::kTimestamp:
      return Value::Timestamp(static_cast<int64_t>(cell.word));
    case ValueKind::kAbsent:
    case ValueKind::kLazy:
    case ValueKind::kError:
    case ValueKind::kList:
      break;
  }
  return Value();
}

void FactsRecord::Restore(bool for_message, absl::Span<Value> values,
                          Items* items) const {
  CALLGATE_CHECK(values.size() == cells_.size(), "a record has its shape");
  for (size_t i = 0; i < cells_.size(); ++i) {
    const Cell& cell = cells_[i];
    if (for_message ? cell.is_hidden : cell.is_cut) {
      values[i] = Value();
    } else if (cell.kind == ValueKind::kList) {
      CALLGATE_CHECK(items->capacity() - items->size() >= cell.size,
                     "values that were made stay where they are");
      const size_t first = items->size();
      for (size_t j = 0; j < cell.size; ++j) {
        items->push_back(ValueOf(items_[cell.word + j]));
      }
      values[i] = Value::List({items->data() + first, cell.size});
    } else {
      values[i] = ValueOf(cell);
    }
  }
}

}  // namespace callgate::policy
