#include "policy/specialisation_cache.h"

#include <cstring>
#include <optional>
#include <utility>

#include "policy/expression/expression.h"

namespace callgate::policy {
namespace {

void AddNumber(uint64_t number, std::string* key) {
  char bytes[sizeof(number)];
  std::memcpy(bytes, &number, sizeof(number));
  key->append(bytes, sizeof(bytes));
}

// With its length before it, so that no two lists of texts are one.
void AddText(absl::string_view text, std::string* key) {
  AddNumber(text.size(), key);
  key->append(text.data(), text.size());
}

void AddTypes(const std::vector<ValType>& types, std::string* key) {
  AddNumber(types.size(), key);
  for (const ValType type : types) key->push_back(static_cast<char>(type));
}

size_t BytesOf(const std::optional<expression::Program>& program) {
  return program.has_value() ? program->memory_bytes() : 0;
}

size_t BytesOf(const SpecialisedRule& rule) {
  size_t bytes = sizeof(rule) + BytesOf(rule.when);
  for (const SpecialisedException& exception : rule.exceptions) {
    bytes += sizeof(exception) + exception.holds.memory_bytes();
  }
  for (const SpecialisedMessage::Part& part : rule.message.parts) {
    bytes += sizeof(part) + part.text.size() + BytesOf(part.value);
  }
  return bytes;
}

size_t BytesOf(const std::vector<SpecialisedStep>& steps) {
  size_t bytes = 0;
  for (const SpecialisedStep& step : steps) {
    bytes += sizeof(step) + BytesOf(step.when);
  }
  return bytes;
}

size_t BytesOf(const Specialisation& made) {
  const SpecialisedImport& import = made.import;
  size_t bytes = sizeof(made) +
                 2 * (import.names.module.size() + import.names.name.size());
  for (const auto* rules :
       {&import.always, &import.restrictions, &import.allows}) {
    for (const SpecialisedRule& rule : *rules) bytes += BytesOf(rule);
  }
  for (const SpecialisedLimit& limit : import.limits) {
    bytes += sizeof(limit) + BytesOf(limit.says) + BytesOf(limit.cost) +
             limit.key.slots.size() * sizeof(uint32_t);
  }
  for (const SpecialisedTemporal& temporal : import.temporal) {
    bytes += sizeof(temporal) + BytesOf(temporal.says) +
             BytesOf(temporal.steps) + BytesOf(temporal.unless) +
             BytesOf(temporal.value) + temporal.past.size() * sizeof(PastSlot) +
             (temporal.late_past.size() + temporal.late_current.size() +
              temporal.key.slots.size()) *
                 sizeof(uint32_t);
    if (temporal.formerly) bytes += BytesOf(temporal.formerly->when);
  }
  for (const ArgSpec& argument : import.arguments) {
    bytes += sizeof(argument) + argument.name.size();
  }
  bytes += import.argument_facts.size() * sizeof(ArgumentFact) +
           import.result_facts.size() * sizeof(ResultFact) +
           import.kept_slots.size() * sizeof(uint32_t);
  for (const Problem& problem : made.problems) {
    bytes += sizeof(problem) + problem.file.size() + problem.message.size();
  }
  return bytes;
}

}  // namespace

std::string SpecialisationCache::KeyOf(const LinkedImport& import) {
  std::string key;
  AddText(import.module, &key);
  AddText(import.name, &key);
  AddTypes(import.type->params, &key);
  AddTypes(import.type->results, &key);
  if (import.spec == nullptr) return key;
  key.push_back(import.spec->errno_result ? 'e' : 'r');
  for (const ArgSpec& arg : import.spec->args) {
    AddText(arg.name, &key);
    AddNumber(arg.index, &key);
    AddNumber(static_cast<uint64_t>(arg.kind), &key);
    AddNumber(arg.len_index, &key);
    AddNumber(arg.dir_index, &key);
    AddNumber(arg.max_bytes, &key);
    key.push_back(arg.redact ? '1' : '0');
  }
  return key;
}

std::shared_ptr<const Specialisation> SpecialisationCache::Find(
    absl::string_view key) {
  const std::lock_guard<std::mutex> lock(mu_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->value;
}

std::shared_ptr<const Specialisation> SpecialisationCache::Add(
    std::string key, std::shared_ptr<const Specialisation> made) {
  const size_t bytes = BytesOf(*made) + sizeof(Entry) + key.size();
  if (bytes > bytes_max_ / 16) return made;
  const std::lock_guard<std::mutex> lock(mu_);
  const auto found = by_key_.find(key);
  // Somebody else was faster.
  if (found != by_key_.end()) return found->second->value;
  while (!entries_.empty() &&
         (entries_.size() >= entries_max_ || bytes_ + bytes > bytes_max_)) {
    const Entry& oldest = entries_.back();
    by_key_.erase(oldest.key);
    bytes_ -= oldest.bytes;
    entries_.pop_back();
  }
  if (entries_.size() >= entries_max_) return made;
  entries_.push_front({std::move(key), made, bytes});
  by_key_.emplace(entries_.front().key, entries_.begin());
  bytes_ += bytes;
  return made;
}

size_t SpecialisationCache::entries() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return entries_.size();
}

size_t SpecialisationCache::bytes() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return bytes_;
}

}  // namespace callgate::policy
