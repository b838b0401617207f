#include "runtime/call_hook.h"

namespace callgate {

absl::string_view TransitionName(Transition transition) {
  switch (transition) {
    case Transition::kCallingWasm:
      return "calling_wasm";
    case Transition::kReturningFromWasm:
      return "returning_from_wasm";
    case Transition::kCallingHost:
      return "calling_host";
    case Transition::kReturningFromHost:
      return "returning_from_host";
  }
  return "unknown";
}

absl::string_view EndingName(Ending ending) {
  switch (ending) {
    case Ending::kNotYet:
      return "not_yet";
    case Ending::kValue:
      return "value";
    case Ending::kAnswered:
      return "answered";
    case Ending::kTrap:
      return "trap";
    case Ending::kHostError:
      return "host_error";
    case Ending::kRefusal:
      return "refusal";
    case Ending::kExit:
      return "exit";
  }
  return "unknown";
}

absl::string_view HookProfileName(HookProfile profile) {
  switch (profile) {
    case HookProfile::kWasmtime47:
      return "wasmtime47";
    case HookProfile::kWasmtime48:
      return "wasmtime48";
    case HookProfile::kWasmi1:
      return "wasmi1";
    case HookProfile::kWasmi2:
      return "wasmi2";
  }
  return "unknown";
}

absl::string_view FunctionEndingName(FunctionEnding ending) {
  switch (ending) {
    case FunctionEnding::kReturn:
      return "return";
    case FunctionEnding::kTailCall:
      return "tail_call";
    case FunctionEnding::kException:
      return "exception";
    case FunctionEnding::kTrap:
      return "trap";
    case FunctionEnding::kHostError:
      return "host_error";
    case FunctionEnding::kRefusal:
      return "refusal";
    case FunctionEnding::kExit:
      return "exit";
  }
  return "unknown";
}

}  // namespace callgate
