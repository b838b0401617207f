// A Store with a recording hook and scripted host functions: what one row of
// the conformance table runs in.
//
// The script's functions note what they do in the Journal, so that a row is a
// few calls and two expected lines. A mistake in a row (text that does not
// assemble, an export that is not there) becomes a violation, not a crash.

#ifndef CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_WATCHED_STORE_H_
#define CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_WATCHED_STORE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/instance.h"
#include "runtime/linker.h"
#include "runtime/store.h"
#include "tests/conformance/call_hook/journal.h"
#include "tests/conformance/call_hook/recording_hook.h"

namespace callgate {

class WatchedStore {
 public:
  enum class Nested : uint8_t { kPropagate, kSwallow };

  // `prefix` stands before the hook's events. `engine` and `journal` must
  // outlive this.
  WatchedStore(const Engine& engine, Journal& journal, std::string prefix = "",
               const Limits& limits = {}, ResourceLimiter* limiter = nullptr,
               HookProfile profile = HookProfile::kWasmtime47);
  WatchedStore(const WatchedStore&) = delete;
  WatchedStore& operator=(const WatchedStore&) = delete;

  Store& store() { return store_; }
  RecordingHook& hook() { return hook_; }
  Journal& journal() { return journal_; }
  Linker& linker() { return linker_; }
  HookProfile profile() const { return profile_; }

  // Host function bodies.
  HostFunction Returns();
  HostFunction Fails(const std::string& error_name);
  HostFunction Fails(ErrorRef error);
  // Calls `export_name` of the newest instance, or of `instance_name`.
  HostFunction Reenters(std::string export_name, Nested nested,
                        std::string instance_name = "");

  // Defines env.`name`, () -> () unless said otherwise.
  void Define(absl::string_view name, HostFunction body);
  void Define(absl::string_view name, FuncType type, HostFunction body,
              HostFunctionSpec spec = {});
  // A host function that the embedder holds, "env"."held".
  std::optional<Func> NewHostFunc(HostFunction body, FuncType type = {});

  // False, with the outcome noted, when it did not end with an instance.
  bool Instantiate(absl::string_view wat,
                   const std::string& instance_name = "guest");
  // `instance_name` empty: the newest.
  std::optional<Instance> FindInstance(const std::string& instance_name = "");
  std::optional<Func> FindFunc(absl::string_view export_name,
                               const std::string& instance_name = "");

  // Calls and notes the outcome.
  void Call(absl::string_view export_name, absl::Span<const Value> args = {},
            const CallOptions& options = {});
  void Call(const std::optional<Func>& func, absl::Span<const Value> args = {},
            const CallOptions& options = {});
  template <typename... P>
  void CallTyped(const std::optional<Func>& func, P... args);

  // From inside a host function: calls and notes the brackets. The error with
  // which the nested call ended, null if it returned.
  ErrorRef Reenter(absl::string_view export_name,
                   absl::Span<const Value> args = {},
                   const std::string& instance_name = "");

 private:
  ErrorRef ErrorOf(const absl::StatusOr<CallResult>& called);

  Journal& journal_;
  const HookProfile profile_;
  RecordingHook hook_;
  Store store_;
  Linker linker_;
  std::vector<std::pair<std::string, Instance>> instances_;
};

template <typename... P>
void WatchedStore::CallTyped(const std::optional<Func>& func, P... args) {
  if (!func.has_value()) return;
  const auto typed = func->Typed<std::tuple<P...>, std::tuple<>>();
  if (!typed.ok()) {
    journal_.NoteOutcome(Journal::Describe(typed.status()));
    return;
  }
  const auto called = typed->Call(args...);
  if (!called.ok()) {
    journal_.NoteOutcome(Journal::Describe(called.status()));
  } else {
    journal_.NoteOutcome(
        called->trap.has_value() ? journal_.Describe(*called->trap) : "ok");
  }
}

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_WATCHED_STORE_H_
