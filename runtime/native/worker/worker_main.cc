#include "runtime/native/worker/worker_main.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/native/worker/conversation.h"
#include "runtime/native/worker/limits.h"
#include "runtime/native/worker/worker.h"
#include "runtime/native/worker/zygote.h"

namespace callgate::native {
namespace {

constexpr int kRefused = 1;
constexpr int kNotCompiled = 2;

constexpr char kHelp[] =
    "usage: callgate-compile FILE [options]\n"
    "       callgate-compile --zygote --fd N\n"
    "\n"
    "Compiles the WebAssembly module FILE as the daemon would, in a process\n"
    "without powers, and says what came of it. With --zygote, serves the\n"
    "daemon that started it over the socket N.\n"
    "\n"
    "  -o OUT              write the serialised CompiledModule to OUT\n"
    "  --level LEVEL       baseline (the default) or optimised\n"
    "  --cpu LEVEL         v2 (the default) or v3, of x86-64\n"
    "  --no-fuel           do not count operators\n"
    "  --any-nan           do not make NaNs canonical\n"
    "  --all-features      admit every proposal that the compiler may know\n"
    "  --memory-mib N      memory of the worker, beside the module's share\n"
    "  --help              this text\n"
    "\n"
    "Exit code: 0, 1 when the module is refused, 2 when nothing was compiled.\n"
    "A worker that is ended by SIGSYS made a system call that it may not; the\n"
    "kernel's log names its number.\n";

struct Arguments {
  bool help = false;
  bool zygote = false;
  int fd = -1;
  std::string file;
  std::string out;
  CompileRequest request;
  CompileLimits limits;
};

void AdmitAll(admission::Features& features) {
  features.tail_call = true;
  features.extended_const = true;
  features.multi_memory = true;
  features.memory64 = true;
  features.relaxed_simd = true;
  features.exceptions = true;
  features.threads = true;
}

// Sets an option that has a value; false for a value of no sense.
bool SetOption(absl::string_view name, absl::string_view value,
               Arguments& arguments) {
  if (name == "-o") {
    arguments.out = std::string(value);
    return !value.empty();
  }
  if (name == "--fd") {
    return absl::SimpleAtoi(value, &arguments.fd) && arguments.fd >= 3;
  }
  if (name == "--level") {
    arguments.request.level =
        value == "optimised" ? Level::kOptimised : Level::kBaseline;
    return value == "optimised" || value == "baseline";
  }
  if (name == "--cpu") {
    arguments.request.cpu =
        value == "v3" ? CpuLevel::kX86_64_v3 : CpuLevel::kX86_64_v2;
    return value == "v3" || value == "v2";
  }
  uint32_t mebibytes = 0;
  if (!absl::SimpleAtoi(value, &mebibytes)) return false;
  arguments.limits.memory_bytes = uint64_t{mebibytes} << 20;
  return mebibytes > 0;
}

bool HasValue(absl::string_view name) {
  return name == "-o" || name == "--fd" || name == "--level" ||
         name == "--cpu" || name == "--memory-mib";
}

absl::StatusOr<Arguments> Parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view name = argv[i];
    if (name == "--help") {
      arguments.help = true;
    } else if (name == "--zygote") {
      arguments.zygote = true;
    } else if (name == "--no-fuel") {
      arguments.request.fuel = false;
    } else if (name == "--any-nan") {
      arguments.request.canonical_nans = false;
    } else if (name == "--all-features") {
      AdmitAll(arguments.request.features);
    } else if (HasValue(name)) {
      if (i + 1 == argc || !SetOption(name, argv[i + 1], arguments)) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, " needs a value that --help knows"));
      }
      ++i;
    } else if (name.size() > 1 && name[0] == '-') {
      return absl::InvalidArgumentError(absl::StrCat("unknown option ", name));
    } else if (!arguments.file.empty()) {
      return absl::InvalidArgumentError("one FILE at a time");
    } else {
      arguments.file = std::string(name);
    }
  }
  if (arguments.help) return arguments;
  if (arguments.zygote != (arguments.fd >= 0) ||
      arguments.zygote == !arguments.file.empty()) {
    return absl::InvalidArgumentError("either FILE, or --zygote with --fd");
  }
  return arguments;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

absl::StatusOr<std::vector<uint8_t>> ReadModule(const std::string& path) {
  const File file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) {
    return absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
  }
  std::vector<uint8_t> bytes;
  std::vector<uint8_t> piece(1 << 16);
  while (const size_t got =
             std::fread(piece.data(), 1, piece.size(), file.get())) {
    bytes.insert(bytes.end(), piece.data(), piece.data() + got);
    if (bytes.size() > kModuleBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": over the limit of ", kModuleBytesMax, " bytes"));
    }
  }
  if (std::ferror(file.get()) != 0) {
    return absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
  }
  return bytes;
}

absl::Status WriteOut(const std::string& path, const std::string& bytes) {
  File file(std::fopen(path.c_str(), "wbe"));
  const bool written =
      file != nullptr &&
      std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
  if (!written || std::fclose(file.release()) != 0) {
    return absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
  }
  return absl::OkStatus();
}

// Somebody reads what LLVM has to say; but to a file the worker may not write.
bool WorkerMayKeepStderr() {
  struct stat status = {};
  return fstat(STDERR_FILENO, &status) == 0 && !S_ISREG(status.st_mode);
}

absl::StatusOr<std::string> CompileByHand(const Arguments& arguments,
                                          const std::vector<uint8_t>& module,
                                          const Compiler& compiler) {
  compiler.WarmUp();
  const ForkedWorker worker = ForkWorker(compiler, WorkerMayKeepStderr());
  if (worker.error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start a worker: ", strerror(worker.error)));
  }
  const Order order =
      MakeOrder(arguments.request, module.size(), arguments.limits);
  const std::chrono::milliseconds time = WallTimeOf(order, arguments.limits);
  const Conversation talk =
      Converse(worker.socket.get(), order, module,
               std::chrono::steady_clock::now() + time, -1);
  if (talk.end != Conversation::End::kClosed) kill(worker.pid, SIGKILL);
  int status = 0;
  while (waitpid(worker.pid, &status, 0) < 0 && errno == EINTR) {
  }
  switch (talk.end) {
    case Conversation::End::kAnswered:
      if (talk.kind == FrameKind::kCompiled) return talk.text;
      if (talk.kind == FrameKind::kNotLocked) {
        return absl::UnavailableError(talk.text);
      }
      return absl::InvalidArgumentError(talk.text);
    case Conversation::End::kMalformed:
      return absl::InvalidArgumentError(
          absl::StrCat("the compiler's answer is malformed: ", talk.text));
    case Conversation::End::kClosed:
      return absl::InvalidArgumentError(
          absl::StrCat("the compiler ", DescribeDeath(status, order).text));
    case Conversation::End::kTimedOut:
    case Conversation::End::kCancelled:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the compiler ", OverTimeText(time)));
}

int Complain(absl::string_view message) {
  std::fprintf(stderr, "callgate-compile: %s\n", std::string(message).c_str());
  return kNotCompiled;
}

}  // namespace

int WorkerMain(int argc, char** argv, const Compiler& compiler) {
  const absl::StatusOr<Arguments> arguments = Parse(argc, argv);
  if (!arguments.ok()) {
    return Complain(absl::StrCat(arguments.status().message(),
                                 "; see callgate-compile --help"));
  }
  if (arguments->help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (arguments->zygote) return RunZygote(arguments->fd, compiler);
  const absl::StatusOr<std::vector<uint8_t>> module =
      ReadModule(arguments->file);
  if (!module.ok()) return Complain(module.status().message());
  const absl::StatusOr<std::string> compiled =
      CompileByHand(*arguments, *module, compiler);
  if (absl::IsInvalidArgument(compiled.status())) {
    Complain(compiled.status().message());
    return kRefused;
  }
  if (!compiled.ok()) return Complain(compiled.status().message());
  std::printf("%zu bytes of module, %zu bytes compiled\n", module->size(),
              compiled->size());
  if (arguments->out.empty()) return 0;
  const absl::Status written = WriteOut(arguments->out, *compiled);
  return written.ok() ? 0 : Complain(written.message());
}

}  // namespace callgate::native
