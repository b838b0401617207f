// Reads traces. The bytes may be anybody's: every length, number and reference
// is checked, and what is held is bounded by trace.h.
//
// One thread.

#ifndef CALLGATE_POLICY_TRIAL_TRACE_READER_H_
#define CALLGATE_POLICY_TRIAL_TRACE_READER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/trial/trace.h"

namespace callgate::policy::trial {

class TraceReader {
 public:
  // Gives up to `size` bytes that follow those that it gave before; fewer than
  // that only at the end.
  using Source = std::function<absl::StatusOr<std::string>(size_t size)>;

  explicit TraceReader(Source source);
  // Of a whole trace, which outlives the reader.
  explicit TraceReader(absl::string_view bytes);
  TraceReader(const TraceReader&) = delete;
  TraceReader& operator=(const TraceReader&) = delete;

  // The next record into `record`; false at the end. InvalidArgument: this is
  // no trace, or a trace of another version. DataLoss: it is damaged; what was
  // read before is good. The source's errors as they are.
  absl::StatusOr<bool> Next(TraceRecord* record);

  // At the end: bytes of a record that is not whole were left over.
  bool cut_off() const { return cut_off_; }

 private:
  struct Function {
    FuncType type;
  };
  // Into record_. Each is false, or gives nothing, when the bytes are not
  // what they must be.
  bool Number(uint64_t max, uint64_t* value);
  bool Signed(int64_t* value);
  bool Bytes(size_t max, std::string* bytes);
  bool String(std::string* text);
  bool Time(TrialClock* at);
  bool Decision(TrialDecision* decision);
  bool Value(ValType type, RawValue* value);
  bool Types(std::vector<ValType>* types);
  bool Gauges(StoreGauges* gauges);
  bool Arming(PolicyHook::Arming* arming);
  bool Policies(std::vector<std::string>* policies);
  bool Store(TraceRecord* record);
  bool Probe(TraceRecord* record);
  bool Entry(TraceRecord* record);
  bool ReadFunction(TraceRecord* record);
  bool Call(TraceRecord* record);
  bool Leave(TraceRecord* record);
  bool Growth(TraceRecord* record);
  bool Trap(TraceRecord* record);
  bool Payload(TraceRecord* record);

  // Makes buffer_ hold `size` bytes from at_ on; false at the end.
  absl::StatusOr<bool> Fill(size_t size);
  // The next frame's kind and payload into record_.
  absl::StatusOr<bool> Frame(TraceRecord::Kind* kind);

  const Source source_;
  std::string buffer_;
  size_t at_ = 0;
  bool source_ended_ = false;
  bool begun_ = false;
  bool cut_off_ = false;
  uint64_t offset_ = 0;  // of the record in the trace, for messages

  absl::string_view record_;
  std::vector<std::string> strings_;
  size_t string_bytes_ = 0;
  std::vector<std::vector<Function>> stores_;
  std::vector<std::vector<Function>> probes_;  // by Store, likewise
  std::vector<uint32_t> live_calls_;           // by Store
  std::vector<bool> gone_;                     // by Store
  size_t stores_at_once_ = 0;
  size_t functions_ = 0;
  TrialClock before_;
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_TRACE_READER_H_
