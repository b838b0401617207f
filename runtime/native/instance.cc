#include "runtime/native/instance.h"

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace callgate::native {
namespace {

constexpr std::align_val_t kAlignment{16};

static_assert(sizeof(InstanceContext) % alignof(FuncImport) == 0 &&
                  sizeof(RawValue) == 16,
              "the arrays follow the header");

ContextLayout LayoutOf(const ModuleImage& image) {
  return ContextLayout(image.imported_functions(),
                       static_cast<uint32_t>(image.memories().size()),
                       static_cast<uint32_t>(image.tables().size()),
                       image.globals(),
                       static_cast<uint32_t>(image.tags().size()));
}

template <typename T>
void Begin(uint8_t* at, size_t count) {
  for (size_t i = 0; i < count; ++i) new (at + i * sizeof(T)) T();
}

uint8_t* NewContext(const ModuleImage& image, const ContextLayout& layout) {
  auto* bytes = static_cast<uint8_t*>(::operator new(layout.size, kAlignment));
  new (bytes) InstanceContext();
  Begin<FuncImport>(bytes + layout.imports, image.imported_functions());
  Begin<MemoryDef*>(bytes + layout.memory_pointers, image.memories().size());
  Begin<TableDef*>(bytes + layout.table_pointers, image.tables().size());
  Begin<Tag*>(bytes + layout.tag_pointers, image.tags().size());
  Begin<RawValue*>(bytes + layout.global_pointers, image.globals());
  Begin<RawValue>(bytes + layout.global_cells, image.globals());
  return bytes;
}

}  // namespace

void Instance::Free::operator()(uint8_t* bytes) const {
  ::operator delete(bytes, kAlignment);
}

Instance::Instance(NativeStore& store, uint32_t id,
                   std::shared_ptr<NativeModule> module,
                   std::shared_ptr<const CodeVersion> version,
                   std::shared_ptr<const LoadedCode> code, bool has_own_copy,
                   const backend::Probes& probes)
    : dropped_elements(module->image().elements().size()),
      dropped_data(module->image().data().size()),
      store_(store),
      id_(id),
      module_(std::move(module)),
      version_(std::move(version)),
      code_(std::move(code)),
      first_code_(code_),
      has_own_copy_(has_own_copy),
      probes_(probes),
      layout_(LayoutOf(module_->image())),
      bytes_(NewContext(module_->image(), layout_)) {
  context()->type_ids = module_->type_ids().data();
  context()->instance = this;
}

void Instance::Use(std::shared_ptr<const CodeVersion> version,
                   std::shared_ptr<const LoadedCode> code,
                   const backend::Probes& probes) {
  version_ = std::move(version);
  code_ = std::move(code);
  probes_ = probes;
}

}  // namespace callgate::native
