#include "server/services/messages.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/admission/module_limits.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

absl::Status BadArgument(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                         reason::kBadArgument, message);
}

v1::OutcomeKind KindToProto(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kReturned:
      return v1::OUTCOME_KIND_RETURNED;
    case OutcomeKind::kExited:
      return v1::OUTCOME_KIND_EXITED;
    case OutcomeKind::kTrapped:
      return v1::OUTCOME_KIND_TRAPPED;
    case OutcomeKind::kPolicyTrapped:
      return v1::OUTCOME_KIND_POLICY_TRAPPED;
    case OutcomeKind::kPolicyKilled:
      return v1::OUTCOME_KIND_POLICY_KILLED;
    case OutcomeKind::kPolicyQuarantined:
      return v1::OUTCOME_KIND_POLICY_QUARANTINED;
    case OutcomeKind::kBudgetExceeded:
      return v1::OUTCOME_KIND_BUDGET_EXCEEDED;
    case OutcomeKind::kKilled:
      return v1::OUTCOME_KIND_KILLED;
  }
  return v1::OUTCOME_KIND_UNSPECIFIED;
}

v1::ValueType TypeToProto(ValType type) {
  switch (type) {
    case ValType::kI32:
      return v1::VALUE_TYPE_I32;
    case ValType::kI64:
      return v1::VALUE_TYPE_I64;
    case ValType::kF32:
      return v1::VALUE_TYPE_F32;
    case ValType::kF64:
      return v1::VALUE_TYPE_F64;
    case ValType::kV128:
      return v1::VALUE_TYPE_V128;
    case ValType::kFuncRef:
      return v1::VALUE_TYPE_FUNCREF;
    case ValType::kExternRef:
      return v1::VALUE_TYPE_EXTERNREF;
  }
  return v1::VALUE_TYPE_UNSPECIFIED;
}

v1::ExternKind KindToProto(ExternKind kind) {
  switch (kind) {
    case ExternKind::kFunc:
      return v1::EXTERN_KIND_FUNC;
    case ExternKind::kTable:
      return v1::EXTERN_KIND_TABLE;
    case ExternKind::kMemory:
      return v1::EXTERN_KIND_MEMORY;
    case ExternKind::kGlobal:
      return v1::EXTERN_KIND_GLOBAL;
    case ExternKind::kTag:
      return v1::EXTERN_KIND_TAG;
  }
  return v1::EXTERN_KIND_UNSPECIFIED;
}

void SetFuncType(const FuncType& from, v1::FuncType* to) {
  for (const ValType type : from.params) to->add_params(TypeToProto(type));
  for (const ValType type : from.results) to->add_results(TypeToProto(type));
}

void SetReference(const Value& value, v1::Value::Reference* reference) {
  if (value.raw().ref() != kNullRef) reference->set_handle(value.raw().ref());
}

uint64_t RefOf(const v1::Value::Reference& reference) {
  return reference.has_handle() ? reference.handle() : kNullRef;
}

}  // namespace

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration message;
  absl::Duration rest;
  message.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  message.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return message;
}

absl::StatusOr<std::optional<absl::Duration>> PositiveDuration(
    absl::string_view field, bool present,
    const google::protobuf::Duration& duration) {
  if (!present) return std::optional<absl::Duration>();
  const absl::Duration value =
      absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
  if (value <= absl::ZeroDuration()) {
    return BadArgument(absl::StrCat(field, " ", absl::FormatDuration(value),
                                    " is not more than 0; leave it out for no "
                                    "limit of your own"));
  }
  return std::optional<absl::Duration>(value);
}

v1::Value ToProto(const Value& value) {
  v1::Value message;
  switch (value.type()) {
    case ValType::kI32:
      message.set_i32(value.i32());
      break;
    case ValType::kI64:
      message.set_i64(value.i64());
      break;
    case ValType::kF32:
      message.set_f32_bits(value.raw().u32());
      break;
    case ValType::kF64:
      message.set_f64_bits(value.raw().u64());
      break;
    case ValType::kV128: {
      const V128 v = value.v128();
      message.mutable_v128()->assign(v.bytes.begin(), v.bytes.end());
      break;
    }
    case ValType::kFuncRef:
      SetReference(value, message.mutable_funcref());
      break;
    case ValType::kExternRef:
      SetReference(value, message.mutable_externref());
      break;
  }
  return message;
}

absl::StatusOr<std::vector<Value>> ValuesFromProto(
    const google::protobuf::RepeatedPtrField<v1::Value>& values) {
  std::vector<Value> result;
  for (const v1::Value& value : values) {
    switch (value.kind_case()) {
      case v1::Value::kI32:
        result.push_back(Value::I32(value.i32()));
        break;
      case v1::Value::kI64:
        result.push_back(Value::I64(value.i64()));
        break;
      case v1::Value::kF32Bits:
        result.emplace_back(ValType::kF32, RawValue::I32(value.f32_bits()));
        break;
      case v1::Value::kF64Bits:
        result.emplace_back(ValType::kF64, RawValue::I64(value.f64_bits()));
        break;
      case v1::Value::kV128: {
        V128 v;
        if (value.v128().size() != v.bytes.size()) {
          return BadArgument(absl::StrCat("argument ", result.size() + 1,
                                          ": v128 has ", value.v128().size(),
                                          " bytes; it takes exactly 16"));
        }
        std::copy(value.v128().begin(), value.v128().end(), v.bytes.begin());
        result.push_back(Value::Vector(v));
        break;
      }
      case v1::Value::kFuncref:
        result.emplace_back(ValType::kFuncRef,
                            RawValue::Ref(RefOf(value.funcref())));
        break;
      case v1::Value::kExternref:
        result.emplace_back(ValType::kExternRef,
                            RawValue::Ref(RefOf(value.externref())));
        break;
      case v1::Value::KIND_NOT_SET:
        return BadArgument(absl::StrCat("argument ", result.size() + 1,
                                        " has no value of a known type"));
    }
  }
  return result;
}

v1::Outcome ToProto(const Outcome& outcome) {
  v1::Outcome message;
  message.set_kind(KindToProto(outcome.kind));
  message.set_exit_code(outcome.exit_code);
  for (const Value& value : outcome.results) {
    *message.add_results() = ToProto(value);
  }
  if (outcome.trap.has_value()) {
    v1::TrapInfo* trap = message.mutable_trap();
    trap->set_code(outcome.trap->code);
    trap->set_message(outcome.trap->message);
    for (const Frame& frame : outcome.trap->frames) {
      v1::TrapFrame* to = trap->add_frames();
      to->set_func_index(frame.func_index);
      to->set_func_name(frame.func_name);
      if (frame.module_offset.has_value()) {
        to->set_module_offset(*frame.module_offset);
      }
      if (frame.source.has_value()) {
        to->set_file(frame.source->file);
        to->set_line(frame.source->line);
        to->set_column(frame.source->column);
      }
    }
  }
  v1::Usage* usage = message.mutable_usage();
  usage->set_fuel(outcome.usage.fuel);
  *usage->mutable_wall() = ToProto(outcome.usage.wall);
  usage->set_host_calls(outcome.usage.host_calls);
  usage->set_host_bytes(outcome.usage.host_bytes);
  usage->set_memory_bytes(outcome.memory_bytes);
  for (const VerdictCount& verdict : outcome.verdicts) {
    v1::VerdictCount* to = message.add_verdicts();
    to->set_policy(verdict.policy);
    to->set_rule(verdict.rule);
    to->set_verdict(verdict.verdict);
    to->set_would_be_verdict(verdict.would_be_verdict);
    to->set_import_module(verdict.import_module);
    to->set_import_name(verdict.import_name);
    to->set_message(verdict.message);
    to->set_guest_errno(verdict.guest_errno);
    to->set_count(verdict.count);
  }
  message.set_verdicts_omitted(outcome.verdicts_omitted);
  message.set_budget(outcome.budget);
  message.set_store_usable(outcome.store_usable);
  message.set_stdout_bytes(outcome.stdout_bytes);
  message.set_stderr_bytes(outcome.stderr_bytes);
  message.set_output_omitted_bytes(outcome.output_omitted_bytes);
  return message;
}

absl::Status CheckDeadline(const Outcome& outcome, absl::Time deadline) {
  const bool stopped = outcome.kind == OutcomeKind::kKilled ||
                       outcome.kind == OutcomeKind::kBudgetExceeded;
  if (!stopped || absl::Now() < deadline) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed while the guest ran");
}

v1::ModuleImport ToProto(const ImportType& import) {
  v1::ModuleImport message;
  message.set_module(import.module);
  message.set_name(import.name);
  message.set_kind(KindToProto(import.type.kind));
  message.set_type(import.type.ToString());
  if (import.type.kind == ExternKind::kFunc) {
    SetFuncType(import.type.func, message.mutable_func_type());
  }
  return message;
}

void DescribeModule(const admission::ModuleSummary& summary,
                    const admission::ModuleLimits& limits, v1::Module* module) {
  for (const ImportType& import : summary.imports) {
    *module->add_imports() = ToProto(import);
  }
  for (const ExportType& exported : summary.exports) {
    v1::ModuleExport* to = module->add_exports();
    to->set_name(exported.name);
    to->set_kind(KindToProto(exported.type.kind));
    to->set_type(exported.type.ToString());
    if (exported.type.kind == ExternKind::kFunc) {
      SetFuncType(exported.type.func, to->mutable_func_type());
    }
  }
  uint64_t pages = 0;
  for (const MemoryType& memory : summary.memories) {
    pages = std::max(pages, memory.pages.min);
  }
  uint64_t elements = 0;
  for (const TableType& table : summary.tables) {
    elements = std::max(elements, table.size.min);
  }
  const struct {
    const char* name;
    uint64_t value;
  } measures[] = {
      {"bytes", summary.bytes},
      {"functions", summary.imported_functions + summary.own_functions},
      {"imports", summary.imports.size()},
      {"exports", summary.exports.size()},
      {"types", summary.types},
      {"locals_per_function", summary.most_locals},
      {"locals_total", summary.locals_total},
      {"nesting_depth", summary.deepest_nesting},
      {"br_table_targets", summary.most_br_table_targets},
      {"function_body_bytes", summary.largest_body_bytes},
      {"memories", summary.memories.size()},
      {"memory_pages_initial", pages},
      {"tables", summary.tables.size()},
      {"table_elements_initial", elements},
      {"globals", summary.imported_globals + summary.own_globals},
      {"data_segments", summary.data_segments},
      {"element_segments", summary.element_segments},
      {"element_segment_items_total", summary.element_segment_items},
      {"custom_section_bytes", summary.custom_section_bytes},
      {"name_bytes", summary.longest_name_bytes},
  };
  v1::AdmissionReport* report = module->mutable_admission();
  for (const auto& measure : measures) {
    const admission::LimitName* limit = admission::FindLimit(measure.name);
    v1::AdmissionReport::Measure* to = report->add_measures();
    to->set_limit(measure.name);
    to->set_value(measure.value);
    if (limit != nullptr) to->set_max(limits.*(limit->member));
  }
  if (summary.start_function.has_value()) {
    report->set_start_function(*summary.start_function);
  }
}

}  // namespace callgate
