#include "runtime/native/trap_signal.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "runtime/check.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

namespace callgate::native {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
struct sigaction g_previous[NSIG];

// The innermost scope. Read by the handler on its own thread; touched by
// PrepareThreadForFaults before any handler could, so that it is there.
thread_local FaultScope* t_scope = nullptr;

// Notes the frames of the activation. The chain is compiled code's, except
// that nothing is believed that leaves the stack or does not go upwards.
void NoteFrames(FaultScope& scope, uintptr_t frame) {
  scope.returns = 0;
  uintptr_t floor = scope.stack_low;
  while (scope.returns < FaultScope::kReturnsMax) {
    if (frame < floor || frame % 8 != 0 || scope.stack_top < 16 ||
        frame > scope.stack_top - 16) {
      return;
    }
    const auto* words = reinterpret_cast<const uintptr_t*>(frame);
    scope.return_addresses[scope.returns++] = words[1];
    floor = frame + 16;
    frame = words[0];
  }
}

// Whether the fault was a guest's; then `context` goes on with its end.
bool BecomesTrap(int signal, const siginfo_t* info, ucontext_t* context) {
  FaultScope* const scope = t_scope;
  if (scope == nullptr || info->si_code <= 0) return false;
  greg_t* const registers = context->uc_mcontext.gregs;
  const auto pc = static_cast<uintptr_t>(registers[REG_RIP]);
  if (!scope->is_code(scope->owner, pc)) return false;
  if (signal != SIGSEGV && signal != SIGBUS) return false;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  TrapCode code;
  if (address >= scope->guard_begin && address < scope->guard_end) {
    code = TrapCode::kCallStackExhausted;
  } else if (scope->is_memory(scope->owner, address)) {
    code = TrapCode::kMemoryOutOfBounds;
  } else {
    return false;
  }
  scope->fault.happened = true;
  scope->fault.code = code;
  scope->fault.pc = pc;
  scope->fault.frame = static_cast<uintptr_t>(registers[REG_RBP]);
  NoteFrames(*scope, scope->fault.frame);
  registers[REG_RIP] =
      static_cast<greg_t>(reinterpret_cast<uintptr_t>(&callgate_unwind));
  registers[REG_RDI] =
      static_cast<greg_t>(reinterpret_cast<uintptr_t>(scope->activation));
  return true;
}

void OnSignal(int signal, siginfo_t* info, void* raw_context) {
  const int saved_errno = errno;
  const bool handled =
      BecomesTrap(signal, info, static_cast<ucontext_t*>(raw_context));
  errno = saved_errno;
  if (handled) return;

  const struct sigaction& previous = g_previous[signal];
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, raw_context);
    return;
  }
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
    return;
  }
  // The instruction faults again when we return, and then ends the process. A
  // signal that somebody sent does not come again by itself.
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  sigaction(signal, &by_default, nullptr);
  if (info->si_code <= 0) raise(signal);
}

bool InstallHandlers() {
  for (const int signal : kSignals) {
    struct sigaction action {};
    action.sa_sigaction = &OnSignal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (sigaction(signal, &action, &g_previous[signal]) != 0) return false;
  }
  return true;
}

// The thread's signal stack, if it is ours.
class SignalStack {
 public:
  bool Prepare() {
    if (ready_) return true;
    stack_t current{};
    if (sigaltstack(nullptr, &current) != 0) return false;
    if ((current.ss_flags & SS_DISABLE) == 0) {
      ready_ = true;  // a sanitizer's, say
      return true;
    }
    const uint64_t least = getauxval(AT_MINSIGSTKSZ);
    bytes_ = (std::max<uint64_t>(least, 16 << 10) + (64 << 10)) / 4096 * 4096;
    void* mapping = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) return false;
    stack_t own{};
    own.ss_sp = mapping;
    own.ss_size = bytes_;
    if (sigaltstack(&own, nullptr) != 0) {
      munmap(mapping, bytes_);
      return false;
    }
    mapping_ = mapping;
    ready_ = true;
    return true;
  }

  ~SignalStack() {
    if (mapping_ == nullptr) return;
    stack_t current{};
    if (sigaltstack(nullptr, &current) == 0 && current.ss_sp == mapping_) {
      stack_t off{};
      off.ss_flags = SS_DISABLE;
      sigaltstack(&off, nullptr);
    }
    munmap(mapping_, bytes_);
  }

 private:
  bool ready_ = false;
  void* mapping_ = nullptr;
  uint64_t bytes_ = 0;
};

thread_local SignalStack t_signal_stack;

}  // namespace

bool PrepareThreadForFaults() {
  static const bool installed = InstallHandlers();
  return installed && t_signal_stack.Prepare();
}

void PushFaultScope(FaultScope& scope) {
  scope.outer = t_scope;
  t_scope = &scope;
}

void PopFaultScope(FaultScope& scope) {
  CALLGATE_CHECK(t_scope == &scope, "activations end innermost first");
  t_scope = scope.outer;
}

FaultScope* ExchangeFaultScopes(FaultScope* scopes) {
  return std::exchange(t_scope, scopes);
}

}  // namespace callgate::native
