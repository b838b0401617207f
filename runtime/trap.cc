#include "runtime/trap.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

class MessageError final : public ErrorObject {
 public:
  explicit MessageError(std::string message) : message_(std::move(message)) {}
  std::string message() const override { return message_; }

 private:
  const std::string message_;
};

struct Words {
  absl::string_view name;
  absl::string_view message;
};

Words WordsOf(TrapCode code) {
  switch (code) {
    case TrapCode::kUnreachable:
      return {"unreachable", "unreachable"};
    case TrapCode::kMemoryOutOfBounds:
      return {"memory_out_of_bounds", "out of bounds memory access"};
    case TrapCode::kTableOutOfBounds:
      return {"table_out_of_bounds", "out of bounds table access"};
    case TrapCode::kUndefinedElement:
      return {"undefined_element", "undefined element"};
    case TrapCode::kUninitializedElement:
      return {"uninitialized_element", "uninitialized element"};
    case TrapCode::kIndirectCallTypeMismatch:
      return {"indirect_call_type_mismatch", "indirect call type mismatch"};
    case TrapCode::kIntegerOverflow:
      return {"integer_overflow", "integer overflow"};
    case TrapCode::kIntegerDivideByZero:
      return {"integer_divide_by_zero", "integer divide by zero"};
    case TrapCode::kInvalidConversionToInteger:
      return {"invalid_conversion_to_integer", "invalid conversion to integer"};
    case TrapCode::kCallStackExhausted:
      return {"call_stack_exhausted", "call stack exhausted"};
    case TrapCode::kOutOfFuel:
      return {"out_of_fuel", "out of fuel"};
    case TrapCode::kInterrupted:
      return {"interrupted", "interrupted"};
    case TrapCode::kDeadlineExceeded:
      return {"deadline_exceeded", "deadline exceeded"};
    case TrapCode::kProcessorTimeExceeded:
      return {"processor_time_exceeded", "processor time used up"};
    case TrapCode::kGrowthLimited:
      return {"growth_limited", "growth over the Store's limit"};
    case TrapCode::kHostBytesExceeded:
      return {"host_bytes_exceeded",
              "bytes moved by host functions over the call's limit"};
    case TrapCode::kActivationDepthExceeded:
      return {"activation_depth_exceeded",
              "calls between guest and host nested too deeply"};
    case TrapCode::kHostError:
      return {"host_error", "host function failed"};
    case TrapCode::kRefused:
      return {"refused", "refused by the call hook"};
  }
  return {"unknown", "unknown trap"};
}

}  // namespace

absl::string_view TrapCodeMessage(TrapCode code) {
  return WordsOf(code).message;
}

absl::string_view TrapCodeName(TrapCode code) { return WordsOf(code).name; }

ErrorRef MakeError(std::string message) {
  return std::make_shared<MessageError>(std::move(message));
}

std::string ToString(const SourceLocation& source) {
  std::string text = absl::StrCat(source.file, ":", source.line);
  if (source.column != 0) absl::StrAppend(&text, ":", source.column);
  return text;
}

std::string TrapError::message() const {
  return std::string(TrapCodeMessage(code_));
}

std::string GuestExit::message() const {
  return absl::StrCat("guest exited with code ", code_);
}

Trap Trap::FromError(TrapCode otherwise, ErrorRef cause,
                     std::vector<Frame> backtrace) {
  TrapCode code = otherwise;
  if (const auto* trap = dynamic_cast<const TrapError*>(cause.get())) {
    code = trap->code();
  }
  Trap result(code, std::move(backtrace));
  result.cause_ = std::move(cause);
  return result;
}

std::string Trap::message() const {
  return cause_ != nullptr ? cause_->message()
                           : std::string(TrapCodeMessage(code_));
}

ErrorRef ErrorFromTrap(const Trap& trap) {
  if (trap.cause() != nullptr) return trap.cause();
  return std::make_shared<TrapError>(trap.code());
}

std::optional<uint32_t> Trap::exit_code() const {
  if (const auto* exit = dynamic_cast<const GuestExit*>(cause_.get())) {
    return exit->code();
  }
  return std::nullopt;
}

}  // namespace callgate
