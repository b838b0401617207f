#include "runtime/native/native_code.h"

#include <algorithm>
#include <climits>
#include <cstddef>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "runtime/native/abi.h"
#include "runtime/native/compiled_module.pb.h"
#include "runtime/native/native_probes.h"
#include "runtime/parker.h"

namespace callgate::native {
namespace {

absl::StatusOr<CompiledModule> Parse(absl::string_view answer) {
  CompiledModule compiled;
  if (answer.size() > INT_MAX ||
      !compiled.ParseFromArray(answer.data(),
                               static_cast<int>(answer.size()))) {
    return absl::InvalidArgumentError(
        "the compiler's answer is no compiled module");
  }
  return compiled;
}

}  // namespace

absl::StatusOr<std::shared_ptr<NativeModule>> NativeModule::Make(
    absl::string_view answer, Level level,
    const admission::ModuleSummary& summary, absl::Span<const uint8_t> bytes,
    TypeRegistry& types, const LoadOptions& load) {
  absl::StatusOr<CompiledModule> compiled = Parse(answer);
  if (!compiled.ok()) return compiled.status();
  absl::StatusOr<std::unique_ptr<const ModuleImage>> image =
      ModuleImage::Make(*compiled, summary, bytes);
  if (!image.ok()) return image.status();

  std::shared_ptr<NativeModule> module(new NativeModule());
  module->image_ = *std::move(image);
  module->load_ = load;
  for (const FuncType& type : module->image_->types()) {
    module->types_.push_back(types.Take(type));
    module->type_ids_.push_back(module->types_.back().id());
  }
  absl::StatusOr<std::shared_ptr<const CodeVersion>> version =
      module->Load(*std::move(compiled), level);
  if (!version.ok()) return version.status();
  module->current_ = *std::move(version);
  return module;
}

absl::StatusOr<std::shared_ptr<const CodeVersion>> NativeModule::Load(
    CompiledModule compiled, Level level) const {
  auto version = std::make_shared<CodeVersion>();
  version->level_ = level;
  absl::StatusOr<CodeMap> map =
      CodeMap::Make(compiled.code(), image_->imported_functions(),
                    static_cast<uint32_t>(image_->functions().size()),
                    image_->module_bytes());
  if (!map.ok()) return map.status();
  version->map_ = *std::move(map);
  absl::StatusOr<SourceMap> source =
      SourceMap::Make(compiled.source_lines(), image_->module_bytes());
  if (!source.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the compiler's answer has wrong ", source.status().message()));
  }
  version->source_ = *std::move(source);
  for (std::string& object : *compiled.mutable_objects()) {
    version->objects_.push_back(std::move(object));
  }
  absl::StatusOr<std::shared_ptr<const LoadedCode>> loaded =
      LoadAgain(*version, {});
  if (!loaded.ok()) return loaded.status();
  version->loaded_ = *std::move(loaded);
  return std::shared_ptr<const CodeVersion>(std::move(version));
}

absl::StatusOr<std::shared_ptr<const LoadedCode>> NativeModule::LoadAgain(
    const CodeVersion& version, absl::Span<const uint32_t> functions) const {
  ExpectedSymbols expected;
  expected.imported_functions = image_->imported_functions();
  expected.functions = static_cast<uint32_t>(image_->functions().size());
  expected.types = static_cast<uint32_t>(image_->types().size());
  expected.function_types = image_->functions();
  const std::vector<absl::string_view> objects(version.objects_.begin(),
                                               version.objects_.end());
  // The code has pointers to the contexts, so they live as long as it does, and
  // where they are.
  struct WithProbes {
    std::vector<ProbeContext> contexts;
    std::unique_ptr<const LoadedCode> code;
  };
  const auto made = std::make_shared<WithProbes>();
  std::vector<Redirect> redirects;
  made->contexts.reserve(functions.size());
  for (const uint32_t function : functions) {
    made->contexts.push_back(
        NewProbeContext(static_cast<uint32_t>(made->contexts.size())));
    Redirect redirect;
    redirect.function = function;
    redirect.probe_context =
        reinterpret_cast<uintptr_t>(&made->contexts.back());
    redirect.body = version.loaded_->Body(function) != nullptr;
    redirects.push_back(redirect);
  }
  LoadOptions options = load_;
  options.redirects = redirects;
  absl::StatusOr<std::unique_ptr<const LoadedCode>> loaded =
      LoadObjects(objects, expected, options);
  if (!loaded.ok()) return loaded.status();
  made->code = *std::move(loaded);
  for (size_t i = 0; i < redirects.size(); ++i) {
    made->contexts[i].code = redirects[i].body
                                 ? made->code->Body(redirects[i].function)
                                 : made->code->Function(redirects[i].function);
  }
  return std::shared_ptr<const LoadedCode>(made, made->code.get());
}

absl::StatusOr<std::shared_ptr<const LoadedCode>> NativeModule::LoadShared(
    const CodeVersion& version, absl::Span<const uint32_t> functions) const {
  if (functions.empty()) return version.loaded();
  const std::lock_guard<std::mutex> lock(version.probed_mu_);
  std::vector<CodeVersion::Probed>& known = version.probed_;
  known.erase(std::remove_if(known.begin(), known.end(),
                             [](const CodeVersion::Probed& entry) {
                               return entry.second.expired();
                             }),
              known.end());
  for (const auto& [probed, weak] : known) {
    if (absl::MakeConstSpan(probed) != functions) continue;
    std::shared_ptr<const LoadedCode> code = weak.lock();
    if (code != nullptr) return code;
  }
  absl::StatusOr<std::shared_ptr<const LoadedCode>> code =
      LoadAgain(version, functions);
  if (code.ok()) {
    known.emplace_back(
        std::vector<uint32_t>(functions.begin(), functions.end()), *code);
  }
  return code;
}

std::shared_ptr<const CodeVersion> NativeModule::current(
    bool canonical_nans) const {
  const std::lock_guard<std::mutex> lock(mu_);
  return canonical_nans ? current_ : any_nans_;
}

absl::Status NativeModule::Publish(absl::string_view answer, Level level,
                                   bool canonical_nans) {
  absl::StatusOr<CompiledModule> compiled = Parse(answer);
  if (!compiled.ok()) return compiled.status();
  // Of the structure, only what the symbols depend on is used from here; the
  // rest stays as the first answer had it.
  bool same =
      compiled->abi_version() == kAbiVersion &&
      compiled->imported_functions() == image_->imported_functions() &&
      static_cast<size_t>(compiled->functions_size()) ==
          image_->functions().size() &&
      static_cast<size_t>(compiled->types_size()) == image_->types().size();
  for (int i = 0; same && i < compiled->functions_size(); ++i) {
    same =
        compiled->functions(i) == image_->functions()[static_cast<size_t>(i)];
  }
  const auto equal = [](const std::string& codes,
                        const std::vector<ValType>& types) {
    if (codes.size() != types.size()) return false;
    for (size_t i = 0; i < types.size(); ++i) {
      if (static_cast<uint8_t>(codes[i]) != static_cast<uint8_t>(types[i])) {
        return false;
      }
    }
    return true;
  };
  for (int i = 0; same && i < compiled->types_size(); ++i) {
    const FuncType& type = image_->types()[static_cast<size_t>(i)];
    same = equal(compiled->types(i).params(), type.params) &&
           equal(compiled->types(i).results(), type.results);
  }
  if (!same) {
    return absl::InvalidArgumentError(
        "the compiler's second answer is of another module than its first");
  }
  absl::StatusOr<std::shared_ptr<const CodeVersion>> version =
      Load(*std::move(compiled), level);
  if (!version.ok()) return version.status();
  const std::lock_guard<std::mutex> lock(mu_);
  (canonical_nans ? current_ : any_nans_) = *std::move(version);
  return absl::OkStatus();
}

absl::Status NativeCode::Publish(absl::string_view answer, Level level,
                                 bool canonical_nans) const {
  if (absl::Status published = module_->Publish(answer, level, canonical_nans);
      !published.ok()) {
    return published;
  }
  publications_->fetch_add(1, std::memory_order_release);
  return absl::OkStatus();
}

namespace {

// Parks the fiber meanwhile.
absl::Status OnAThreadOfItsOwn(const std::function<absl::Status()>& work) {
  absl::Status status;
  std::mutex mu;
  ParkingCondition changed;
  bool done = false;  // guarded by mu
  std::thread thread;
  try {
    thread = std::thread([&] {
      status = work();
      const std::lock_guard<std::mutex> lock(mu);
      done = true;
      changed.NotifyAll();
    });
  } catch (const std::system_error&) {
    return absl::UnavailableError("no thread to compile on; try again later");
  }
  {
    std::unique_lock<std::mutex> lock(mu);
    while (!done) changed.WaitUntil(lock, absl::InfiniteFuture());
  }
  thread.join();  // at its end already
  return status;
}

}  // namespace

absl::Status NativeCode::EnsureAnyNans() const {
  if (module_->current(/*canonical_nans=*/false) != nullptr) {
    return absl::OkStatus();
  }
  {
    std::unique_lock<std::mutex> lock(compile_mu_);
    while (compiling_) compiled_.WaitUntil(lock, absl::InfiniteFuture());
    if (module_->current(/*canonical_nans=*/false) != nullptr) {
      return absl::OkStatus();
    }
    compiling_ = true;
  }
  absl::Status made = Parker::Current() == nullptr
                          ? compile_any_nans_()
                          : OnAThreadOfItsOwn(compile_any_nans_);
  {
    const std::lock_guard<std::mutex> lock(compile_mu_);
    compiling_ = false;
    compiled_.NotifyAll();
  }
  if (made.ok()) return made;
  return absl::Status(
      made.code(),
      absl::StrCat("the module's code for Stores without canonical NaNs could "
                   "not be made: ",
                   made.message()));
}

backend::CodeFacts NativeCode::facts() const {
  const std::shared_ptr<const CodeVersion> version = module_->current();
  backend::CodeFacts facts;
  facts.level =
      version->level() == Level::kOptimised ? "optimised" : "baseline";
  facts.code_bytes = version->loaded()->code_bytes();
  if (version->source().is_cut()) {
    facts.source_lines = backend::SourceLines::kSome;
  } else if (!version->source().empty()) {
    facts.source_lines = backend::SourceLines::kAll;
  }
  return facts;
}

}  // namespace callgate::native
