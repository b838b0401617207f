// Reads this process's stdin on a thread of its own and hands it on, until it
// ends, the taker has had enough, or the pump is destroyed.

#ifndef CALLGATE_SERVER_CLI_STDIN_PUMP_H_
#define CALLGATE_SERVER_CLI_STDIN_PUMP_H_

#include <cstddef>
#include <functional>
#include <thread>

#include "absl/strings/string_view.h"

namespace callgate::cli {

class StdinPump {
 public:
  static constexpr size_t kChunkBytesMax = 65536;

  // Both are called on the pump's thread. `take` gets at most kChunkBytesMax
  // bytes and says whether it wants more; `end` is called once when there are
  // no more, unless the pump was destroyed before or `take` had enough.
  // `fd` is borrowed.
  StdinPump(int fd, std::function<bool(absl::string_view)> take,
            std::function<void()> end);
  // Wakes the thread out of its waiting for input, and joins it. A `take` that
  // blocks must end by itself.
  ~StdinPump();
  StdinPump(const StdinPump&) = delete;
  StdinPump& operator=(const StdinPump&) = delete;

 private:
  void Run();

  const int fd_;
  const std::function<bool(absl::string_view)> take_;
  const std::function<void()> end_;
  // An eventfd that becomes readable when it is time to stop.
  const int stop_fd_;
  std::thread thread_;
};

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_STDIN_PUMP_H_
