// An Engine compiles modules and makes Stores. One per process is enough; any
// thread may use it, and it must outlive its Modules and Stores.
//
// Which execution engine is behind it is decided at creation, by the code that
// links one in (runtime/reference/reference_engine.h); everything above this
// header works with any of them.

#ifndef CALLGATE_RUNTIME_ENGINE_H_
#define CALLGATE_RUNTIME_ENGINE_H_

#include <memory>

#include "absl/strings/string_view.h"
#include "runtime/admission/scan.h"

namespace callgate {

namespace backend {
class Engine;
}  // namespace backend

struct EngineOptions {
  admission::Features features;
  // What a module may be, where a caller gives no limits of its own.
  admission::ModuleLimits module_limits;
};

class Engine {
 public:
  Engine(EngineOptions options, std::unique_ptr<backend::Engine> execution);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const EngineOptions& options() const { return options_; }
  // "reference", "native".
  absl::string_view name() const;
  backend::Engine& execution() const { return *execution_; }

 private:
  const EngineOptions options_;
  const std::unique_ptr<backend::Engine> execution_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_ENGINE_H_
