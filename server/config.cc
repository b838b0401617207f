#include "server/config.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "policy/file/nearest_name.h"
#include "policy/file/problem.h"
#include "policy/file/yaml_to_message.h"
#include "policy/file/yaml_tree.h"
#include "proto/callgate/v1/config.pb.h"
#include "server/events/escape.h"
#include "server/loopback_address.h"

namespace callgate {
namespace {

using google::protobuf::FieldDescriptor;

constexpr size_t kConfigFileBytesMax = 1 << 20;
constexpr uint32_t kThreadsMax = 1'024;

// One flag. Its field in DaemonConfig has the same name with underscores.
struct Flag {
  absl::string_view name;
  absl::string_view value;  // in --help
  absl::string_view meaning;
};

constexpr Flag kFlags[] = {
    {"listen", "HOST:PORT", "gRPC services; loopback only [127.0.0.1:50051]"},
    {"metrics", "HOST:PORT",
     "Prometheus page /metrics; loopback only [127.0.0.1:9464]"},
    {"data", "DIR", "the daemon's state; made if missing; required"},
    {"policy-dir", "DIR",
     "policy files (*.yaml, *.yml, *.textproto), read at start and whenever "
     "they change"},
    {"allow-dir", "DIR",
     "guests may be given directories under DIR; may be repeated [none]"},
    {"alerts", "FILE", "alerts as JSON lines are appended to FILE"},
    {"announce", "FILE",
     "FILE gets the addresses once they are bound (for port 0)"},
    {"drain-timeout", "TIME", "how long calls may go on after SIGTERM [10s]"},
    {"max-stores", "N", "Stores that live at once [256]"},
    {"max-runs", "N", "calls into guests in progress at once [64]"},
    {"threads", "N",
     "threads that run guests; a call that waits holds none [the processors]"},
    {"store-idle", "TIME", "a Store without calls for so long is ended [1h]"},
    {"upload-stall", "TIME",
     "an upload that is so far behind 16 KiB/s is ended [10s]"},
    {"wall-per-call", "TIME",
     "limits a call where neither policy nor caller does [60s]"},
    {"compiler", "FILE", "the program callgate-compile [beside this one]"},
    {"code-cache-mib", "N",
     "compiled code kept under --data, in MiB; 0 keeps none [2048]"},
    {"compile-time", "TIME",
     "a tenant's modules may keep the compiler busy so long [10m]"},
    {"compile-window", "TIME",
     "until a tenant's used --compile-time is there again [20m]"},
    {"compile-queue", "N",
     "modules of one tenant that may wait for the compiler [64]"},
    {"surge-rollback", "N",
     "a policy goes back if a change stops calls of N tenants at once; 0: "
     "never [0]"},
    {"trace-mib", "N",
     "traces of what guests do may be recorded, N MiB of them; 0: none [0]"},
    {"trace-age", "TIME", "a trace that is older goes [24h]"},
    {"policy-replay", "TIME",
     "a change in --policy-dir is refused if a replay of what was recorded in "
     "the last TIME changes verdicts [none]"},
    {"policy-replay-max-changed", "N",
     "with --policy-replay: so many verdicts may change [0]"},
    {"policy-mode", "MODE",
     "audit: nothing of --policy-dir is enforced, and all is told [enforce]"},
    {"audit-tenant", "TENANT",
     "no policy is enforced against it, and all is told; repeatable"},
};

const Flag* FindFlag(absl::string_view name) {
  for (const Flag& flag : kFlags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

std::string FieldName(absl::string_view flag) {
  std::string name(flag);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::string Shown(absl::string_view text) {
  return absl::StrCat("\"", events::EscapeText(text, 256), "\"");
}

// "--store-idl": did you mean --store-idle?
std::string Suggestion(absl::string_view name) {
  std::vector<std::string> names = {"config", "help", "version"};
  for (const Flag& flag : kFlags) names.emplace_back(flag.name);
  const std::string nearest(policy::NearestName(name, names));
  return nearest.empty() ? std::string("; --help lists them all")
                         : absl::StrCat("; did you mean --", nearest, "?");
}

void SetDuration(google::protobuf::Message* message, absl::Duration duration) {
  const int64_t seconds =
      absl::IDivDuration(duration, absl::Seconds(1), &duration);
  const auto* type = message->GetDescriptor();
  message->GetReflection()->SetInt64(message, type->FindFieldByName("seconds"),
                                     seconds);
  message->GetReflection()->SetInt32(
      message, type->FindFieldByName("nanos"),
      static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
}

// Sets the field of a flag from the command line. What is wrong, or nothing.
std::string SetFromFlag(const Flag& flag, absl::string_view text,
                        v1::DaemonConfig* config) {
  const auto* field =
      config->GetDescriptor()->FindFieldByName(FieldName(flag.name));
  const auto* reflection = config->GetReflection();
  const std::string shown = absl::StrCat("--", flag.name, " ", Shown(text));
  if (field->is_repeated()) {
    reflection->AddString(config, field, std::string(text));
    return "";
  }
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      reflection->SetString(config, field, std::string(text));
      return "";
    case FieldDescriptor::CPPTYPE_UINT32: {
      uint32_t number = 0;
      if (!absl::SimpleAtoi(text, &number)) {
        return absl::StrCat(shown, " is not a whole number");
      }
      reflection->SetUInt32(config, field, number);
      return "";
    }
    default: {
      absl::Duration duration;
      if (!absl::ParseDuration(text, &duration) ||
          duration < absl::ZeroDuration() || duration > absl::Hours(24 * 365)) {
        return absl::StrCat(shown,
                            " is not a duration; write 10s, 0.5s, 10m or 24h");
      }
      SetDuration(reflection->MutableMessage(config, field), duration);
      return "";
    }
  }
}

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  const auto failed = [&path](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("--config ", Shown(path), ": ", what));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed(std::strerror(errno));
  std::string text;
  struct stat facts;
  if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    close(fd);
    return failed("is not a regular file");
  }
  text.resize(kConfigFileBytesMax + 1);
  size_t size = 0;
  ssize_t got = 0;
  while (size < text.size() &&
         (got = read(fd, &text[size], text.size() - size)) > 0) {
    size += static_cast<size_t>(got);
  }
  close(fd);
  if (got < 0) return failed(std::strerror(errno));
  if (size > kConfigFileBytesMax) {
    return failed(absl::StrCat("is larger than the maximum of ",
                               kConfigFileBytesMax, " bytes"));
  }
  text.resize(size);
  return text;
}

// Gathers what protobuf's parser says.
class TextErrors final : public google::protobuf::io::ErrorCollector {
 public:
  explicit TextErrors(std::string file) : file_(std::move(file)) {}
  void AddError(int line, int column, const std::string& message) override {
    problems_.push_back(policy::Problem{file_, line + 1, column + 1,
                                        events::EscapeText(message, 1024)});
  }
  std::vector<policy::Problem> Take() { return std::move(problems_); }

 private:
  const std::string file_;
  std::vector<policy::Problem> problems_;
};

std::vector<policy::Problem> ParseConfigText(const std::string& text,
                                             const std::string& path,
                                             v1::DaemonConfig* config) {
  if (absl::EndsWith(path, ".textproto") || absl::EndsWith(path, ".txtpb")) {
    TextErrors errors(path);
    google::protobuf::TextFormat::Parser parser;
    parser.RecordErrorsTo(&errors);
    parser.SetRecursionLimit(8);
    if (!parser.ParseFromString(text, config)) {
      std::vector<policy::Problem> problems = errors.Take();
      if (problems.empty()) problems.push_back({path, 0, 0, "cannot be read"});
      return problems;
    }
    return {};
  }
  const policy::YamlTree tree = policy::ParseYaml(text, path);
  if (!tree.problems.empty()) return tree.problems;
  absl::flat_hash_map<std::string, policy::SourcePosition> positions;
  return policy::FillMessageFromYaml(tree, path, config, &positions);
}

absl::Duration DurationOf(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

// Checks what each field may be. Empty: all is well.
std::vector<std::string> Check(const v1::DaemonConfig& given, Config* config) {
  std::vector<std::string> wrong;
  const auto complain = [&wrong](const absl::Status& status) {
    if (!status.ok()) wrong.emplace_back(status.message());
  };
  if (given.has_listen()) config->listen = given.listen();
  if (given.has_metrics()) config->metrics = given.metrics();
  complain(ParseLoopbackAddress("--listen", config->listen).status());
  complain(ParseLoopbackAddress("--metrics", config->metrics).status());
  config->data = given.data();
  if (config->data.empty()) {
    wrong.emplace_back(
        "--data DIR is required: where the daemon keeps modules and policies, "
        "such as --data ./callgate-data");
  }
  config->policy_dir = given.policy_dir();
  config->alerts = given.alerts();
  config->announce = given.announce();
  for (const std::string& dir : given.allow_dir()) {
    if (!absl::StartsWith(dir, "/")) {
      wrong.push_back(absl::StrCat("--allow-dir ", Shown(dir),
                                   " is not absolute; write it from /"));
    }
    config->allow_dirs.push_back(dir);
  }
  if (given.policy_mode() == "audit") {
    config->policy_mode = policy::Mode::kAudit;
  } else if (given.has_policy_mode() && given.policy_mode() != "enforce") {
    wrong.push_back(absl::StrCat("--policy-mode ", Shown(given.policy_mode()),
                                 " is neither enforce nor audit"));
  }
  for (const std::string& tenant : given.audit_tenant()) {
    if (tenant.empty()) {
      wrong.emplace_back("--audit-tenant is empty; name a tenant");
    }
    config->audit_tenants.push_back(tenant);
  }
  const auto positive = [&wrong](absl::string_view flag,
                                 const google::protobuf::Duration& value,
                                 absl::Duration* out) {
    *out = DurationOf(value);
    if (*out <= absl::ZeroDuration()) {
      wrong.push_back(absl::StrCat("--", flag, " ", absl::FormatDuration(*out),
                                   " is not more than 0"));
    }
  };
  if (given.has_drain_timeout()) {
    config->drain_timeout = DurationOf(given.drain_timeout());
    if (config->drain_timeout < absl::ZeroDuration()) {
      wrong.emplace_back("--drain-timeout is less than 0");
    }
  }
  if (given.has_store_idle()) {
    positive("store-idle", given.store_idle(), &config->store_idle);
  }
  if (given.has_upload_stall()) {
    positive("upload-stall", given.upload_stall(), &config->upload_stall);
  }
  if (given.has_wall_per_call()) {
    positive("wall-per-call", given.wall_per_call(), &config->wall_per_call);
  }
  if (given.has_compile_time()) {
    positive("compile-time", given.compile_time(), &config->compile_time);
  }
  if (given.has_compile_window()) {
    positive("compile-window", given.compile_window(), &config->compile_window);
  }
  const auto a_millisecond = [&wrong](absl::string_view flag,
                                      absl::Duration value) {
    if (value > absl::ZeroDuration() && value < absl::Milliseconds(1)) {
      wrong.push_back(absl::StrCat("--", flag, " ", absl::FormatDuration(value),
                                   " is less than 1ms"));
    }
  };
  if (given.has_trace_age()) {
    positive("trace-age", given.trace_age(), &config->trace_age);
  }
  a_millisecond("compile-time", config->compile_time);
  a_millisecond("compile-window", config->compile_window);
  config->compiler = given.compiler();
  if (given.has_code_cache_mib()) {
    config->code_cache_mib = given.code_cache_mib();
  }
  const auto in_range = [&wrong](absl::string_view flag, uint32_t value,
                                 uint32_t max, uint32_t* out) {
    *out = value;
    if (value < 1 || value > max) {
      wrong.push_back(
          absl::StrCat("--", flag, " ", value, " is not between 1 and ", max));
    }
  };
  if (given.has_compile_queue()) {
    in_range("compile-queue", given.compile_queue(), 1'000,
             &config->compile_queue);
  }
  if (given.has_surge_rollback()) {
    config->surge_rollback = given.surge_rollback();
    if (config->surge_rollback == 1 || config->surge_rollback > 1'000) {
      wrong.push_back(absl::StrCat("--surge-rollback ", config->surge_rollback,
                                   " is not 0, or between 2 and 1000: no "
                                   "single tenant may cause it"));
    }
  }
  if (given.has_trace_mib()) {
    config->trace_mib = given.trace_mib();
    if (config->trace_mib > 1'000'000) {
      wrong.push_back(absl::StrCat("--trace-mib ", config->trace_mib,
                                   " is more than 1000000"));
    }
  }
  if (given.has_policy_replay()) {
    positive("policy-replay", given.policy_replay(), &config->policy_replay);
    if (config->policy_dir.empty()) {
      wrong.emplace_back("--policy-replay needs --policy-dir");
    }
    if (config->trace_mib == 0) {
      wrong.emplace_back(
          "--policy-replay needs --trace-mib: without it nothing "
          "is recorded");
    }
  }
  if (given.has_policy_replay_max_changed()) {
    config->policy_replay_max_changed = given.policy_replay_max_changed();
    if (!given.has_policy_replay()) {
      wrong.emplace_back("--policy-replay-max-changed needs --policy-replay");
    }
  }
  if (given.has_max_stores()) {
    in_range("max-stores", given.max_stores(), 100'000, &config->max_stores);
  }
  if (given.has_max_runs()) {
    in_range("max-runs", given.max_runs(), 1'000, &config->max_runs);
  }
  if (given.has_threads()) {
    in_range("threads", given.threads(), kThreadsMax, &config->threads);
  }
  return wrong;
}

}  // namespace

uint32_t DefaultThreads() {
  cpu_set_t processors;
  if (sched_getaffinity(0, sizeof(processors), &processors) != 0) {
    // More of them than a cpu_set_t holds.
    return kThreadsMax;
  }
  return static_cast<uint32_t>(CPU_COUNT(&processors));
}

absl::StatusOr<CommandLine> ParseCommandLine(
    absl::Span<const absl::string_view> args) {
  CommandLine line;
  v1::DaemonConfig flags;
  std::string config_path;
  std::map<std::string, bool> seen;
  std::vector<std::string> wrong;
  for (size_t i = 0; i < args.size(); ++i) {
    absl::string_view arg = args[i];
    if (arg == "--help" || arg == "-h") {
      line.action = CommandLine::Action::kHelp;
      return line;
    }
    if (arg == "--version") {
      line.action = CommandLine::Action::kVersion;
      return line;
    }
    if (!absl::StartsWith(arg, "--")) {
      wrong.push_back(absl::StrCat(Shown(arg),
                                   " is not a flag; callgated takes only flags "
                                   "(--help lists them)"));
      continue;
    }
    arg.remove_prefix(2);
    const size_t equals = arg.find('=');
    const absl::string_view name = arg.substr(0, equals);
    const Flag* flag = FindFlag(name);
    if (flag == nullptr && name != "config") {
      wrong.push_back(absl::StrCat(
          "unknown flag --", events::EscapeText(name, 256), Suggestion(name)));
      // A value that follows belongs to it.
      if (equals == absl::string_view::npos && i + 1 < args.size() &&
          !absl::StartsWith(args[i + 1], "--")) {
        ++i;
      }
      continue;
    }
    absl::string_view value;
    if (equals != absl::string_view::npos) {
      value = arg.substr(equals + 1);
    } else if (i + 1 < args.size()) {
      value = args[++i];
    } else {
      wrong.push_back(absl::StrCat("--", name, " lacks its value"));
      continue;
    }
    if (name != "allow-dir" && name != "audit-tenant" &&
        seen[std::string(name)]) {
      wrong.push_back(absl::StrCat("--", name, " is given twice"));
    }
    seen[std::string(name)] = true;
    if (flag == nullptr) {
      config_path = std::string(value);
      continue;
    }
    std::string problem = SetFromFlag(*flag, value, &flags);
    if (!problem.empty()) wrong.push_back(std::move(problem));
  }

  v1::DaemonConfig all;
  if (!config_path.empty()) {
    const absl::StatusOr<std::string> text = ReadConfigFile(config_path);
    if (!text.ok()) {
      wrong.emplace_back(text.status().message());
    } else {
      for (const policy::Problem& problem :
           ParseConfigText(*text, config_path, &all)) {
        wrong.push_back(problem.ToString());
      }
    }
  }
  if (flags.allow_dir_size() > 0) all.clear_allow_dir();
  if (flags.audit_tenant_size() > 0) all.clear_audit_tenant();
  all.MergeFrom(flags);
  if (wrong.empty()) wrong = Check(all, &line.config);
  if (!wrong.empty()) {
    return absl::InvalidArgumentError(absl::StrJoin(wrong, "\n"));
  }
  return line;
}

std::string HelpText() {
  std::string text =
      "callgated: hosts WebAssembly modules, each in a Store of its own, under "
      "policies.\n"
      "\n"
      "Usage: callgated --data DIR [FLAGS]\n"
      "\n"
      "Flags:\n";
  const auto row = [&text](absl::string_view flag, absl::string_view value,
                           absl::string_view meaning) {
    std::string left =
        absl::StrCat("  --", flag, value.empty() ? "" : " ", value);
    left.resize(std::max<size_t>(left.size(), 26), ' ');
    absl::StrAppend(&text, left, " ", meaning, "\n");
  };
  for (const Flag& flag : kFlags) row(flag.name, flag.value, flag.meaning);
  row("config", "FILE",
      "YAML (or .textproto) with the same names and underscores; flags win");
  row("help", "", "this text");
  row("version", "", "the version");
  absl::StrAppend(
      &text,
      "\n"
      "Times have units: 500ms, 10s, 5m, 1h.\n"
      "SIGTERM drains: calls that run may end within --drain-timeout, new ones "
      "are refused.\n"
      "SIGHUP reads --policy-dir again, as a change there does by itself.\n"
      "\n"
      "Example:\n"
      "  callgated --data ./callgate-data --policy-dir ./policies \\\n"
      "            --allow-dir /srv/guests --alerts ./alerts.jsonl\n");
  return text;
}

}  // namespace callgate
