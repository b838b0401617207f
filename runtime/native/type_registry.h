// Numbers for function types: equal types have equal numbers, whichever module
// they come from, so that call_indirect compares one number.
//
// A number lives as long as somebody holds it. Whoever keeps a FuncRecord keeps
// a hold on its type, so a number that is given away again cannot be met in a
// record of the former type, and tenants cannot make the registry grow without
// keeping modules that use the types.
//
// Any thread. Holds may outlive the pointer they were taken through.

#ifndef CALLGATE_RUNTIME_NATIVE_TYPE_REGISTRY_H_
#define CALLGATE_RUNTIME_NATIVE_TYPE_REGISTRY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/value.h"

namespace callgate::native {

class TypeRegistry : public std::enable_shared_from_this<TypeRegistry> {
 private:
  struct Entry {
    FuncType type;
    uint32_t id = 0;
    uint64_t holds = 0;  // guarded by mu_
  };
  using Entries = std::map<std::string, Entry>;

 public:
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept { *this = std::move(other); }
    Hold& operator=(Hold&& other) noexcept;
    ~Hold();

    uint32_t id() const { return entry_->second.id; }
    // Stays where it is while the hold lives.
    const FuncType& type() const { return entry_->second.type; }

   private:
    friend class TypeRegistry;
    std::shared_ptr<TypeRegistry> registry_;
    Entries::iterator entry_;
  };

  static std::shared_ptr<TypeRegistry> New();

  Hold Take(const FuncType& type);
  // Types that are held now.
  size_t size() const;

 private:
  TypeRegistry() = default;
  void Release(Entries::iterator entry);

  mutable std::mutex mu_;
  Entries entries_;               // guarded by mu_
  std::vector<uint32_t> unused_;  // guarded by mu_
  uint32_t next_ = 1;             // guarded by mu_; 0 is nobody's
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_TYPE_REGISTRY_H_
