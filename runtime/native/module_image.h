// A module's structure as the runtime needs it to instantiate: types,
// functions' types, globals, segments and tags, out of the compiler's answer.
//
// The answer is input that may be hostile. Every index in it is checked here
// and every count is compared with what the admission scan found, so that
// instantiation can use the image without looking twice. Immutable; any
// thread; shared by every instance of the module.

#ifndef CALLGATE_RUNTIME_NATIVE_MODULE_IMAGE_H_
#define CALLGATE_RUNTIME_NATIVE_MODULE_IMAGE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/admission/module_summary.h"
#include "runtime/extern_type.h"
#include "runtime/native/constant.h"
#include "runtime/native/memory_image.h"
#include "runtime/value.h"

namespace callgate::native {

class ModuleImage {
 public:
  // An entry of an export or import, without its names.
  struct Item {
    ExternKind kind = ExternKind::kFunc;
    uint32_t index = 0;  // in the index space of its kind
  };
  struct OwnGlobal {
    GlobalType type;
    Constant init;
  };
  struct Elements {
    ElementSegment::Mode mode = ElementSegment::ACTIVE;
    uint32_t table = 0;
    ValType type = ValType::kFuncRef;
    std::optional<Constant> offset;  // of active ones
    std::vector<uint32_t> items;     // function index + 1, or 0 for null
  };
  struct Data {
    bool active = false;
    uint32_t memory = 0;
    std::optional<Constant> offset;  // of active ones
    absl::Span<const uint8_t> bytes;
  };

  // `summary` is the admission scan's of the same `bytes`, of which the image
  // copies what it needs. InvalidArgument names what does not fit.
  static absl::StatusOr<std::unique_ptr<const ModuleImage>> Make(
      const CompiledModule& compiled, const admission::ModuleSummary& summary,
      absl::Span<const uint8_t> bytes);

  ModuleImage(const ModuleImage&) = delete;
  ModuleImage& operator=(const ModuleImage&) = delete;

  const std::vector<FuncType>& types() const { return types_; }
  // Type index of every function.
  const std::vector<uint32_t>& functions() const { return functions_; }
  const FuncType& TypeOfFunction(uint32_t index) const {
    return types_[functions_[index]];
  }
  // Type index of every tag.
  const std::vector<uint32_t>& tags() const { return tags_; }
  const std::vector<Item>& imports() const { return imports_; }
  const std::vector<Item>& exports() const { return exports_; }
  const std::vector<TableType>& tables() const { return tables_; }
  const std::vector<MemoryType>& memories() const { return memories_; }
  const std::vector<OwnGlobal>& own_globals() const { return own_globals_; }
  const std::vector<Elements>& elements() const { return elements_; }
  const std::vector<Data>& data() const { return data_; }

  uint32_t imported_functions() const { return imported_functions_; }
  uint32_t imported_tables() const { return imported_tables_; }
  uint32_t imported_memories() const { return imported_memories_; }
  uint32_t imported_globals() const { return imported_globals_; }
  uint32_t imported_tags() const { return imported_tags_; }
  uint32_t globals() const {
    return imported_globals_ + static_cast<uint32_t>(own_globals_.size());
  }
  uint64_t module_bytes() const { return module_bytes_; }

  // The data segments, from the first, that are sure to fit whatever the
  // imports are: up to the first that is not. Writing them together cannot be
  // told from writing them in order.
  size_t sure_data() const { return sure_data_; }
  // What memory 0 holds after those of them that are its own; null when there
  // is nothing to be gained, and then they are copied.
  const MemoryImage* memory_image() const { return memory_image_.get(); }

 private:
  ModuleImage() = default;
  friend class ModuleImageReader;
  void MakeMemoryImage();

  std::vector<FuncType> types_;
  std::vector<uint32_t> functions_;
  std::vector<uint32_t> tags_;
  std::vector<Item> imports_;
  std::vector<Item> exports_;
  std::vector<TableType> tables_;
  std::vector<MemoryType> memories_;
  std::vector<OwnGlobal> own_globals_;
  std::vector<Elements> elements_;
  std::vector<Data> data_;
  std::vector<uint8_t> data_bytes_;  // what the segments' spans point into
  uint32_t imported_functions_ = 0;
  uint32_t imported_tables_ = 0;
  uint32_t imported_memories_ = 0;
  uint32_t imported_globals_ = 0;
  uint32_t imported_tags_ = 0;
  uint64_t module_bytes_ = 0;
  size_t sure_data_ = 0;
  std::shared_ptr<const MemoryImage> memory_image_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_MODULE_IMAGE_H_
