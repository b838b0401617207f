// Turns records into a trace's bytes.
//
// One thread at a time; the caller puts the bytes where they belong, in the
// order in which it gets them.

#ifndef CALLGATE_POLICY_TRIAL_TRACE_WRITER_H_
#define CALLGATE_POLICY_TRIAL_TRACE_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "policy/trial/trace.h"

namespace callgate::policy::trial {

class TraceWriter {
 public:
  // Begins with the magic.
  explicit TraceWriter(std::string* out);
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  // Appends to `out`, which was given at first. ResourceExhausted, with nothing
  // appended, when the record or the trace would have more than readers take;
  // the trace ends before it, and so is every later answer.
  absl::Status Write(const TraceRecord& record);

 private:
  // Into record_.
  void Number(uint64_t value);
  void Signed(int64_t value);
  void Bytes(absl::string_view bytes);
  void String(absl::string_view text);
  void Time(const TrialClock& at);
  void Decision(const TrialDecision& decision);
  void Value(ValType type, RawValue value);
  void Gauges(const StoreGauges& gauges);
  void Arming(const PolicyHook::Arming& arming);
  void Types(const FuncType& type);
  void Call(const TraceRecord& record);
  void Function(const TraceRecord& record);
  void Probe(const TraceRecord& record);
  void Entry(const TraceRecord& record);
  // Frames `payload` and appends it to out_.
  void Frame(TraceRecord::Kind kind, absl::string_view payload);

  std::string* const out_;
  absl::flat_hash_map<std::string, uint32_t> strings_;
  size_t string_bytes_ = 0;
  std::vector<std::vector<FuncType>> types_;   // by Store and binding
  std::vector<std::vector<FuncType>> probes_;  // by Store and number
  size_t functions_ = 0;
  size_t stores_at_once_ = 0;
  TrialClock before_;
  // The record on its way, and the strings that it brings along.
  std::string record_;
  std::string new_strings_;
  bool too_large_ = false;
  bool ended_ = false;
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_TRACE_WRITER_H_
