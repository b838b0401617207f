#include "policy/state/rule_states.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace callgate::policy {

RuleStates::RuleStates(const Options& options) : options_(options) {}
RuleStates::~RuleStates() = default;

std::unique_ptr<StoreStates> RuleStates::ForStore(
    absl::string_view tenant, absl::string_view module_digest) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = tenants_.find(tenant);
  if (found == tenants_.end()) {
    found =
        tenants_.emplace(std::string(tenant), std::make_shared<Shared>()).first;
  }
  return std::unique_ptr<StoreStates>(new StoreStates(
      *this, found->second, std::string(module_digest), ++stores_));
}

std::shared_ptr<RuleStateUse> RuleStates::UseOf(const StateShape& shape) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return UseOfLocked(shape);
}

std::shared_ptr<RuleStateUse> RuleStates::UseOfLocked(const StateShape& shape) {
  if (uses_.size() >= uses_max_) {
    for (auto use = uses_.begin(); use != uses_.end();) {
      use = use->second->states == 0 ? uses_.erase(use) : std::next(use);
    }
    uses_max_ = std::max<size_t>(1024, uses_.size() * 2);
  }
  std::shared_ptr<RuleStateUse>& use = uses_[shape.digest];
  if (use == nullptr) {
    use = std::make_shared<RuleStateUse>();
    use->policy = shape.policy;
    use->rule = shape.rule;
    use->digest = shape.digest;
    use->scope = shape.scope;
  }
  return use;
}

std::shared_ptr<RuleState> RuleStates::BindShared(
    Shared& shared, absl::string_view module_digest, const StateShape& shape) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::pair<std::string, std::string> key = {
      shape.digest, shape.scope == StateScope::kModule
                        ? std::string(module_digest)
                        : std::string()};
  auto found = shared.states.find(key);
  if (found == shared.states.end()) {
    if (shared_states_ >= options_.shared_states_max) DropOldestLocked();
    Shared::Entry entry;
    entry.state = std::make_shared<RuleState>(shape, UseOfLocked(shape));
    found = shared.states.emplace(key, std::move(entry)).first;
    ++shared_states_;
  }
  found->second.bound_at = ++bindings_;
  return found->second.state;
}

void RuleStates::DropOldestLocked() {
  Shared* most = nullptr;
  decltype(Shared::states)::iterator oldest;
  for (auto& [name, shared] : tenants_) {
    auto& states = shared->states;
    if (most != nullptr && states.size() <= most->states.size()) continue;
    auto found = states.end();
    for (auto at = states.begin(); at != states.end(); ++at) {
      // Nobody else gets hold of it: that takes mutex_.
      if (at->second.state.use_count() == 1 &&
          (found == states.end() ||
           at->second.bound_at < found->second.bound_at)) {
        found = at;
      }
    }
    if (found == states.end()) continue;
    most = shared.get();
    oldest = found;
  }
  // All are in use: then there are as many as Stores need.
  if (most == nullptr) return;
  most->states.erase(oldest);
  --shared_states_;
  ++shared_states_lost_;
}

std::vector<RuleStates::Use> RuleStates::Uses() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Use> uses;
  for (const auto& [digest, use] : uses_) {
    if (use->states == 0 && use->lost == 0) continue;
    uses.push_back({use->policy, use->rule, use->scope, use->states,
                    use->entries, use->bytes, use->lost});
  }
  return uses;
}

uint64_t RuleStates::shared_states_lost() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return shared_states_lost_;
}

void RuleStates::KeepOnly(const std::vector<std::string>& digests) {
  const std::set<absl::string_view> kept(digests.begin(), digests.end());
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto tenant = tenants_.begin(); tenant != tenants_.end();) {
    auto& states = tenant->second->states;
    for (auto at = states.begin(); at != states.end();) {
      if (kept.count(at->first.first) > 0 || at->second.state.use_count() > 1) {
        ++at;
        continue;
      }
      at = states.erase(at);
      --shared_states_;
    }
    // A tenant without states is made anew when it comes back.
    tenant = states.empty() && tenant->second.use_count() == 1
                 ? tenants_.erase(tenant)
                 : std::next(tenant);
  }
  for (auto use = uses_.begin(); use != uses_.end();) {
    use = kept.count(use->first) == 0 && use->second->states == 0
              ? uses_.erase(use)
              : std::next(use);
  }
}

// Room for 2^40 events of each Store.
StoreStates::StoreStates(RuleStates& states,
                         std::shared_ptr<RuleStates::Shared> shared,
                         std::string module_digest, uint64_t number)
    : states_(states),
      shared_(std::move(shared)),
      module_digest_(std::move(module_digest)),
      first_event_(number << 40) {}

StoreStates::~StoreStates() = default;

std::vector<std::shared_ptr<RuleState>> StoreStates::Bind(
    absl::Span<const StateShape* const> shapes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::shared_ptr<RuleState>> states;
  for (const StateShape* shape : shapes) {
    if (shape->scope != StateScope::kStore) {
      states.push_back(states_.BindShared(*shared_, module_digest_, *shape));
      continue;
    }
    std::weak_ptr<RuleState>& known = own_[shape->digest];
    std::shared_ptr<RuleState> state = known.lock();
    if (state == nullptr) {
      state = std::make_shared<RuleState>(*shape, states_.UseOf(*shape));
      known = state;
    }
    states.push_back(std::move(state));
  }
  for (auto at = own_.begin(); at != own_.end();) {
    at = at->second.expired() ? own_.erase(at) : std::next(at);
  }
  return states;
}

}  // namespace callgate::policy
