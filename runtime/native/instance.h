// An instance inside a NativeStore: the context that compiled code works with,
// and the numbers of what is in it.

#ifndef CALLGATE_RUNTIME_NATIVE_INSTANCE_H_
#define CALLGATE_RUNTIME_NATIVE_INSTANCE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/backend.h"
#include "runtime/native/abi.h"
#include "runtime/native/loader/object_loader.h"
#include "runtime/native/native_code.h"

namespace callgate::native {

class NativeStore;

class Instance {
 public:
  Instance(NativeStore& store, uint32_t id,
           std::shared_ptr<NativeModule> module,
           std::shared_ptr<const CodeVersion> version,
           std::shared_ptr<const LoadedCode> code, bool has_own_copy,
           const backend::Probes& probes);
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  NativeStore& store() const { return store_; }
  uint32_t id() const { return id_; }
  const NativeModule& module() const { return *module_; }
  const ModuleImage& image() const { return module_->image(); }
  const CodeVersion& version() const { return *version_; }
  const std::shared_ptr<const CodeVersion>& shared_version() const {
    return version_;
  }
  const LoadedCode& code() const { return *code_; }
  const std::shared_ptr<const LoadedCode>& shared_code() const { return code_; }
  // Whether its code is at addresses that no other instance uses, of this Store
  // or another. Without, it shares its code with at most one instance of every
  // other Store.
  bool has_own_copy() const { return has_own_copy_; }
  // The functions that are probed in code().
  const backend::Probes& probes() const { return probes_; }
  // No activation is live, and whoever holds pointers into the old code must be
  // told.
  void Use(std::shared_ptr<const CodeVersion> version,
           std::shared_ptr<const LoadedCode> code,
           const backend::Probes& probes);

  InstanceContext* context() const {
    return reinterpret_cast<InstanceContext*>(bytes_.get());
  }
  // The arrays of the context.
  FuncImport* imports() const { return At<FuncImport>(layout_.imports); }
  MemoryDef** memories() const {
    return At<MemoryDef*>(layout_.memory_pointers);
  }
  TableDef** tables() const { return At<TableDef*>(layout_.table_pointers); }
  Tag** tags() const { return At<Tag*>(layout_.tag_pointers); }
  RawValue** globals() const { return At<RawValue*>(layout_.global_pointers); }
  RawValue* cells() const { return At<RawValue>(layout_.global_cells); }

  // The Store's numbers, by the module's indexes.
  std::vector<uint32_t> imported_functions;
  absl::flat_hash_map<uint32_t, uint32_t> own_functions;  // those with records
  std::vector<uint32_t> memory_ids;
  std::vector<uint32_t> table_ids;
  std::vector<uint32_t> global_ids;
  std::vector<uint32_t> tag_ids;

  // Of each segment: whether it is as good as empty.
  std::vector<bool> dropped_elements;
  std::vector<bool> dropped_data;

 private:
  struct Free {
    void operator()(uint8_t* bytes) const;
  };
  // SAFETY: the layout puts arrays of these types there, suitably aligned, and
  // the constructor has begun the lifetime of every element.
  template <typename T>
  T* At(uint64_t offset) const {
    return reinterpret_cast<T*>(bytes_.get() + offset);
  }

  NativeStore& store_;
  const uint32_t id_;
  const std::shared_ptr<NativeModule> module_;
  std::shared_ptr<const CodeVersion> version_;
  std::shared_ptr<const LoadedCode> code_;
  // Kept: the whole Store may use host thunks of it.
  const std::shared_ptr<const LoadedCode> first_code_;
  const bool has_own_copy_;
  backend::Probes probes_;
  const ContextLayout layout_;
  const std::unique_ptr<uint8_t[], Free> bytes_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_INSTANCE_H_
