#include "tests/conformance/cel/textproto.h"

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

class Reader {
 public:
  Reader(absl::string_view text, std::vector<TextField>* fields)
      : text_(text), fields_(fields) {}

  // Fields into the message that is open last, until the end of the text.
  absl::Status Run() {
    std::vector<size_t> open = {0};
    while (true) {
      SkipBlanks();
      if (at_ == text_.size()) {
        return open.size() == 1 ? absl::OkStatus() : Bad("an open message");
      }
      if (Take('}')) {
        if (open.size() == 1) return Bad("a brace too many");
        open.pop_back();
        SkipSeparator();
        continue;
      }
      TextField field;
      if (!ReadName(&field.name)) return Bad("no field name");
      SkipBlanks();
      const bool colon = Take(':');
      SkipBlanks();
      field.is_message = Take('{');
      if (!field.is_message) {
        if (!colon) return Bad("no colon");
        if (!ReadScalar(&field)) return Bad("no value");
        SkipSeparator();
      }
      const size_t number = fields_->size();
      (*fields_)[open.back()].fields.push_back(number);
      if (field.is_message) open.push_back(number);
      fields_->push_back(std::move(field));
    }
  }

 private:
  absl::Status Bad(absl::string_view why) const {
    return absl::InvalidArgumentError(absl::StrCat(why, " at byte ", at_));
  }

  bool Take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void SkipBlanks() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  void SkipSeparator() {
    SkipBlanks();
    if (!Take(',')) Take(';');
  }

  static bool IsWord(char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
           c == '.' || c == '-' || c == '+';
  }

  bool ReadName(std::string* name) {
    if (Take('[')) {  // [type.googleapis.com/x.Y]
      const size_t end = text_.find(']', at_);
      if (end == absl::string_view::npos) return false;
      *name = std::string(text_.substr(at_ - 1, end + 2 - at_));
      at_ = end + 1;
      return true;
    }
    while (at_ < text_.size() && IsWord(text_[at_])) {
      name->push_back(text_[at_++]);
    }
    return !name->empty();
  }

  bool ReadScalar(TextField* field) {
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
      field->is_string = true;
      // Adjacent literals are one.
      while (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
        if (!ReadString(&field->scalar)) return false;
        SkipBlanks();
      }
      return true;
    }
    return ReadName(&field->scalar);
  }

  bool ReadString(std::string* out) {
    const char quote = text_[at_++];
    while (at_ < text_.size() && text_[at_] != quote) {
      const char c = text_[at_++];
      if (c != '\\') {
        out->push_back(c);
      } else if (!ReadEscape(out)) {
        return false;
      }
    }
    return Take(quote);
  }

  bool ReadDigits(size_t least, size_t most, uint32_t base, uint32_t* number) {
    *number = 0;
    size_t count = 0;
    while (count < most && at_ < text_.size()) {
      const char c = text_[at_];
      uint32_t digit;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0');
      } else if (absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
        digit = static_cast<uint32_t>(
            absl::ascii_tolower(static_cast<unsigned char>(c)) - 'a' + 10);
      } else {
        break;
      }
      if (digit >= base) break;
      *number = *number * base + digit;
      ++at_;
      ++count;
    }
    return count >= least;
  }

  bool ReadEscape(std::string* out) {
    if (at_ == text_.size()) return false;
    const char c = text_[at_++];
    constexpr absl::string_view kNames = "abfnrtv\\\"'?";
    constexpr absl::string_view kMeanings = "\a\b\f\n\r\t\v\\\"'?";
    const size_t simple = kNames.find(c);
    if (simple != absl::string_view::npos) {
      out->push_back(kMeanings[simple]);
      return true;
    }
    uint32_t number;
    if (c == 'x' || c == 'X') {
      if (!ReadDigits(1, 2, 16, &number)) return false;
      out->push_back(static_cast<char>(number));
      return true;
    }
    if (c == 'u' || c == 'U') {
      const size_t digits = c == 'u' ? 4 : 8;
      if (!ReadDigits(digits, digits, 16, &number)) return false;
      PutUtf8(number, out);
      return true;
    }
    --at_;
    if (!ReadDigits(1, 3, 8, &number)) return false;
    out->push_back(static_cast<char>(number));
    return true;
  }

  static void PutUtf8(uint32_t code, std::string* out) {
    if (code < 0x80) {
      out->push_back(static_cast<char>(code));
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const uint32_t lead = more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0;
    out->push_back(static_cast<char>(lead | code >> (6 * more)));
    for (int i = more - 1; i >= 0; --i) {
      out->push_back(static_cast<char>(0x80 | (code >> (6 * i) & 0x3f)));
    }
  }

  absl::string_view text_;
  std::vector<TextField>* fields_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<TextProto> TextProto::Parse(absl::string_view text) {
  TextProto proto;
  proto.fields_.emplace_back();
  proto.fields_[0].is_message = true;
  const absl::Status status = Reader(text, &proto.fields_).Run();
  if (!status.ok()) return status;
  return proto;
}

std::vector<const TextField*> TextProto::All(const TextField& message,
                                             absl::string_view name) const {
  std::vector<const TextField*> found;
  for (const size_t number : message.fields) {
    if (fields_[number].name == name) found.push_back(&fields_[number]);
  }
  return found;
}

const TextField* TextProto::Find(const TextField& message,
                                 absl::string_view name) const {
  const std::vector<const TextField*> all = All(message, name);
  return all.empty() ? nullptr : all.front();
}

const TextField* TextProto::First(const TextField& message) const {
  return message.fields.empty() ? nullptr : &fields_[message.fields.front()];
}

std::string TextProto::Scalar(const TextField& message,
                              absl::string_view name) const {
  const TextField* const field = Find(message, name);
  return field == nullptr ? "" : field->scalar;
}

}  // namespace callgate
