#include "runtime/native/type_registry.h"

#include <utility>

#include "runtime/check.h"

namespace callgate::native {
namespace {

std::string KeyOf(const FuncType& type) {
  std::string key;
  key.reserve(type.params.size() + type.results.size() + 1);
  for (const ValType t : type.params) key.push_back(static_cast<char>(t));
  key.push_back('\0');  // no value type
  for (const ValType t : type.results) key.push_back(static_cast<char>(t));
  return key;
}

}  // namespace

TypeRegistry::Hold& TypeRegistry::Hold::operator=(Hold&& other) noexcept {
  if (this == &other) return *this;
  if (registry_ != nullptr) registry_->Release(entry_);
  registry_ = std::move(other.registry_);
  other.registry_ = nullptr;
  entry_ = other.entry_;
  return *this;
}

TypeRegistry::Hold::~Hold() {
  if (registry_ != nullptr) registry_->Release(entry_);
}

std::shared_ptr<TypeRegistry> TypeRegistry::New() {
  return std::shared_ptr<TypeRegistry>(new TypeRegistry());
}

TypeRegistry::Hold TypeRegistry::Take(const FuncType& type) {
  std::string key = KeyOf(type);
  Hold hold;
  const std::lock_guard<std::mutex> lock(mu_);
  const auto [entry, added] = entries_.try_emplace(std::move(key));
  if (added) {
    entry->second.type = type;
    if (unused_.empty()) {
      entry->second.id = next_++;
      CALLGATE_CHECK(next_ != 0, "four billion types do not fit into memory");
    } else {
      entry->second.id = unused_.back();
      unused_.pop_back();
    }
  }
  ++entry->second.holds;
  hold.registry_ = shared_from_this();
  hold.entry_ = entry;
  return hold;
}

void TypeRegistry::Release(Entries::iterator entry) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (--entry->second.holds != 0) return;
  unused_.push_back(entry->second.id);
  entries_.erase(entry);
}

size_t TypeRegistry::size() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return entries_.size();
}

}  // namespace callgate::native
