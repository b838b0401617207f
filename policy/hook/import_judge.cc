#include "policy/hook/import_judge.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "policy/expression/ip_address.h"
#include "policy/hook/guest_path.h"
#include "policy/hook/rule_message.h"

namespace callgate::policy {
namespace {

using expression::Evaluation;
using expression::Value;

absl::string_view Text(absl::Span<const uint8_t> bytes) {
  // SAFETY: any object may be read as char.
  return absl::string_view(reinterpret_cast<const char*>(bytes.data()),
                           bytes.size());
}

size_t TextBytes(const Value& value) {
  switch (value.kind()) {
    case expression::ValueKind::kString:
    case expression::ValueKind::kBytes:
    case expression::ValueKind::kIp:
      return value.size();
    default:
      return 0;
  }
}

// The addresses of an addrs_out. False if one is none, or if there are too
// many: some of them are not all.
bool ReadAddresses(absl::string_view text,
                   std::vector<expression::IpKey>* keys) {
  constexpr absl::string_view kBetween = ", \t\r\n";
  keys->clear();
  text = text.substr(0, text.find('\0'));
  while (true) {
    const size_t begin = text.find_first_not_of(kBetween);
    if (begin == absl::string_view::npos) return true;
    text.remove_prefix(begin);
    const absl::string_view word = text.substr(0, text.find_first_of(kBetween));
    text.remove_prefix(word.size());
    const auto key = expression::IpKeyFromText(word);
    if (!key || keys->size() == kResultItemsMax) return false;
    keys->push_back(*key);
  }
}

// "host:port", "[::1]:443". Of IPv6 without brackets all is the host if what
// stands before the last colon is none: "::1".
struct HostAndPort {
  absl::string_view host;
  absl::string_view port;
};
HostAndPort SplitAddress(absl::string_view text) {
  HostAndPort split;
  if (!text.empty() && text.front() == '[') {
    const size_t end = text.find(']');
    if (end != absl::string_view::npos) {
      split.host = text.substr(1, end - 1);
      text.remove_prefix(end + 1);
      if (!text.empty() && text.front() == ':') split.port = text.substr(1);
      return split;
    }
  }
  const size_t colon = text.rfind(':');
  if (colon != absl::string_view::npos && colon != text.find(':') &&
      expression::IpKeyFromText(text) &&
      !expression::IpKeyFromText(text.substr(0, colon))) {
    split.host = text;
    return split;
  }
  split.host = text.substr(0, colon);
  if (colon != absl::string_view::npos) split.port = text.substr(colon + 1);
  return split;
}

Value Count(uint64_t count) {
  return Value::Int(static_cast<int64_t>(
      std::min<uint64_t>(count, std::numeric_limits<int64_t>::max())));
}

}  // namespace

absl::Time CallMoment::Now() {
  if (!now_) now_ = wall_clock_();
  return *now_;
}

Value CallMoment::Compute(uint32_t slot) {
  switch (static_cast<CallFact>(slot)) {
    case CallFact::kNow:
      return Value::Timestamp(absl::ToUnixNanos(Now()));
    case CallFact::kSite: {
      const uint32_t index = call_.caller_index();
      return Value::Int(index == kNoIndex ? -1 : static_cast<int64_t>(index));
    }
    case CallFact::kCaller:
      return Value::String(call_.caller().func_name);
    case CallFact::kStoreMemoryBytes:
      return Count(call_.StoreBytes());
    case CallFact::kStoreFuelUsed:
      return Count(call_.fuel().used());
    default:
      return Value();
  }
}

ImportJudge::ImportJudge(std::shared_ptr<const Specialisation> made,
                         const FuncType& type)
    : made_(std::move(made)),
      import_(&made_->import),
      type_(&type),
      facts_(import_->fact_count),
      captured_(import_->arguments.size()),
      texts_(import_->argument_facts.size()),
      written_(import_->result_facts.size()) {
  for (size_t i = 0; i < import_->argument_facts.size(); ++i) {
    const ArgumentFact& fact = import_->argument_facts[i];
    const ArgKind kind = import_->arguments[fact.argument].kind;
    const bool is_path =
        kind == ArgKind::kPath && fact.part == ArgumentPart::kValue;
    reads_paths_ = reads_paths_ || is_path || fact.part == ArgumentPart::kPath;
    if (is_path || fact.part == ArgumentPart::kPath) {
      texts_[i].reserve(kPathFactBytesMax);
    } else if (fact.part == ArgumentPart::kIp) {
      texts_[i].reserve(sizeof(expression::IpKey));
    }
  }
}

absl::StatusOr<std::optional<ArgumentDenial>> ImportJudge::Begin(
    CallMoment& moment) {
  if (facts_.empty()) return std::nullopt;
  const auto set = [this](CallFact fact, Value value) {
    facts_[static_cast<uint32_t>(fact)] = value;
  };
  const CallContext& call = moment.call();
  set(CallFact::kImport, Value::String(import_->names.import));
  set(CallFact::kModule, Value::String(import_->names.module));
  set(CallFact::kName, Value::String(import_->names.name));
  set(CallFact::kEdge, Value::String("calling"));
  set(CallFact::kDenied, Value::Bool(false));
  set(CallFact::kErrno, Value());
  set(CallFact::kResultValue, Value());
  for (const ResultFact& fact : import_->result_facts) {
    facts_[fact.slot] = Value();
  }
  set(CallFact::kSite, Value::Lazy());
  set(CallFact::kCaller, Value::Lazy());
  set(CallFact::kNow, Value::Lazy());
  set(CallFact::kStoreMemoryBytes, Value::Lazy());
  set(CallFact::kStoreFuelUsed, Value::Lazy());
  set(CallFact::kDepth, Value::Int(call.depth()));
  const auto calls = static_cast<int64_t>(moment.calls_before());
  set(CallFact::kStoreCalls, Value::Int(calls));
  set(CallFact::kSeq, Value::Int(calls + 1));
  set(CallFact::kStoreId, Value::String(moment.store().store_id));
  set(CallFact::kTenant, Value::String(moment.store().tenant));
  set(CallFact::kModuleDigest, Value::String(moment.store().module_digest));
  set(CallFact::kModuleName, Value::String(moment.store().module_name));

  std::optional<ArgumentDenial> denial;
  for (size_t i = 0; i < import_->arguments.size(); ++i) {
    captured_[i].is_whole = false;
    auto denied = CaptureArgument(import_->arguments[i], *type_, moment.call(),
                                  &captured_[i]);
    if (!denied.ok()) {
      // What is known of an earlier call's arguments is none of this one's.
      for (const ArgumentFact& fact : import_->argument_facts) {
        facts_[fact.slot] = Value();
      }
      return denied.status();
    }
    if (denied->has_value() && !denial) denial = **std::move(denied);
  }
  for (size_t i = 0; i < import_->argument_facts.size(); ++i) {
    const ArgumentFact& fact = import_->argument_facts[i];
    facts_[fact.slot] = ValueOf(fact, moment);
  }
  return denial;
}

Value ImportJudge::ValueOf(const ArgumentFact& fact, CallMoment& moment) {
  const ArgSpec& arg = import_->arguments[fact.argument];
  const CapturedArgument& captured = captured_[fact.argument];
  std::string& text =
      texts_[static_cast<size_t>(&fact - import_->argument_facts.data())];
  if (HasLength(arg.kind) && !captured.is_whole) return Value();
  const RawValue raw = moment.call().args()[arg.index];
  const bool is_64_bit = type_->params[arg.index] == ValType::kI64;
  const uint64_t number = is_64_bit ? raw.u64() : raw.u32();
  const auto path_of = [&moment](uint64_t handle) {
    return moment.handles() == nullptr
               ? std::nullopt
               : moment.handles()->PathOf(moment.call().function(), handle);
  };
  switch (arg.kind) {
    case ArgKind::kU32:
      return Value::Int(raw.u32());
    case ArgKind::kS32:
      return Value::Int(static_cast<int32_t>(raw.u32()));
    case ArgKind::kU64:
      return Value::Uint(raw.u64());
    case ArgKind::kS64:
      return Value::Int(static_cast<int64_t>(raw.u64()));
    case ArgKind::kF32:
      return Value::Double(static_cast<double>(raw.f32()));
    case ArgKind::kF64:
      return Value::Double(raw.f64());
    case ArgKind::kHandle:
      if (fact.part == ArgumentPart::kPath) {
        const auto path = path_of(number);
        if (!path || !JoinGuestPath(*path, "", kPathFactBytesMax, &text)) {
          return Value();
        }
        return Value::String(text);
      }
      [[fallthrough]];
    case ArgKind::kPointer:
      return is_64_bit ? Value::Uint(number)
                       : Value::Int(static_cast<int64_t>(number));
    case ArgKind::kBytes:
    case ArgKind::kIovecIn:
      return Value::Bytes(Text(captured.bytes));
    case ArgKind::kString:
      return Value::String(Text(captured.bytes));
    case ArgKind::kPath: {
      absl::string_view directory =
          Text(captured.bytes).substr(0, 1) == "/" ? "/" : "";
      if (arg.dir_index != kNoIndex) {
        const RawValue dir = moment.call().args()[arg.dir_index];
        const auto path =
            path_of(type_->params[arg.dir_index] == ValType::kI64 ? dir.u64()
                                                                  : dir.u32());
        // Nobody knows where it would lead.
        if (!path || path->empty()) return Value();
        directory = *path;
      }
      if (!JoinGuestPath(directory, Text(captured.bytes), kPathFactBytesMax,
                         &text)) {
        return Value();
      }
      return Value::String(text);
    }
    case ArgKind::kSockaddr:
      break;
    case ArgKind::kBytesOut:
    case ArgKind::kIovecOut:
    case ArgKind::kAddrsOut:
      return Value();
  }
  const absl::string_view address = Text(captured.bytes);
  if (fact.part == ArgumentPart::kValue) return Value::String(address);
  const HostAndPort split = SplitAddress(address);
  switch (fact.part) {
    case ArgumentPart::kHost:
      return Value::String(split.host);
    case ArgumentPart::kPort: {
      uint32_t port = 0;
      if (split.port.empty() || !absl::SimpleAtoi(split.port, &port) ||
          port > 65535) {
        return Value();
      }
      return Value::Int(port);
    }
    case ArgumentPart::kIp: {
      const auto key = expression::IpKeyFromText(split.host);
      if (!key) return Value();
      // Not from bytes one by one, which would make a string of its own first.
      const absl::string_view bytes = Text(*key);
      text.assign(bytes.data(), bytes.size());
      return Value::Ip(text);
    }
    default:
      return Value();
  }
}

Value ImportJudge::FactAt(uint32_t slot, CallMoment& moment) const {
  const Value& value = facts_[slot];
  return value.kind() == expression::ValueKind::kLazy ? moment.Compute(slot)
                                                      : value;
}

void ImportJudge::Keep(Kept* kept) const {
  kept->values.assign(facts_.begin(), facts_.end());
  // What arguments point to goes; a copy of what will be read stays.
  for (const ArgumentFact& fact : import_->argument_facts) {
    if (TextBytes(kept->values[fact.slot]) > 0) {
      kept->values[fact.slot] = Value();
    }
  }
  size_t bytes = 0;
  for (const uint32_t slot : import_->kept_slots) {
    bytes += TextBytes(facts_[slot]);
  }
  kept->text.resize(bytes);
  size_t at = 0;
  for (const uint32_t slot : import_->kept_slots) {
    const Value& value = facts_[slot];
    const size_t size = TextBytes(value);
    if (size == 0) continue;
    value.as_string().copy(&kept->text[at], size);
    const absl::string_view text(&kept->text[at], size);
    at += size;
    kept->values[slot] =
        value.kind() == expression::ValueKind::kBytes ? Value::Bytes(text)
        : value.kind() == expression::ValueKind::kIp  ? Value::Ip(text)
                                                      : Value::String(text);
  }
}

void ImportJudge::Resume(const Kept& kept, CallMoment& moment) {
  std::copy(kept.values.begin(), kept.values.end(), facts_.begin());
  SetResults(moment);
}

void ImportJudge::SetRefused(int64_t guest_errno) {
  facts_[SlotOf(CallFact::kDenied)] = Value::Bool(true);
  if (import_->names.answers_errno) {
    facts_[SlotOf(CallFact::kErrno)] = Value::Int(guest_errno);
  }
}

void ImportJudge::SetResults(CallMoment& moment) {
  CallContext& call = moment.call();
  facts_[SlotOf(CallFact::kEdge)] = Value::String("returning");
  const bool is_value =
      call.ending() == Ending::kValue || call.ending() == Ending::kAnswered;
  int64_t guest_errno = -1;
  if (is_value && !call.results().empty()) {
    const RawValue raw = call.results()[0];
    Value value;
    switch (type_->results[0]) {
      case ValType::kI32:
        value = Value::Int(static_cast<int32_t>(raw.u32()));
        break;
      case ValType::kI64:
        value = Value::Int(static_cast<int64_t>(raw.u64()));
        break;
      case ValType::kF32:
        value = Value::Double(static_cast<double>(raw.f32()));
        break;
      case ValType::kF64:
        value = Value::Double(raw.f64());
        break;
      default:
        break;
    }
    facts_[SlotOf(CallFact::kResultValue)] = value;
    if (import_->names.answers_errno) guest_errno = raw.u32();
  }
  if (import_->names.answers_errno) {
    facts_[SlotOf(CallFact::kErrno)] = Value::Int(guest_errno);
  }
  // A function that failed has written nothing that means anything.
  const bool has_written = call.ending() == Ending::kValue &&
                           (!import_->names.answers_errno || guest_errno == 0);
  for (size_t i = 0; i < import_->result_facts.size(); ++i) {
    const ResultFact& fact = import_->result_facts[i];
    Written& written = written_[i];
    Value& value = facts_[fact.slot];
    value = Value();
    if (!has_written ||
        !ReadBackArgument(fact.argument, *type_, call, &written.bytes)) {
      continue;
    }
    const absl::string_view text = Text(written.bytes);
    if (fact.argument.kind == ArgKind::kBytesOut) {
      value = Value::Bytes(text);
    } else if (ReadAddresses(text, &written.keys)) {
      written.items.clear();
      for (const expression::IpKey& key : written.keys) {
        written.items.push_back(Value::Ip(Text(key)));
      }
      value = Value::List(written.items);
    }
  }
}

const RuleException* ImportJudge::ExceptionOf(
    const SpecialisedRule& rule, CallMoment& moment,
    expression::Scratch* scratch) const {
  for (const SpecialisedException& exception : rule.exceptions) {
    if (moment.Now() >= exception.exception->expires) continue;
    // One that fails is not known to hold.
    const Evaluation holds = exception.holds.Evaluate(facts_, scratch, &moment);
    if (holds.ok() && holds.value.as_bool()) return exception.exception;
  }
  return nullptr;
}

ImportJudge::Outcome ImportJudge::Judge(const SpecialisedRule& rule,
                                        CallMoment& moment,
                                        expression::Scratch* scratch) const {
  Outcome outcome;
  outcome.answer = Answer::kYes;
  if (rule.when) {
    const Evaluation holds = rule.when->Evaluate(facts_, scratch, &moment);
    if (holds.ok() && !holds.value.as_bool()) {
      outcome.answer = Answer::kNo;
      return outcome;
    }
    if (!holds.ok()) {
      outcome.answer = Answer::kFailed;
      outcome.error = holds.value;
    }
  }
  if (const RuleException* exception = ExceptionOf(rule, moment, scratch)) {
    outcome.answer = Answer::kNo;
    outcome.exception = exception;
  }
  return outcome;
}

void ImportJudge::DescribeFacts(CallMoment& moment,
                                std::vector<FactText>* facts) const {
  const auto add = [&](absl::string_view name, std::string text) {
    for (const FactText& known : *facts) {
      if (known.name == name) return;
    }
    facts->push_back({std::string(name), std::move(text)});
  };
  const auto described = [&](uint32_t slot) {
    const Value value = facts_[slot];
    if (value.kind() == expression::ValueKind::kAbsent) {
      return std::string("<none>");
    }
    return (value.kind() == expression::ValueKind::kLazy ? moment.Compute(slot)
                                                         : value)
        .ToString();
  };
  if (facts_.empty()) return;
  for (uint32_t slot = static_cast<uint32_t>(CallFact::kSite);
       slot < kCallFactCount; ++slot) {
    add(CallFactName(static_cast<CallFact>(slot)), described(slot));
  }
  for (const ArgumentFact& fact : import_->argument_facts) {
    const ArgSpec& arg = import_->arguments[fact.argument];
    add(FormatArgumentFact(arg.name, fact.part),
        arg.redact ? "<redacted>" : described(fact.slot));
  }
}

std::string ImportJudge::MessageOf(const SpecialisedRule& rule,
                                   CallMoment& moment,
                                   expression::Scratch* scratch) const {
  return RuleMessage(rule.message, facts_, scratch, &moment);
}

}  // namespace callgate::policy
