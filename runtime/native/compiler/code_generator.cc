#include "runtime/native/compiler/code_generator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "llvm/DebugInfo/DWARF/DWARFContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/PassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Transforms/InstCombine/InstCombine.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"
#include "llvm/Transforms/Scalar/LICM.h"
#include "llvm/Transforms/Scalar/LoopPassManager.h"
#include "llvm/Transforms/Scalar/LoopRotation.h"
#include "llvm/Transforms/Scalar/SROA.h"
#include "llvm/Transforms/Scalar/SimplifyCFG.h"
#include "runtime/native/compiler/bounds_checks.h"
#include "runtime/native/compiler/canonical_nans.h"
#include "runtime/native/compiler/min_max.h"

namespace callgate::native {
namespace {

constexpr char kTriple[] = "x86_64-unknown-linux-gnu";

const char* CpuName(CpuLevel level) {
  return level == CpuLevel::kX86_64_v3 ? "x86-64-v3" : "x86-64-v2";
}

class CorrectNansPass : public llvm::PassInfoMixin<CorrectNansPass> {
 public:
  llvm::PreservedAnalyses run(llvm::Function& function,
                              llvm::FunctionAnalysisManager& functions) {
    CorrectNansLate(function,
                    functions.getResult<llvm::LoopAnalysis>(function));
    llvm::PreservedAnalyses preserved;
    preserved.preserveSet<llvm::CFGAnalyses>();
    return preserved;
  }
};

class RemoveBoundsChecksPass
    : public llvm::PassInfoMixin<RemoveBoundsChecksPass> {
 public:
  llvm::PreservedAnalyses run(llvm::Function& function,
                              llvm::FunctionAnalysisManager& functions) {
    const int removed = RemoveBoundsChecks(
        functions.getResult<llvm::DominatorTreeAnalysis>(function),
        functions.getResult<llvm::ScalarEvolutionAnalysis>(function));
    return removed == 0 ? llvm::PreservedAnalyses::all()
                        : llvm::PreservedAnalyses::none();
  }
};

class FinishPass : public llvm::PassInfoMixin<FinishPass> {
 public:
  llvm::PreservedAnalyses run(llvm::Function& function,
                              llvm::FunctionAnalysisManager& functions) {
    CompareWithLimits(function,
                      functions.getResult<llvm::LoopAnalysis>(function));
    BranchForNans(function);
    return llvm::PreservedAnalyses::none();
  }
};

// Wasm comes from compilers that optimise, so that there is little to gain but
// from what translation made: locals that were stack slots, corrections of
// NaNs, bounds checks, and loops of which the invariant parts were not visible.
llvm::FunctionPassManager Passes() {
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  passes.addPass(CorrectNansPass());
  passes.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/true));
  passes.addPass(llvm::SimplifyCFGPass());
  passes.addPass(llvm::InstCombinePass());
  llvm::LoopPassManager loops;
  loops.addPass(llvm::LoopRotatePass());
  loops.addPass(llvm::LICMPass(llvm::LICMOptions()));
  passes.addPass(llvm::createFunctionToLoopPassAdaptor(std::move(loops),
                                                       /*UseMemorySSA=*/true));
  passes.addPass(RemoveBoundsChecksPass());
  passes.addPass(llvm::SimplifyCFGPass());
  passes.addPass(FinishPass());
  return passes;
}

absl::Status Broken(const char* what, llvm::Error error) {
  return absl::InternalError(
      absl::StrCat(what, ": ", llvm::toString(std::move(error))));
}

}  // namespace

void InitialiseLlvm() {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMInitializeX86AsmParser();  // inline assembly
}

CodeGenerator::CodeGenerator(const CompileRequest& request)
    : level_(request.level) {
  std::string error;
  const llvm::Target* const target =
      llvm::TargetRegistry::lookupTarget(kTriple, error);
  if (target == nullptr) return;
  llvm::TargetOptions options;
  options.EmitStackSizeSection = true;
  options.ExceptionModel = llvm::ExceptionHandling::None;
  machine_.reset(target->createTargetMachine(
      kTriple, CpuName(request.cpu), "", options, llvm::Reloc::PIC_,
      llvm::CodeModel::Small,
      level_ == Level::kBaseline ? llvm::CodeGenOptLevel::None
                                 : llvm::CodeGenOptLevel::Less));
}

void CodeGenerator::Prepare(llvm::Module& module) const {
  module.setTargetTriple(kTriple);
  module.setDataLayout(machine_->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
}

absl::StatusOr<std::string> CodeGenerator::Generate(
    llvm::Module& module) const {
  if (level_ == Level::kOptimised) {
    llvm::LoopAnalysisManager loops;
    llvm::FunctionAnalysisManager functions;
    llvm::CGSCCAnalysisManager graphs;
    llvm::ModuleAnalysisManager modules;
    llvm::PassBuilder builder(machine_.get());
    builder.registerModuleAnalyses(modules);
    builder.registerCGSCCAnalyses(graphs);
    builder.registerFunctionAnalyses(functions);
    builder.registerLoopAnalyses(loops);
    builder.crossRegisterProxies(loops, functions, graphs, modules);
    llvm::FunctionPassManager passes = Passes();
    for (llvm::Function& function : module) {
      if (function.isDeclaration()) continue;
      passes.run(function, functions);
    }
  }
  ExpandMinMax(module, /*branches=*/level_ == Level::kOptimised);
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  llvm::legacy::PassManager codegen;
  if (machine_->addPassesToEmitFile(codegen, out, nullptr,
                                    llvm::CodeGenFileType::ObjectFile,
                                    /*DisableVerify=*/true)) {
    return absl::InternalError("the target cannot write object files");
  }
  codegen.run(module);
  return std::string(bytes.begin(), bytes.end());
}

absl::StatusOr<std::vector<FunctionFacts>> ReadFacts(
    const std::string& object) {
  const llvm::MemoryBufferRef buffer(object, "object");
  auto parsed = llvm::object::ObjectFile::createELFObjectFile(buffer);
  if (!parsed) return Broken("the object", parsed.takeError());
  const llvm::object::ObjectFile& file = **parsed;

  struct Place {
    uint64_t address = 0;
    FunctionFacts facts;
  };
  std::vector<Place> places;
  for (const llvm::object::SymbolRef& symbol : file.symbols()) {
    auto name = symbol.getName();
    auto flags = symbol.getFlags();
    auto address = symbol.getAddress();
    if (!name || !flags || !address) {
      return absl::InternalError("the object's symbols do not parse");
    }
    if ((*flags & llvm::object::SymbolRef::SF_Undefined) != 0) continue;
    uint32_t index = 0;
    if (name->size() < 2 || ((*name)[0] != 'f' && (*name)[0] != 'b') ||
        !absl::SimpleAtoi(absl::string_view(name->data() + 1, name->size() - 1),
                          &index)) {
      continue;
    }
    Place& place = places.emplace_back();
    place.address = *address;
    place.facts.index = index;
    place.facts.body = (*name)[0] == 'b';
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return a.address < b.address;
  });
  const auto find = [&places](uint64_t address) -> Place* {
    auto after = std::upper_bound(
        places.begin(), places.end(), address,
        [](uint64_t value, const Place& p) { return value < p.address; });
    return after == places.begin() ? nullptr : &*std::prev(after);
  };

  // .stack_sizes: an address, which a relocation gives, and a LEB128 number.
  for (const llvm::object::SectionRef& section : file.sections()) {
    auto name = section.getName();
    if (!name || *name != ".rela.stack_sizes") continue;
    auto target = section.getRelocatedSection();
    if (!target || *target == file.section_end()) continue;
    auto contents = (*target)->getContents();
    if (!contents) return Broken(".stack_sizes", contents.takeError());
    for (const llvm::object::RelocationRef& relocation :
         section.relocations()) {
      auto addend = llvm::object::ELFRelocationRef(relocation).getAddend();
      if (!addend) return Broken(".stack_sizes", addend.takeError());
      auto base = relocation.getSymbol()->getAddress();
      if (!base) return Broken(".stack_sizes", base.takeError());
      const uint64_t address = *base + static_cast<uint64_t>(*addend);
      uint64_t at = relocation.getOffset() + 8;
      uint64_t bytes = 0;
      for (unsigned shift = 0; at < contents->size() && shift < 64;
           shift += 7) {
        const auto byte = static_cast<uint8_t>((*contents)[at++]);
        bytes |= uint64_t{byte & 0x7fu} << shift;
        if ((byte & 0x80) == 0) break;
      }
      Place* const place = find(address);
      if (place != nullptr && place->address == address) {
        place->facts.frame_bytes = bytes;
      }
    }
  }

  const std::unique_ptr<llvm::DWARFContext> debug =
      llvm::DWARFContext::create(file);
  for (const auto& unit : debug->compile_units()) {
    const llvm::DWARFDebugLine::LineTable* const table =
        debug->getLineTableForUnit(unit.get());
    if (table == nullptr) continue;
    for (const llvm::DWARFDebugLine::Row& row : table->Rows) {
      if (row.EndSequence || row.Line == 0) continue;
      Place* const place = find(row.Address.Address);
      if (place == nullptr) continue;
      auto& list = place->facts.places;
      const uint64_t code = row.Address.Address - place->address;
      if (!list.empty() && list.back().first >= code) {
        list.back().second = row.Line - 1;
        continue;
      }
      list.emplace_back(code, row.Line - 1);
    }
  }
  std::vector<FunctionFacts> facts;
  facts.reserve(places.size());
  for (Place& place : places) facts.push_back(std::move(place.facts));
  return facts;
}

}  // namespace callgate::native
