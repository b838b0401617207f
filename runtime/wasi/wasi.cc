#include "runtime/wasi/wasi.h"

#include <fcntl.h>

#include <cerrno>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/wasi/confined_path.h"
#include "runtime/wasi/function_table.h"
#include "runtime/wasi/host_call.h"
#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

// Arguments and environment together, as ARG_MAX bounds them for a process.
constexpr uint64_t kStringBytesMax = 1 << 20;
constexpr size_t kPreopensMax = 64;
constexpr size_t kGuestNameBytesMax = 255;
constexpr size_t kStreams = 3;

bool HasNul(absl::string_view text) {
  return text.find('\0') != absl::string_view::npos;
}

absl::Status CheckStrings(const Options& options) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < options.args.size(); ++i) {
    bytes += options.args[i].size() + 1;
    if (HasNul(options.args[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("argument ", i, " of the guest has a NUL byte in it"));
    }
  }
  for (size_t i = 0; i < options.env.size(); ++i) {
    const std::string& variable = options.env[i];
    bytes += variable.size() + 1;
    if (HasNul(variable)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "environment variable ", i, " of the guest has a NUL byte in it"));
    }
    const size_t equals = variable.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("environment variable ", i,
                       " of the guest is not of the form NAME=value"));
    }
  }
  if (bytes > kStringBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "arguments and environment of the guest take ", bytes,
        " bytes, the maximum is ", kStringBytesMax, ": pass fewer"));
  }
  return absl::OkStatus();
}

absl::Status CheckPreopens(const std::vector<Preopen>& preopens) {
  if (preopens.size() > kPreopensMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(preopens.size(), " preopened directories, the maximum is ",
                     kPreopensMax, ": pass fewer"));
  }
  std::set<absl::string_view> names;
  for (const Preopen& preopen : preopens) {
    const std::string& name = preopen.guest_name;
    if (preopen.host_dir.empty() || HasNul(preopen.host_dir) ||
        HasNul(preopen.inside)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the host directory for the guest's \"", name,
                       "\" is empty or has a NUL byte in it"));
    }
    if (name.empty() || HasNul(name) || name.size() > kGuestNameBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the guest's name for \"", preopen.host_dir, "\" must have 1 to ",
          kGuestNameBytesMax, " bytes and no NUL byte"));
    }
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two directories for the guest's \"", name, "\""));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const Options& options) {
  absl::Status checked = CheckStrings(options);
  if (!checked.ok()) return checked;
  checked = CheckPreopens(options.preopens);
  if (!checked.ok()) return checked;
  if (options.stdin_fd >= 0 && !options.stdin_bytes.empty()) {
    return absl::InvalidArgumentError(
        "standard input is given both as bytes and as a descriptor");
  }
  if (options.clock_resolution < absl::Nanoseconds(1) ||
      options.clock_resolution > absl::Hours(1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "clock_resolution is ", absl::FormatDuration(options.clock_resolution),
        ", it must be from 1ns to 1h"));
  }
  return absl::OkStatus();
}

// Opens `directory`, which shall be `inside` or beneath it. The prefix is
// compared only to learn which path is to be looked up beneath `inside`.
OutcomeOr<UniqueFd> OpenDirectory(const std::string& directory,
                                  const std::string& inside) {
  const bool confined = !inside.empty();
  absl::string_view rest = directory;
  if (confined) {
    absl::string_view root = absl::StripSuffix(inside, "/");
    if (!absl::ConsumePrefix(&rest, root) ||
        (!rest.empty() && rest.front() != '/')) {
      return Errno::kNotCapable;
    }
    while (absl::ConsumePrefix(&rest, "/")) {
    }
  }
  UniqueFd base(RetryOnSignal([&] {
    return open(confined ? inside.c_str() : directory.c_str(),
                O_PATH | O_DIRECTORY | O_CLOEXEC);
  }));
  if (!base.valid()) return FromHostErrno(errno);
  // Also proves that confined lookups work on this system.
  return OpenBeneath(base.get(),
                     confined && !rest.empty() ? std::string(rest) : ".",
                     O_PATH | O_DIRECTORY);
}

absl::Status CannotOpen(const Preopen& preopen, Errno number) {
  const std::string what =
      absl::StrCat("cannot open directory \"", preopen.host_dir,
                   "\" for the guest's \"", preopen.guest_name, "\": ");
  switch (number) {
    case Errno::kNoEnt:
      return absl::NotFoundError(absl::StrCat(what, "it does not exist"));
    case Errno::kNotDir:
      return absl::InvalidArgumentError(
          absl::StrCat(what, "it is not a directory"));
    case Errno::kAcces:
      return absl::PermissionDeniedError(
          absl::StrCat(what, "permission denied"));
    case Errno::kNotCapable:
      return absl::PermissionDeniedError(
          absl::StrCat(what, "it is not inside \"", preopen.inside, "\""));
    case Errno::kMfile:
    case Errno::kNfile:
      return absl::ResourceExhaustedError(
          absl::StrCat(what, "too many open files: raise the limit"));
    case Errno::kNoSys:
    case Errno::kPerm:
      return absl::FailedPreconditionError(absl::StrCat(
          what,
          "the system refuses openat2; Linux 5.6 or later is needed, and a "
          "seccomp filter must let it pass"));
    default:
      return absl::UnavailableError(
          absl::StrCat(what, "WASI error ", static_cast<unsigned>(number)));
  }
}

absl::Status OpenPreopens(const std::vector<Preopen>& preopens,
                          HandleTable& handles) {
  for (const Preopen& preopen : preopens) {
    OutcomeOr<UniqueFd> fd = OpenDirectory(preopen.host_dir, preopen.inside);
    if (!fd.ok()) return CannotOpen(preopen, fd.failure().number());
    const uint64_t allowed =
        preopen.read_only ? rights::kReadOnly : ~uint64_t{0};
    Handle handle;
    handle.kind = Handle::Kind::kDirectory;
    handle.fd = std::move(*fd);
    handle.rights_base = rights::kDirectory & allowed;
    handle.rights_inheriting = (rights::kDirectory | rights::kFile) & allowed;
    handle.preopen_name = preopen.guest_name;
    UniqueFd root(fcntl(handle.fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!root.valid()) return CannotOpen(preopen, FromHostErrno(errno));
    handle.root = std::make_shared<const PreopenRoot>(
        PreopenRoot{std::move(root), preopen.guest_name});
    handles.Insert(std::move(handle));
  }
  return absl::OkStatus();
}

void OpenStreams(HandleTable& handles) {
  for (const auto kind :
       {Handle::Kind::kStdin, Handle::Kind::kStdout, Handle::Kind::kStderr}) {
    Handle handle;
    handle.kind = kind;
    handle.rights_base =
        rights::kFdFdstatSetFlags | rights::kFdFilestatGet |
        rights::kPollFdReadwrite |
        (kind == Handle::Kind::kStdin ? rights::kFdRead : rights::kFdWrite);
    handles.Insert(std::move(handle));
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Context>> Context::Create(Options options) {
  const absl::Status checked = CheckOptions(options);
  if (!checked.ok()) return checked;
  const auto resolution_ns =
      static_cast<uint64_t>(absl::ToInt64Nanoseconds(options.clock_resolution));
  auto state = std::unique_ptr<State>(new State{
      std::move(options.args),
      std::move(options.env),
      options.stdin_fd >= 0 ? Input(options.stdin_fd)
                            : Input(std::move(options.stdin_bytes)),
      Output(std::move(options.stdout_sink), options.output_bytes_max),
      Output(std::move(options.stderr_sink), options.output_bytes_max),
      options.terminal,
      Clocks(std::move(options.realtime), std::move(options.monotonic),
             resolution_ns),
      HandleTable(kStreams + options.preopens.size() +
                  options.open_handles_max),
      std::vector<uint8_t>(kBufferBytes),
      std::vector<Links>(AllFunctions().size(), Links::kFollow),
  });
  state->on_open_handle = std::move(options.on_open_handle);
  state->given_handles = kStreams + options.preopens.size();
  OpenStreams(state->handles);
  const absl::Status opened = OpenPreopens(options.preopens, state->handles);
  if (!opened.ok()) return opened;
  return std::shared_ptr<Context>(new Context(std::move(state)));
}

Context::Context(std::unique_ptr<State> state) : state_(std::move(state)) {}
Context::~Context() = default;

std::string Context::TakeStdout() { return state_->output.Take(); }
std::string Context::TakeStderr() { return state_->error_output.Take(); }
uint64_t Context::output_bytes_refused() const {
  return state_->output.bytes_refused() + state_->error_output.bytes_refused();
}

void Context::SetOpenHandlesMax(uint32_t max) {
  state_->handles.set_capacity(state_->given_handles + max);
}

absl::string_view Context::GuestPathOf(uint32_t fd) {
  const Handle* handle = state_->handles.Find(fd);
  if (handle == nullptr || handle->root == nullptr) return "";
  if (handle->preopen_name.has_value()) return *handle->preopen_name;
  if (handle->kind == Handle::Kind::kFile) return handle->guest_path;
  path_ = GuestPathBeneath(*handle->root, handle->fd.get());
  return path_;
}

bool Context::IsStream(uint32_t fd) const {
  const Handle* handle = state_->handles.Find(fd);
  return handle != nullptr && handle->is_stream();
}

void Context::RefuseLinks(absl::string_view function) {
  const FunctionInfo* info = FindFunction(function);
  if (info == nullptr) return;
  state_->links[static_cast<size_t>(info - AllFunctions().data())] =
      Links::kRefuse;
}

absl::Status AddToLinker(Linker& linker, std::shared_ptr<Context> context) {
  const absl::Span<const FunctionInfo> infos = AllFunctions();
  for (size_t i = 0; i < infos.size(); ++i) {
    HostDefinition definition;
    definition.type = infos[i].type;
    definition.spec = infos[i].spec;
    definition.body = [context, i, body = FunctionBodies()[i]](
                          Caller& caller, absl::Span<const RawValue> args,
                          absl::Span<RawValue> results) -> ErrorRef {
      HostCall call(context->state(), i, caller, args);
      const Outcome outcome = body(call);
      if (outcome.error() != nullptr) return outcome.error();
      results[0] = RawValue::I32(static_cast<uint32_t>(outcome.number()));
      return nullptr;
    };
    const absl::Status defined =
        linker.DefineFunc(kModuleName, infos[i].name, std::move(definition));
    if (!defined.ok()) return defined;
  }
  return absl::OkStatus();
}

}  // namespace wasi
}  // namespace callgate
