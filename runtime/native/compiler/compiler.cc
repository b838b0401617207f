#include "runtime/native/compiler/compiler.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "runtime/native/abi.h"
#include "runtime/native/compiled_module.pb.h"
#include "runtime/native/compiler/code_generator.h"
#include "runtime/native/compiler/module_info.h"
#include "runtime/native/compiler/module_reader.h"
#include "runtime/native/compiler/source_lines.h"
#include "runtime/native/compiler/tampering.h"
#include "runtime/native/compiler/thunks.h"
#include "runtime/native/compiler/translator.h"
#include "wabt/binary-reader.h"

namespace callgate::native {
namespace {

// Enough for LLVM's cost per module not to show, few enough to share the work.
constexpr uint64_t kPartitionBytes = 32 << 10;
constexpr unsigned kThreadsMax = 4;
// The optimised level's time grows faster than the size of a function.
constexpr uint32_t kOptimisedOperatorsMax = 40'000;

// The lines take up to a fifth of it more.
constexpr uint64_t kAnswerBytesBeforeLinesMax = 200 << 20;

std::atomic<unsigned> processors{1};

struct Partition {
  uint32_t begin = 0;
  uint32_t end = 0;
  Level level = Level::kBaseline;
};

// A function that is too large for the optimised level is a partition of its
// own: what is slow with it, such as the allocation of registers, has one level
// for all of an LLVM module.
std::vector<Partition> Divide(const ModuleInfo& info, Level level) {
  std::vector<Partition> partitions;
  uint64_t bytes = 0;
  Partition current = {info.imported_functions, info.imported_functions, level};
  const auto close = [&] {
    if (current.begin != current.end) partitions.push_back(current);
    current.begin = current.end;
    bytes = 0;
  };
  for (const BodyInfo& body : info.bodies) {
    if (level == Level::kOptimised && body.operators > kOptimisedOperatorsMax) {
      close();
      partitions.push_back({current.end, current.end + 1, Level::kBaseline});
      current.begin = ++current.end;
      continue;
    }
    bytes += body.bytes;
    ++current.end;
    if (bytes >= kPartitionBytes) close();
  }
  close();
  // The trampolines and thunks are in the first.
  if (partitions.empty()) partitions.push_back(current);
  return partitions;
}

struct PartitionResult {
  absl::Status status;
  std::string object;
  std::vector<FunctionFacts> facts;
  std::vector<uint64_t> places;  // of Translator
};

class PartitionCompiler {
 public:
  PartitionCompiler(const CompileRequest& request,
                    absl::Span<const uint8_t> bytes, const ModuleInfo& info,
                    const Tamper* tamper)
      : request_(request), bytes_(bytes), info_(info), tamper_(tamper) {}

  PartitionResult Compile(const Partition& partition, bool with_thunks) const {
    PartitionResult result;
    FrameSizes large;
    // A frame's size shows only in the code; code that needs a larger check is
    // made again with it.
    for (int attempt = 0; attempt < 3; ++attempt) {
      result = Once(partition, with_thunks, large);
      if (!result.status.ok()) return result;
      bool enough = true;
      for (const FunctionFacts& facts : result.facts) {
        if (facts.frame_bytes <= kFrameSlack) continue;
        const auto known = large.find(facts.index);
        if (known != large.end() && known->second >= facts.frame_bytes) {
          continue;
        }
        large[facts.index] = facts.frame_bytes + 4096;
        enough = false;
      }
      if (enough) return result;
    }
    result.status = absl::InternalError("frame sizes do not settle");
    return result;
  }

 private:
  PartitionResult Once(const Partition& partition, bool with_thunks,
                       const FrameSizes& large) const {
    PartitionResult result;
    llvm::LLVMContext context;
    context.setDiscardValueNames(true);
    llvm::Module module("module", context);
    CompileRequest request = request_;
    request.level = partition.level;
    const CodeGenerator generator(request);
    generator.Prepare(module);
    if (with_thunks) {
      const FunctionTypes types(context, request.fuel);
      for (uint32_t i = 0; i < info_.types.size(); ++i) {
        WriteEntryTrampoline(types, info_.types[i], i, module);
        WriteHostThunk(types, info_.types[i], i, module);
        WriteProbeWrapper(types, info_.types[i], i, module);
      }
    }
    {
      Translator translator(info_, request, large, module, partition.begin,
                            partition.end);
      wabt::ReadBinaryOptions options(ToWabt(request.features), nullptr,
                                      /*read_debug_names=*/false,
                                      /*stop_on_first_error=*/true,
                                      /*fail_on_custom_section_error=*/false);
      if (wabt::Failed(wabt::ReadBinary(bytes_.data(), bytes_.size(),
                                        &translator, options))) {
        result.status =
            translator.unsupported().empty()
                ? absl::InternalError("the module changed between two readings")
                : absl::UnimplementedError(absl::StrCat(
                      "not supported: ", translator.unsupported()));
        return result;
      }
      result.places = translator.TakePlaces();
    }
    if (tamper_ != nullptr) (*tamper_)(module);
    absl::StatusOr<std::string> object = generator.Generate(module);
    if (!object.ok()) {
      result.status = object.status();
      return result;
    }
    result.object = *std::move(object);
    absl::StatusOr<std::vector<FunctionFacts>> facts = ReadFacts(result.object);
    if (!facts.ok()) {
      result.status = facts.status();
      return result;
    }
    result.facts = *std::move(facts);
    return result;
  }

  const CompileRequest& request_;
  const absl::Span<const uint8_t> bytes_;
  const ModuleInfo& info_;
  const Tamper* const tamper_;  // null outside of tests
};

void AddFacts(const FunctionFacts& facts, CompiledModule& answer) {
  FunctionCode& code = *answer.add_code();
  code.set_index(facts.index);
  code.set_body(facts.body);
  code.set_frame_bytes(static_cast<uint32_t>(
      std::min<uint64_t>(facts.frame_bytes, ~uint32_t{0})));
  uint64_t place = 0;
  uint64_t offset = 0;
  for (const auto& [at, module_offset] : facts.places) {
    code.add_code_delta(static_cast<uint32_t>(at - place));
    code.add_offset_delta(static_cast<int32_t>(
        static_cast<int64_t>(module_offset) - static_cast<int64_t>(offset)));
    place = at;
    offset = module_offset;
  }
}

absl::StatusOr<std::string> CompileModule(const CompileRequest& request,
                                          absl::Span<const uint8_t> module,
                                          const Tamper* tamper) {
  ModuleInfo info;
  CompiledModule answer;
  answer.set_abi_version(kAbiVersion);
  if (absl::Status read = ReadModule(module, request.features, info, answer);
      !read.ok()) {
    return read;
  }
  const std::vector<Partition> partitions = Divide(info, request.level);
  std::vector<PartitionResult> results(partitions.size());
  const PartitionCompiler compiler(request, module, info, tamper);
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next.fetch_add(1); i < partitions.size();
         i = next.fetch_add(1)) {
      results[i] = compiler.Compile(partitions[i], /*with_thunks=*/i == 0);
    }
  };
  const unsigned threads = static_cast<unsigned>(
      std::min<size_t>({partitions.size(), kThreadsMax, processors.load()}));
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();

  uint32_t not_optimised = 0;
  for (const Partition& partition : partitions) {
    if (partition.level != request.level) ++not_optimised;
  }
  for (PartitionResult& result : results) {
    if (!result.status.ok()) return result.status;
    for (const FunctionFacts& facts : result.facts) AddFacts(facts, answer);
    answer.add_objects(std::move(result.object));
  }
  answer.set_functions_not_optimised(not_optimised);
  // Lines are worth nothing where they would make the answer too long for the
  // daemon: code comes first.
  if (answer.ByteSizeLong() <= kAnswerBytesBeforeLinesMax) {
    std::vector<uint64_t> places;
    for (PartitionResult& result : results) {
      places.insert(places.end(), result.places.begin(), result.places.end());
    }
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    AddSourceLines(module, places, answer);
  } else {
    answer.mutable_source_lines()->set_is_cut(true);
  }
  std::string serialised;
  if (!answer.SerializeToString(&serialised)) {
    return absl::InternalError("the answer is too large to write");
  }
  return serialised;
}

}  // namespace

void LlvmCompiler::Initialise() {
  // Read from the system, which a worker cannot do any more.
  processors = std::max(1u, std::thread::hardware_concurrency());
  InitialiseLlvm();
}

absl::StatusOr<std::string> LlvmCompiler::Compile(
    const CompileRequest& request, absl::Span<const uint8_t> module) {
  return CompileModule(request, module, /*tamper=*/nullptr);
}

absl::StatusOr<std::string> CompileTampered(const CompileRequest& request,
                                            absl::Span<const uint8_t> module,
                                            const Tamper& tamper) {
  return CompileModule(request, module, &tamper);
}

}  // namespace callgate::native
