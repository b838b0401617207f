// What a WASI function answers: an error number for the guest, or, seldom, an
// error object that ends the guest's call (an exit, an interruption, a spent
// budget).

#ifndef CALLGATE_RUNTIME_WASI_OUTCOME_H_
#define CALLGATE_RUNTIME_WASI_OUTCOME_H_

#include <optional>
#include <utility>

#include "runtime/trap.h"
#include "runtime/wasi/abi.h"

namespace callgate {
namespace wasi {

class Outcome {
 public:
  // Implicit, so that `return Errno::kBadf;` reads as what it is.
  Outcome(Errno number) : number_(number) {}
  // Ends the call. Not null.
  Outcome(ErrorRef error) : number_(Errno::kIo), error_(std::move(error)) {}

  bool ok() const { return number_ == Errno::kSuccess; }
  // What the guest gets when error() is null.
  Errno number() const { return number_; }
  const ErrorRef& error() const { return error_; }

 private:
  Errno number_;
  ErrorRef error_;
};

// A value, or the outcome that took its place. Read the value only when ok().
template <typename T>
class OutcomeOr {
 public:
  OutcomeOr(T value) : value_(std::move(value)), failure_(Errno::kSuccess) {}
  OutcomeOr(Outcome failure) : failure_(std::move(failure)) {}
  OutcomeOr(Errno failure) : failure_(failure) {}

  bool ok() const { return value_.has_value(); }
  const Outcome& failure() const { return failure_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Outcome failure_;
};

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_OUTCOME_H_
