#include "runtime/engine.h"

#include <utility>

#include "runtime/backend.h"

namespace callgate {

Engine::Engine(EngineOptions options,
               std::unique_ptr<backend::Engine> execution)
    : options_(std::move(options)), execution_(std::move(execution)) {}

Engine::~Engine() = default;

absl::string_view Engine::name() const { return execution_->name(); }

}  // namespace callgate
