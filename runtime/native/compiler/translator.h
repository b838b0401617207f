// The second pass: turns function bodies into LLVM IR, one operator at a time.
//
// The operand stack holds LLVM values; locals are stack slots that the
// optimised level turns into registers; control structures are a vector, so
// nothing recurses on the input. Unreachable operators are validated by the
// first pass and skipped here.
//
// Every access to memory and tables is checked against the current length by a
// branch to a trap; every trap site has its own block with its own offset, so
// that no two are merged. What code does at traps, calls and loop heads is in
// abi.h.
//
// NaNs. With canonical NaNs, every NaN that arithmetic makes has the bits of
// the canonical one (0x7fc00000, 0x7ff8000000000000). The translator makes it
// so where bits become visible and not after each operator: an Operand knows
// whether it came from arithmetic and in which lanes, and Pop() corrects it.
// The optimised level then moves that on from locals to where they are seen
// (canonical_nans.h).
// Values that were not computed (loads, constants, parameters) keep their bits.
//
// Fuel is a stack slot that the optimiser turns into a register. The cost of
// straight-line code is added up here and charged at the next branch, call or
// trap, so that the count is exact wherever anyone can see it.
//
// Runs in the compile worker only. One Translator per partition, one thread.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_TRANSLATOR_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_TRANSLATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "runtime/native/abi.h"
#include "runtime/native/compile_request.h"
#include "runtime/native/compiler/function_types.h"
#include "runtime/native/compiler/module_info.h"
#include "runtime/trap.h"
#include "wabt/binary-reader-nop.h"

namespace callgate::native {

// Which lanes of a value may hold NaNs that are not canonical yet.
enum class Arithmetic : uint8_t { kNone, kScalar, kF32x4, kF64x2 };

struct Operand {
  llvm::Value* value = nullptr;
  Arithmetic arithmetic = Arithmetic::kNone;
};

// The frame checks that functions with large frames need, by function index;
// known only after code was generated once.
using FrameSizes = absl::flat_hash_map<uint32_t, uint64_t>;

class Translator final : public wabt::BinaryReaderNop {
 public:
  // Translates the functions [begin, end) of the function index space into
  // `module`, and declares the others.
  Translator(const ModuleInfo& info, const CompileRequest& request,
             const FrameSizes& frame_sizes, llvm::Module& module,
             uint32_t begin, uint32_t end);
  ~Translator() override;

  const std::string& unsupported() const { return unsupported_; }
  // Module offsets of the operators that may stand in a backtrace, in the order
  // of the module, some of them twice.
  std::vector<uint64_t> TakePlaces() { return std::move(places_); }

  using Result = wabt::Result;
  using Index = wabt::Index;
  using Address = wabt::Address;
  using Opcode = wabt::Opcode;
  using Type = wabt::Type;

  bool OnError(const wabt::Error&) override { return true; }
  Result BeginFunctionBody(Index index, wabt::Offset size) override;
  Result OnLocalDeclCount(Index count) override;
  Result OnLocalDecl(Index decl, Index count, Type type) override;
  Result EndFunctionBody(Index index) override;
  Result OnOpcode(Opcode opcode) override;

  // control.cc
  Result OnUnreachableExpr() override;
  Result OnBlockExpr(Type type) override;
  Result OnLoopExpr(Type type) override;
  Result OnIfExpr(Type type) override;
  Result OnElseExpr() override;
  Result OnEndExpr() override;
  Result OnBrExpr(Index depth) override;
  Result OnBrIfExpr(Index depth) override;
  Result OnBrTableExpr(Index count, Index* depths, Index otherwise) override;
  Result OnReturnExpr() override;

  // calls.cc
  Result OnCallExpr(Index function) override;
  Result OnCallIndirectExpr(Index type, Index table) override;
  Result OnReturnCallExpr(Index function) override;
  Result OnReturnCallIndirectExpr(Index type, Index table) override;

  // exceptions.cc
  Result OnTryExpr(Type type) override;
  Result OnCatchExpr(Index tag) override;
  Result OnCatchAllExpr() override;
  Result OnDelegateExpr(Index depth) override;
  Result OnThrowExpr(Index tag) override;
  Result OnRethrowExpr(Index depth) override;

  // variables.cc
  Result OnLocalGetExpr(Index local) override;
  Result OnLocalSetExpr(Index local) override;
  Result OnLocalTeeExpr(Index local) override;
  Result OnGlobalGetExpr(Index global) override;
  Result OnGlobalSetExpr(Index global) override;
  Result OnDropExpr() override;
  Result OnSelectExpr(Index count, Type* types) override;
  Result OnTableGetExpr(Index table) override;
  Result OnTableSetExpr(Index table) override;
  Result OnTableSizeExpr(Index table) override;
  Result OnTableGrowExpr(Index table) override;
  Result OnTableFillExpr(Index table) override;
  Result OnTableCopyExpr(Index to, Index from) override;
  Result OnTableInitExpr(Index segment, Index table) override;
  Result OnElemDropExpr(Index segment) override;
  Result OnRefFuncExpr(Index function) override;
  Result OnRefNullExpr(Type type) override;
  Result OnRefIsNullExpr() override;

  // memory.cc
  Result OnLoadExpr(Opcode opcode, Index memory, Address align,
                    Address offset) override;
  Result OnStoreExpr(Opcode opcode, Index memory, Address align,
                     Address offset) override;
  Result OnMemorySizeExpr(Index memory) override;
  Result OnMemoryGrowExpr(Index memory) override;
  Result OnMemoryCopyExpr(Index to, Index from) override;
  Result OnMemoryFillExpr(Index memory) override;
  Result OnMemoryInitExpr(Index segment, Index memory) override;
  Result OnDataDropExpr(Index segment) override;

  // numeric.cc
  Result OnI32ConstExpr(uint32_t value) override;
  Result OnI64ConstExpr(uint64_t value) override;
  Result OnF32ConstExpr(uint32_t bits) override;
  Result OnF64ConstExpr(uint64_t bits) override;
  Result OnUnaryExpr(Opcode opcode) override;
  Result OnBinaryExpr(Opcode opcode) override;
  Result OnCompareExpr(Opcode opcode) override;
  Result OnConvertExpr(Opcode opcode) override;

  // simd.cc
  Result OnV128ConstExpr(v128 bits) override;
  Result OnTernaryExpr(Opcode opcode) override;

  // simd_lanes.cc
  Result OnSimdLaneOpExpr(Opcode opcode, uint64_t lane) override;
  Result OnSimdShuffleOpExpr(Opcode opcode, v128 lanes) override;
  Result OnSimdLoadLaneExpr(Opcode opcode, Index memory, Address align,
                            Address offset, uint64_t lane) override;
  Result OnSimdStoreLaneExpr(Opcode opcode, Index memory, Address align,
                             Address offset, uint64_t lane) override;
  Result OnLoadSplatExpr(Opcode opcode, Index memory, Address align,
                         Address offset) override;
  Result OnLoadZeroExpr(Opcode opcode, Index memory, Address align,
                        Address offset) override;

 private:
  struct Frame {
    enum class Kind : uint8_t {
      kFunction,
      kBlock,
      kLoop,
      kIf,
      kElse,
      kTry,
      kCatch
    };
    Kind kind = Kind::kBlock;
    // Its code could not be reached when it began: nothing is emitted for it.
    bool dead = false;
    std::vector<llvm::Type*> params;
    std::vector<llvm::Type*> results;
    size_t height = 0;  // of the operand stack beneath its parameters
    llvm::BasicBlock* end = nullptr;
    // `since_look_` at the end: the most that any way there has.
    uint64_t end_since_look = 0;
    std::vector<llvm::PHINode*> end_phis;
    llvm::BasicBlock* head = nullptr;  // of a loop
    std::vector<llvm::PHINode*> head_phis;
    llvm::BasicBlock* otherwise = nullptr;  // of an if
    uint64_t otherwise_since_look = 0;
    std::vector<Operand> else_params;
    // Of a try: where exceptions of its body arrive, and in its catches the
    // copy of the one that was caught.
    llvm::BasicBlock* landing = nullptr;
    llvm::Value* caught = nullptr;
    // The end of the chain of catches so far: where an exception that none of
    // them takes goes on.
    llvm::BasicBlock* next_catch = nullptr;
  };

  // ---- emitting
  llvm::IRBuilder<>& b() { return *builder_; }
  llvm::Type* LlvmType(ValType type) const { return types_.Of(type); }
  llvm::ConstantInt* I32(uint32_t value);
  llvm::ConstantInt* I64(uint64_t value);
  llvm::BasicBlock* NewBlock(const char* name);
  // Starts emitting into `block`.
  void Enter(llvm::BasicBlock* block);
  // After an unconditional branch: nothing is reachable until an end.
  void EndReachable() { reachable_ = false; }

  // ---- the operand stack
  void Push(llvm::Value* value, Arithmetic arithmetic = Arithmetic::kNone);
  // The value with its bits as they must be seen.
  llvm::Value* Pop();
  // As it was computed: for operators that only look at it as a number in
  // lanes of `arithmetic`.
  llvm::Value* PopNumber(Arithmetic arithmetic);
  Operand PopOperand();
  llvm::Value* Canonical(const Operand& operand);
  // The operand of an operator that must quiet a signalling NaN although NaNs
  // are not made canonical. Optimised, LLVM would see through locals that
  // x op 1 or a demoted promotion is x; through this it does not.
  llvm::Value* Quieted(llvm::Value* number);
  // Pops `count` values, the deepest first.
  std::vector<llvm::Value*> PopMany(size_t count);
  // Whether results of arithmetic must be tracked.
  Arithmetic Computed(Arithmetic lanes) const {
    return request_.canonical_nans ? lanes : Arithmetic::kNone;
  }

  // ---- control
  void Signature(Type type, std::vector<llvm::Type*>& params,
                 std::vector<llvm::Type*>& results) const;
  Frame& PushFrame(Frame::Kind kind, Type type);
  // Makes the block and phis that branches to `frame` go to.
  void MakeEnd(Frame& frame);
  llvm::BasicBlock* Target(Frame& frame);
  size_t Arity(const Frame& frame) const;
  // Gives the phis of `frame`'s target the values, from the current block.
  void AddIncoming(Frame& frame, absl::Span<llvm::Value* const> values);
  // Branches to the label `depth`, taking its values off the stack or leaving
  // them there.
  void BranchTo(Index depth, bool take);
  Frame& Label(Index depth) { return frames_[frames_.size() - 1 - depth]; }
  void FinishFrame();
  void EmitReturn();

  // ---- traps, fuel, interruption
  // Ends the current block with a trap if `condition` holds.
  void TrapIf(llvm::Value* condition, TrapCode code);
  void TrapAlways(TrapCode code);
  void ChargeFuel();
  void CheckFuel();
  void CheckStack(bool at_loop);
  // Where a guest that never calls anything is found.
  void Look();
  llvm::Value* FuelNow();

  // ---- the runtime's structures
  // Emits at the end of the entry block, so that it dominates everything.
  llvm::Value* AtEntry(llvm::function_ref<llvm::Value*()> emit);
  llvm::Value* StorePointer();
  llvm::Value* StoreField(uint64_t offset);
  llvm::Value* ContextField(uint64_t offset, llvm::Type* type);
  llvm::Value* FieldOf(llvm::Value* base, uint64_t offset);
  llvm::Value* LoadConst(llvm::Type* type, llvm::Value* pointer);
  llvm::Value* CallBuiltin(Builtin builtin, llvm::FunctionType* type,
                           llvm::ArrayRef<llvm::Value*> args);
  // With the fuel handed over and taken back.
  llvm::Value* CallBuiltinWithFuel(Builtin builtin, llvm::Type* result,
                                   llvm::ArrayRef<llvm::Value*> args);
  llvm::Value* TableDefPointer(Index table);
  llvm::Value* MemoryDefPointer(Index memory);
  llvm::Value* GlobalPointer(Index global);
  llvm::Value* FunctionAddress(uint32_t function, bool body);

  // ---- memory
  // The address of `bytes` bytes at the popped index plus `offset`, checked.
  llvm::Value* CheckedAddress(Index memory, uint64_t offset, uint64_t bytes);
  llvm::Value* PopIndex(Index memory);
  // All ones if a < b, else all zeros, in a way no pass sees through.
  llvm::Value* SpeculationMask(llvm::Value* a, llvm::Value* b);
  llvm::Value* TableSlot(Index table, llvm::Value* index, TrapCode trap);
  // Whoever was called may have grown the memory.
  void ForgetMemoryLength();
  llvm::Value* MemoryLength(Index memory);
  llvm::Value* LoadMemoryLength(Index memory);
  uint64_t MemoryBytesMin(Index memory) const;
  llvm::Value* MemoryBase(Index memory);

  // ---- calls
  struct Callee {
    llvm::Value* code = nullptr;
    llvm::Value* context = nullptr;
    uint32_t type = 0;
    llvm::Function* direct = nullptr;
  };
  Callee DirectCallee(uint32_t function);
  Callee IndirectCallee(uint32_t type, Index table, bool tail);
  void EmitCall(const Callee& callee);
  void EmitTailCall(const Callee& callee);
  void PushResults(const FuncType& type, llvm::Value* direct);
  // A call inside a try.
  void EmitCatchingCall(const Callee& callee,
                        const std::vector<llvm::Value*>& args);
  void WriteTailCallLoop(llvm::Function* wrapper, llvm::Function* body,
                         const FuncType& type);
  void SetCallLocation(llvm::CallInst* call);

  // ---- exceptions
  // The innermost try whose body the current code is in; null outside of any.
  Frame* EnclosingTry(size_t below);
  void RaiseTo(Frame* handler);
  void BeginCatch(Index tag, bool all);
  llvm::Value* Scratch(size_t values);

  // ---- scalars (numeric.cc)
  llvm::Value* IntBinary(Opcode opcode, llvm::Value* left, llvm::Value* right);
  llvm::Value* Truncate(llvm::Value* value, llvm::Type* to, bool is_signed);

  // ---- simd (simd.cc, simd_binary.cc, simd_lanes.cc)
  static constexpr uint8_t kSimdPrefix = 0xfd;
  // How an operator divides a v128.
  enum class Shape : uint8_t { kI8x16, kI16x8, kI32x4, kI64x2, kF32x4, kF64x2 };
  // What the operator's name begins with; kI64x2 for those of v128.
  static Shape ShapeOf(Opcode opcode);
  static Arithmetic ArithmeticOf(Shape shape);
  llvm::FixedVectorType* LanesType(Shape shape);
  // The same bits.
  llvm::Value* AsLanes(llvm::Value* value, Shape shape);
  llvm::Value* PopLanes(Shape shape);
  // With PopNumber().
  llvm::Value* PopNumbers(Shape shape);
  void PushLanes(llvm::Value* lanes);
  // Numbers that an operator of `shape` computed. Where LLVM may know that the
  // result is an operand (`folds`), a signalling NaN is made quiet here.
  void PushNumbers(llvm::Value* lanes, Shape shape, bool folds);
  llvm::Value* CallIntrinsic(unsigned id, llvm::ArrayRef<llvm::Value*> args);
  // The lower or upper half of the lanes, each twice as wide.
  llvm::Value* ExtendHalf(llvm::Value* lanes, bool low, bool is_signed);
  llvm::Value* WithZeroHalf(llvm::Value* lanes);
  llvm::Value* TruncateLanes(llvm::Value* lanes, bool is_signed);
  llvm::Value* IntLanes(Opcode opcode, llvm::Value* left, llvm::Value* right);
  llvm::Value* MixedLanes(Opcode opcode, llvm::Value* left, llvm::Value* right);
  static Shape ShapeInMemory(Opcode opcode);
  llvm::Value* LoadLane(Opcode opcode, Index memory, Address offset);
  // False when the operator is not one of SIMD's.
  bool SimdUnary(Opcode opcode);
  bool SimdBinary(Opcode opcode);
  bool SimdShift(Opcode opcode);
  bool SimdFloatBinary(Opcode opcode);
  bool SimdCompare(Opcode opcode);
  bool SimdLoad(Opcode opcode, Index memory, Address offset);

  Result Unsupported(Opcode opcode);

  const ModuleInfo& info_;
  const CompileRequest& request_;
  const FrameSizes& frame_sizes_;
  llvm::Module& module_;
  llvm::LLVMContext& context_;
  const FunctionTypes types_;
  const ContextLayout layout_;
  const uint32_t begin_;
  const uint32_t end_;
  std::unique_ptr<llvm::IRBuilder<>> builder_;
  std::unique_ptr<llvm::DIBuilder> debug_;
  llvm::DIFile* debug_file_ = nullptr;
  llvm::Function* trap_function_ = nullptr;
  std::string unsupported_;
  std::vector<uint64_t> places_;

  // ---- of the function being translated
  bool skipping_ = false;  // it belongs to another partition
  uint32_t function_index_ = 0;
  const FuncType* type_ = nullptr;
  llvm::Function* function_ = nullptr;
  llvm::DISubprogram* subprogram_ = nullptr;
  llvm::BasicBlock* entry_ = nullptr;
  llvm::Value* context_value_ = nullptr;
  llvm::AllocaInst* fuel_ = nullptr;
  uint64_t pending_ = 0;  // fuel of the code since it was last charged
  // Operators that may have run in this frame since the last Look.
  uint64_t since_look_ = 0;
  std::vector<llvm::AllocaInst*> locals_;
  std::vector<ValType> local_types_;
  Index local_decls_left_ = 0;
  std::vector<Operand> stack_;
  std::vector<Frame> frames_;
  bool reachable_ = false;
  bool started_ = false;  // the frame of the function was pushed
  uint64_t offset_ = 0;   // of the operator being translated
  llvm::Value* store_pointer_ = nullptr;
  llvm::Value* builtins_pointer_ = nullptr;
  llvm::Value* memory0_def_ = nullptr;
  llvm::Value* memory0_base_ = nullptr;
  llvm::AllocaInst* memory0_bytes_ = nullptr;
  llvm::AllocaInst* scratch_ = nullptr;
  size_t scratch_values_ = 0;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_TRANSLATOR_H_
