// The daemon: everything that callgated is made of, started, drained and
// stopped.
//
// Start returns when requests are answered. Any thread may drain it; destroying
// it stops it, and drains first if nobody did.

#ifndef CALLGATE_SERVER_DAEMON_H_
#define CALLGATE_SERVER_DAEMON_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config.h"
#include "server/host_module.h"

namespace callgate {

class Daemon {
 public:
  // Each error names what could not be had and the fix: an address in use, a
  // data directory that another daemon holds or that cannot be written.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(
      const Config& config, HostModules host_modules = {});

  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // With the ports that were bound.
  std::string listen_address() const;
  std::string metrics_address() const;

  // Refuses what is new, waits for calls that run, for config.drain_timeout at
  // most, and ends the rest. When it returns no guest runs.
  void Drain();

  // Reads the policy directory again; the result says whether every file was
  // right.
  absl::Status ReloadPolicies();

 private:
  class Impl;
  explicit Daemon(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_DAEMON_H_
