#include "runtime/native/compiler/module_reader.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "wabt/binary-reader-nop.h"
#include "wabt/binary-reader.h"
#include "wabt/error.h"
#include "wabt/shared-validator.h"

namespace callgate::native {
namespace {

// What a target of a br_table counts as, for the size of its function.
constexpr uint32_t kOperatorsPerBranchTarget = 4;

using wabt::Address;
using wabt::Index;
using wabt::Location;
using wabt::Offset;
using wabt::Opcode;
using wabt::Result;
using wabt::Type;
using wabt::Var;

#define CALLGATE_VALID(call)                      \
  do {                                            \
    if (wabt::Failed(call)) return Result::Error; \
  } while (false)

ValType ToValType(Type type) {
  return static_cast<ValType>(static_cast<int32_t>(type) & 0x7f);
}

uint32_t Code(Type type) {
  return static_cast<uint32_t>(static_cast<int32_t>(type)) & 0x7f;
}

Address Alignment(Address log2) {
  return log2 < 32 ? Address{1} << log2 : ~Address{0};
}

class Reader final : public wabt::BinaryReaderNop {
 public:
  Reader(const uint8_t* begin, const wabt::Features& features,
         wabt::Errors& errors, ModuleInfo& info, CompiledModule& answer)
      : begin_(begin),
        errors_(errors),
        validator_(&errors, wabt::ValidateOptions(features)),
        info_(info),
        answer_(answer) {}

  const std::string& unsupported() const { return unsupported_; }

  bool OnError(const wabt::Error& error) override {
    errors_.push_back(error);
    return true;
  }
  Result EndModule() override { return validator_.EndModule(); }

  // ------------------------------------------------------------ declarations
  Result OnFuncType(Index index, Index param_count, Type* param_types,
                    Index result_count, Type* result_types) override {
    CALLGATE_VALID(validator_.OnFuncType(At(), param_count, param_types,
                                         result_count, result_types, index));
    FuncType type;
    FuncTypeMessage& message = *answer_.add_types();
    for (Index i = 0; i < param_count; ++i) {
      type.params.push_back(ToValType(param_types[i]));
      message.mutable_params()->push_back(
          static_cast<char>(Code(param_types[i])));
    }
    for (Index i = 0; i < result_count; ++i) {
      type.results.push_back(ToValType(result_types[i]));
      message.mutable_results()->push_back(
          static_cast<char>(Code(result_types[i])));
    }
    info_.types.push_back(std::move(type));
    return Result::Ok;
  }

  Result OnImportFunc(Index, std::string_view, std::string_view, Index,
                      Index sig_index) override {
    CALLGATE_VALID(validator_.OnFunction(At(), Var(sig_index, At())));
    info_.functions.push_back(sig_index);
    ++info_.imported_functions;
    answer_.add_functions(sig_index);
    answer_.set_imported_functions(info_.imported_functions);
    return Result::Ok;
  }
  Result OnImportTable(Index, std::string_view, std::string_view, Index,
                       Type elem_type, const wabt::Limits* limits) override {
    return Table(elem_type, limits);
  }
  Result OnImportMemory(Index, std::string_view, std::string_view, Index,
                        const wabt::Limits* limits) override {
    return Memory(limits);
  }
  Result OnImportGlobal(Index, std::string_view, std::string_view, Index,
                        Type type, bool is_mutable) override {
    CALLGATE_VALID(validator_.OnGlobalImport(At(), type, is_mutable));
    info_.globals.push_back(ToValType(type));
    answer_.set_imported_globals(++info_.imported_globals);
    return Result::Ok;
  }
  Result OnImportTag(Index, std::string_view, std::string_view, Index,
                     Index sig_index) override {
    answer_.set_imported_tags(answer_.imported_tags() + 1);
    return Tag(sig_index);
  }

  Result OnFunction(Index, Index sig_index) override {
    CALLGATE_VALID(validator_.OnFunction(At(), Var(sig_index, At())));
    info_.functions.push_back(sig_index);
    answer_.add_functions(sig_index);
    return Result::Ok;
  }
  Result OnTable(Index, Type elem_type, const wabt::Limits* limits) override {
    return Table(elem_type, limits);
  }
  Result OnMemory(Index, const wabt::Limits* limits) override {
    return Memory(limits);
  }
  Result OnTagType(Index, Index sig_index) override { return Tag(sig_index); }

  Result BeginGlobal(Index, Type type, bool is_mutable) override {
    CALLGATE_VALID(validator_.OnGlobal(At(), type, is_mutable));
    info_.globals.push_back(ToValType(type));
    GlobalMessage& global = *answer_.add_globals();
    global.set_type(Code(type));
    global.set_is_mutable(is_mutable);
    init_type_ = type;
    return Result::Ok;
  }
  Result BeginGlobalInitExpr(Index) override {
    init_ = answer_.mutable_globals(answer_.globals_size() - 1)->mutable_init();
    return validator_.BeginInitExpr(At(), init_type_);
  }
  Result EndGlobalInitExpr(Index) override { return EndInit(); }

  Result OnExport(Index, wabt::ExternalKind kind, Index item_index,
                  std::string_view name) override {
    return validator_.OnExport(At(), kind, Var(item_index, At()), name);
  }
  Result OnStartFunction(Index func_index) override {
    return validator_.OnStart(At(), Var(func_index, At()));
  }

  // ------------------------------------------------------------ segments
  Result BeginElemSegment(Index, Index table_index, uint8_t flags) override {
    wabt::SegmentKind kind = wabt::SegmentKind::Active;
    ElementSegment& segment = *answer_.add_element_segments();
    if ((flags & wabt::SegDeclared) == wabt::SegDeclared) {
      kind = wabt::SegmentKind::Declared;
      segment.set_mode(ElementSegment::DECLARED);
    } else if ((flags & wabt::SegPassive) == wabt::SegPassive) {
      kind = wabt::SegmentKind::Passive;
      segment.set_mode(ElementSegment::PASSIVE);
    }
    segment.set_table(table_index);
    return validator_.OnElemSegment(At(), Var(table_index, At()), kind);
  }
  Result BeginElemSegmentInitExpr(Index) override {
    init_ = Segment().mutable_offset();
    return validator_.BeginInitExpr(At(), Type::I32);
  }
  Result EndElemSegmentInitExpr(Index) override { return EndInit(); }
  Result OnElemSegmentElemType(Index, Type elem_type) override {
    Segment().set_type(Code(elem_type));
    return validator_.OnElemSegmentElemType(At(), elem_type);
  }
  Result OnElemSegmentElemExpr_RefNull(Index, Type type) override {
    Segment().add_items(0);
    return validator_.OnElemSegmentElemExpr_RefNull(At(), type);
  }
  Result OnElemSegmentElemExpr_RefFunc(Index, Index func_index) override {
    Segment().add_items(func_index + 1);
    return validator_.OnElemSegmentElemExpr_RefFunc(At(),
                                                    Var(func_index, At()));
  }

  Result OnDataCount(Index count) override {
    validator_.OnDataCount(count);
    return Result::Ok;
  }
  Result BeginDataSegment(Index, Index memory_index, uint8_t flags) override {
    const bool passive = (flags & wabt::SegPassive) == wabt::SegPassive;
    DataSegment& segment = *answer_.add_data_segments();
    segment.set_active(!passive);
    segment.set_memory(memory_index);
    return validator_.OnDataSegment(
        At(), Var(memory_index, At()),
        passive ? wabt::SegmentKind::Passive : wabt::SegmentKind::Active);
  }
  Result BeginDataSegmentInitExpr(Index) override {
    DataSegment& segment = Data();
    init_ = segment.mutable_offset();
    const bool is64 = segment.memory() < info_.memory_is_64.size() &&
                      info_.memory_is_64[segment.memory()];
    return validator_.BeginInitExpr(At(), is64 ? Type::I64 : Type::I32);
  }
  Result EndDataSegmentInitExpr(Index) override { return EndInit(); }
  Result OnDataSegmentData(Index, const void* data, Address size) override {
    if (size > 0) {
      Data().set_begin(
          static_cast<uint64_t>(static_cast<const uint8_t*>(data) - begin_));
    }
    Data().set_size(size);
    return Result::Ok;
  }

  // ------------------------------------------------------------ bodies
  Result BeginFunctionBody(Index index, Offset size) override {
    info_.bodies.emplace_back();
    info_.bodies.back().bytes = size;
    open_ = 1;
    return validator_.BeginFunctionBody(At(), index);
  }
  Result OnLocalDecl(Index, Index count, Type type) override {
    return validator_.OnLocalDecl(At(), count, type);
  }
  Result EndFunctionBody(Index) override {
    return validator_.EndFunctionBody(At());
  }

  Result OnOpcode(Opcode opcode) override {
    opcode_ = opcode;
    if (init_ == nullptr && open_ == 0) {
      errors_.emplace_back(wabt::ErrorLevel::Error, At(),
                           "instruction after the end of the function");
      return Result::Error;
    }
    if (init_ == nullptr && !info_.bodies.empty()) {
      ++info_.bodies.back().operators;
    }
    return Result::Ok;
  }

  Result OnBinaryExpr(Opcode opcode) override {
    if (init_ != nullptr) {
      switch (opcode) {
        case Opcode::I32Add:
          Const(ConstOp::I32_ADD);
          break;
        case Opcode::I32Sub:
          Const(ConstOp::I32_SUB);
          break;
        case Opcode::I32Mul:
          Const(ConstOp::I32_MUL);
          break;
        case Opcode::I64Add:
          Const(ConstOp::I64_ADD);
          break;
        case Opcode::I64Sub:
          Const(ConstOp::I64_SUB);
          break;
        case Opcode::I64Mul:
          Const(ConstOp::I64_MUL);
          break;
        default:
          break;  // the validator says no
      }
    }
    return validator_.OnBinary(At(), opcode);
  }
  Result OnBlockExpr(Type type) override {
    ++open_;
    return validator_.OnBlock(At(), type);
  }
  Result OnBrExpr(Index depth) override {
    return validator_.OnBr(At(), Var(depth, At()));
  }
  Result OnBrIfExpr(Index depth) override {
    return validator_.OnBrIf(At(), Var(depth, At()));
  }
  Result OnBrTableExpr(Index count, Index* depths, Index otherwise) override {
    CALLGATE_VALID(validator_.BeginBrTable(At()));
    for (Index i = 0; i < count; ++i) {
      CALLGATE_VALID(validator_.OnBrTableTarget(At(), Var(depths[i], At())));
    }
    CALLGATE_VALID(validator_.OnBrTableTarget(At(), Var(otherwise, At())));
    // Admission bounds a body's bytes, and each target is one or more.
    if (!info_.bodies.empty()) {
      info_.bodies.back().operators += count * kOperatorsPerBranchTarget;
    }
    return validator_.EndBrTable(At());
  }
  Result OnCallExpr(Index func_index) override {
    return validator_.OnCall(At(), Var(func_index, At()));
  }
  Result OnCallIndirectExpr(Index sig_index, Index table_index) override {
    return validator_.OnCallIndirect(At(), Var(sig_index, At()),
                                     Var(table_index, At()));
  }
  Result OnCatchExpr(Index tag_index) override {
    return validator_.OnCatch(At(), Var(tag_index, At()), false);
  }
  Result OnCatchAllExpr() override {
    return validator_.OnCatch(At(), Var(), true);
  }
  Result OnCompareExpr(Opcode opcode) override {
    return validator_.OnCompare(At(), opcode);
  }
  Result OnConvertExpr(Opcode opcode) override {
    return validator_.OnConvert(At(), opcode);
  }
  Result OnDelegateExpr(Index depth) override {
    --open_;
    return validator_.OnDelegate(At(), Var(depth, At()));
  }
  Result OnDropExpr() override { return validator_.OnDrop(At()); }
  Result OnElseExpr() override { return validator_.OnElse(At()); }
  Result OnEndExpr() override {
    if (init_ != nullptr) return Result::Ok;
    // The function's own end is EndFunctionBody's.
    if (--open_ == 0) return Result::Ok;
    return validator_.OnEnd(At());
  }
  Result OnF32ConstExpr(uint32_t bits) override {
    Const(ConstOp::F32_CONST, bits);
    return validator_.OnConst(At(), Type::F32);
  }
  Result OnF64ConstExpr(uint64_t bits) override {
    Const(ConstOp::F64_CONST, bits);
    return validator_.OnConst(At(), Type::F64);
  }
  Result OnV128ConstExpr(v128 bits) override {
    if (init_ != nullptr) {
      ConstOp& op = Const(ConstOp::V128_CONST, bits.u64(0));
      op.set_bits_high(bits.u64(1));
    }
    return validator_.OnConst(At(), Type::V128);
  }
  Result OnGlobalGetExpr(Index index) override {
    Const(ConstOp::GLOBAL_GET, index);
    return validator_.OnGlobalGet(At(), Var(index, At()));
  }
  Result OnGlobalSetExpr(Index index) override {
    return validator_.OnGlobalSet(At(), Var(index, At()));
  }
  Result OnI32ConstExpr(uint32_t value) override {
    Const(ConstOp::I32_CONST, value);
    return validator_.OnConst(At(), Type::I32);
  }
  Result OnI64ConstExpr(uint64_t value) override {
    Const(ConstOp::I64_CONST, value);
    return validator_.OnConst(At(), Type::I64);
  }
  Result OnIfExpr(Type type) override {
    ++open_;
    return validator_.OnIf(At(), type);
  }
  Result OnLocalGetExpr(Index index) override {
    return validator_.OnLocalGet(At(), Var(index, At()));
  }
  Result OnLocalSetExpr(Index index) override {
    return validator_.OnLocalSet(At(), Var(index, At()));
  }
  Result OnLocalTeeExpr(Index index) override {
    return validator_.OnLocalTee(At(), Var(index, At()));
  }
  Result OnLoopExpr(Type type) override {
    ++open_;
    return validator_.OnLoop(At(), type);
  }
  Result OnLoadExpr(Opcode opcode, Index memory, Address align,
                    Address) override {
    Uses(memory);
    return validator_.OnLoad(At(), opcode, Var(memory, At()), Alignment(align));
  }
  Result OnStoreExpr(Opcode opcode, Index memory, Address align,
                     Address) override {
    Uses(memory);
    return validator_.OnStore(At(), opcode, Var(memory, At()),
                              Alignment(align));
  }
  Result OnLoadSplatExpr(Opcode opcode, Index memory, Address align,
                         Address) override {
    Uses(memory);
    return validator_.OnLoadSplat(At(), opcode, Var(memory, At()),
                                  Alignment(align));
  }
  Result OnLoadZeroExpr(Opcode opcode, Index memory, Address align,
                        Address) override {
    Uses(memory);
    return validator_.OnLoadZero(At(), opcode, Var(memory, At()),
                                 Alignment(align));
  }
  Result OnSimdLoadLaneExpr(Opcode opcode, Index memory, Address align, Address,
                            uint64_t lane) override {
    Uses(memory);
    return validator_.OnSimdLoadLane(At(), opcode, Var(memory, At()),
                                     Alignment(align), lane);
  }
  Result OnSimdStoreLaneExpr(Opcode opcode, Index memory, Address align,
                             Address, uint64_t lane) override {
    Uses(memory);
    return validator_.OnSimdStoreLane(At(), opcode, Var(memory, At()),
                                      Alignment(align), lane);
  }
  Result OnSimdLaneOpExpr(Opcode opcode, uint64_t lane) override {
    return validator_.OnSimdLaneOp(At(), opcode, lane);
  }
  Result OnSimdShuffleOpExpr(Opcode opcode, v128 lanes) override {
    return validator_.OnSimdShuffleOp(At(), opcode, lanes);
  }
  Result OnMemoryCopyExpr(Index from, Index to) override {
    return validator_.OnMemoryCopy(At(), Var(from, At()), Var(to, At()));
  }
  Result OnDataDropExpr(Index segment) override {
    return validator_.OnDataDrop(At(), Var(segment, At()));
  }
  Result OnMemoryFillExpr(Index memory) override {
    return validator_.OnMemoryFill(At(), Var(memory, At()));
  }
  Result OnMemoryGrowExpr(Index memory) override {
    return validator_.OnMemoryGrow(At(), Var(memory, At()));
  }
  Result OnMemoryInitExpr(Index segment, Index memory) override {
    return validator_.OnMemoryInit(At(), Var(segment, At()), Var(memory, At()));
  }
  Result OnMemorySizeExpr(Index memory) override {
    Uses(memory);
    return validator_.OnMemorySize(At(), Var(memory, At()));
  }
  Result OnTableCopyExpr(Index to, Index from) override {
    return validator_.OnTableCopy(At(), Var(to, At()), Var(from, At()));
  }
  Result OnElemDropExpr(Index segment) override {
    return validator_.OnElemDrop(At(), Var(segment, At()));
  }
  Result OnTableInitExpr(Index segment, Index table) override {
    return validator_.OnTableInit(At(), Var(segment, At()), Var(table, At()));
  }
  Result OnTableGetExpr(Index table) override {
    return validator_.OnTableGet(At(), Var(table, At()));
  }
  Result OnTableSetExpr(Index table) override {
    return validator_.OnTableSet(At(), Var(table, At()));
  }
  Result OnTableGrowExpr(Index table) override {
    return validator_.OnTableGrow(At(), Var(table, At()));
  }
  Result OnTableSizeExpr(Index table) override {
    return validator_.OnTableSize(At(), Var(table, At()));
  }
  Result OnTableFillExpr(Index table) override {
    return validator_.OnTableFill(At(), Var(table, At()));
  }
  Result OnRefFuncExpr(Index func_index) override {
    Const(ConstOp::REF_FUNC, func_index);
    return validator_.OnRefFunc(At(), Var(func_index, At()));
  }
  Result OnRefNullExpr(Type type) override {
    Const(ConstOp::REF_NULL, Code(type));
    return validator_.OnRefNull(At(), type);
  }
  Result OnRefIsNullExpr() override { return validator_.OnRefIsNull(At()); }
  Result OnNopExpr() override { return validator_.OnNop(At()); }
  Result OnRethrowExpr(Index depth) override {
    return validator_.OnRethrow(At(), Var(depth, At()));
  }
  Result OnReturnExpr() override { return validator_.OnReturn(At()); }
  Result OnReturnCallExpr(Index func_index) override {
    TailCall();
    return validator_.OnReturnCall(At(), Var(func_index, At()));
  }
  Result OnReturnCallIndirectExpr(Index sig_index, Index table) override {
    TailCall();
    return validator_.OnReturnCallIndirect(At(), Var(sig_index, At()),
                                           Var(table, At()));
  }
  Result OnSelectExpr(Index count, Type* types) override {
    return validator_.OnSelect(At(), count, types);
  }
  Result OnThrowExpr(Index tag) override {
    return validator_.OnThrow(At(), Var(tag, At()));
  }
  Result OnTryExpr(Type type) override {
    ++open_;
    return validator_.OnTry(At(), type);
  }
  Result OnUnaryExpr(Opcode opcode) override {
    return validator_.OnUnary(At(), opcode);
  }
  Result OnTernaryExpr(Opcode opcode) override {
    return validator_.OnTernary(At(), opcode);
  }
  Result OnUnreachableExpr() override { return validator_.OnUnreachable(At()); }

  // Atomics and what else no engine here has.
  Result OnAtomicLoadExpr(Opcode op, Index, Address, Address) override {
    return Unsupported(op);
  }
  Result OnAtomicStoreExpr(Opcode op, Index, Address, Address) override {
    return Unsupported(op);
  }
  Result OnAtomicRmwExpr(Opcode op, Index, Address, Address) override {
    return Unsupported(op);
  }
  Result OnAtomicRmwCmpxchgExpr(Opcode op, Index, Address, Address) override {
    return Unsupported(op);
  }
  Result OnAtomicWaitExpr(Opcode op, Index, Address, Address) override {
    return Unsupported(op);
  }
  Result OnAtomicNotifyExpr(Opcode op, Index, Address, Address) override {
    return Unsupported(op);
  }
  Result OnAtomicFenceExpr(uint32_t) override { return Unsupported(opcode_); }
  Result OnCallRefExpr() override { return Unsupported(opcode_); }

 private:
  Location At() const { return Location(state->offset); }

  Result Table(Type elem_type, const wabt::Limits* limits) {
    CALLGATE_VALID(validator_.OnTable(At(), elem_type, *limits));
    info_.tables.push_back(ToValType(elem_type));
    answer_.set_tables(static_cast<uint32_t>(info_.tables.size()));
    return Result::Ok;
  }
  Result Memory(const wabt::Limits* limits) {
    CALLGATE_VALID(validator_.OnMemory(At(), *limits));
    if (limits->is_shared) {
      unsupported_ = "shared memories (proposal threads)";
      return Result::Error;
    }
    info_.memory_is_64.push_back(limits->is_64);
    info_.memory_pages_min.push_back(limits->initial);
    answer_.set_memories(static_cast<uint32_t>(info_.memory_is_64.size()));
    return Result::Ok;
  }
  Result Tag(Index sig_index) {
    CALLGATE_VALID(validator_.OnTag(At(), Var(sig_index, At())));
    if (info_.types[sig_index].params.size() > kTagParamsMax) {
      unsupported_ =
          absl::StrCat("a tag with ", info_.types[sig_index].params.size(),
                       " parameters; at most ", kTagParamsMax);
      return Result::Error;
    }
    info_.tags.push_back(sig_index);
    answer_.add_tags(sig_index);
    return Result::Ok;
  }

  Result EndInit() {
    init_ = nullptr;
    return validator_.EndInitExpr();
  }
  ConstOp& Const(ConstOp::Kind kind, uint64_t bits = 0) {
    if (init_ == nullptr) return scratch_;
    ConstOp& op = *init_->Add();
    op.set_kind(kind);
    op.set_bits(bits);
    return op;
  }
  ElementSegment& Segment() {
    return *answer_.mutable_element_segments(answer_.element_segments_size() -
                                             1);
  }
  DataSegment& Data() {
    return *answer_.mutable_data_segments(answer_.data_segments_size() - 1);
  }
  void Uses(Index memory) {
    if (memory == 0 && !info_.bodies.empty()) {
      info_.bodies.back().uses_memory = true;
    }
  }
  void TailCall() {
    if (!info_.bodies.empty()) info_.bodies.back().tail_calls = true;
  }
  Result Unsupported(Opcode opcode) {
    unsupported_ = absl::StrCat("operator ", opcode.GetName());
    return Result::Error;
  }

  const uint8_t* const begin_;
  wabt::Errors& errors_;
  wabt::SharedValidator validator_;
  ModuleInfo& info_;
  CompiledModule& answer_;
  Opcode opcode_;
  uint64_t open_ = 0;  // constructs of the body, itself included
  Type init_type_ = Type::I32;
  // The constant expression being read; null inside function bodies.
  google::protobuf::RepeatedPtrField<ConstOp>* init_ = nullptr;
  ConstOp scratch_;
  std::string unsupported_;
};

}  // namespace

wabt::Features ToWabt(const admission::Features& features) {
  wabt::Features out;
  out.set_mutable_globals_enabled(features.mutable_globals);
  out.set_sat_float_to_int_enabled(features.saturating_float);
  out.set_sign_extension_enabled(features.sign_extension);
  out.set_multi_value_enabled(features.multi_value);
  out.set_bulk_memory_enabled(features.bulk_memory);
  out.set_reference_types_enabled(features.reference_types);
  out.set_simd_enabled(features.simd);
  out.set_tail_call_enabled(features.tail_call);
  out.set_extended_const_enabled(features.extended_const);
  out.set_multi_memory_enabled(features.multi_memory);
  out.set_memory64_enabled(features.memory64);
  out.set_relaxed_simd_enabled(features.relaxed_simd);
  out.set_exceptions_enabled(features.exceptions);
  return out;
}

absl::Status ReadModule(absl::Span<const uint8_t> bytes,
                        const admission::Features& features, ModuleInfo& info,
                        CompiledModule& answer) {
  const wabt::Features wabt_features = ToWabt(features);
  // Names are read elsewhere, and a malformed name section is no error.
  const wabt::ReadBinaryOptions options(wabt_features, /*log_stream=*/nullptr,
                                        /*read_debug_names=*/false,
                                        /*stop_on_first_error=*/true,
                                        /*fail_on_custom_section_error=*/false);
  wabt::Errors errors;
  Reader reader(bytes.data(), wabt_features, errors, info, answer);
  const Result result =
      wabt::ReadBinary(bytes.data(), bytes.size(), &reader, options);
  if (wabt::Succeeded(result)) return absl::OkStatus();
  if (!reader.unsupported().empty()) {
    return absl::UnimplementedError(
        absl::StrCat("not supported: ", reader.unsupported()));
  }
  if (errors.empty()) return absl::InvalidArgumentError("invalid module");
  return absl::InvalidArgumentError(
      absl::StrCat("invalid module: ", errors[0].message, " at byte ",
                   errors[0].loc.offset));
}

}  // namespace callgate::native
