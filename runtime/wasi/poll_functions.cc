// poll_oneoff: waits for the first of several things to happen.
//
// Files and outputs are always ready, so only standard input and clocks are
// ever waited for. The Caller does the waiting and stops it at the call's
// deadline or when the Store is interrupted.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "runtime/wasi/file_status.h"
#include "runtime/wasi/functions.h"
#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint32_t kSubscriptionsMax = 1024;
constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  return a > kNever - b ? kNever : a + b;
}

// One subscription, made into something that can be asked again and again.
struct Wait {
  Subscription subscription;
  // Clocks: when, on which clock.
  std::optional<uint64_t> due_ns;
  // Standard input of a live descriptor.
  bool on_input = false;
  // What is known from the start.
  std::optional<Event> event;
};

Event EventFor(const Subscription& subscription) {
  Event event;
  event.userdata = subscription.userdata;
  event.type = subscription.type;
  return event;
}

uint64_t NowNs(HostCall& call, uint32_t clock) {
  const Clocks& clocks = call.state().clocks;
  return clock == clockid::kRealtime ? clocks.realtime_ns()
                                     : clocks.monotonic_ns();
}

Event InputEvent(HostCall& call, const Subscription& subscription) {
  const Input& input = call.state().input;
  Event event = EventFor(subscription);
  event.bytes_ready = input.BytesReady();
  event.flags = input.AtEnd() ? kEventHangup : uint16_t{0};
  return event;
}

// How many bytes of a file are after its position.
Event FileReadEvent(const Subscription& subscription, const Handle& handle) {
  Event event = EventFor(subscription);
  const OutcomeOr<Filestat> status = FilestatOf(handle.fd.get());
  const off_t position = lseek(handle.fd.get(), 0, SEEK_CUR);
  if (!status.ok()) {
    event.error = status.failure().number();
  } else if (position >= 0 && status->size > static_cast<uint64_t>(position)) {
    event.bytes_ready = status->size - static_cast<uint64_t>(position);
  }
  return event;
}

Wait MakeClockWait(HostCall& call, const Subscription& subscription) {
  Wait wait;
  wait.subscription = subscription;
  if (!call.state().clocks.Resolution(subscription.clock).ok() ||
      (subscription.clock_flags & ~kSubclockAbstime) != 0) {
    wait.event = EventFor(subscription);
    wait.event->error = Errno::kInval;
    return wait;
  }
  const bool absolute = (subscription.clock_flags & kSubclockAbstime) != 0;
  wait.due_ns = absolute ? subscription.timeout_ns
                         : SaturatingAdd(NowNs(call, subscription.clock),
                                         subscription.timeout_ns);
  return wait;
}

Wait MakeHandleWait(HostCall& call, const Subscription& subscription) {
  const bool reads =
      subscription.type == static_cast<uint8_t>(EventType::kFdRead);
  Wait wait;
  wait.subscription = subscription;
  const OutcomeOr<Handle*> handle = call.Find(
      subscription.fd,
      rights::kPollFdReadwrite | (reads ? rights::kFdRead : rights::kFdWrite));
  if (!handle.ok()) {
    wait.event = EventFor(subscription);
    wait.event->error = handle.failure().number();
    return wait;
  }
  if ((*handle)->kind == Handle::Kind::kStdin) {
    if (call.state().input.may_block()) {
      wait.on_input = true;
    } else {
      wait.event = InputEvent(call, subscription);
    }
  } else if ((*handle)->kind == Handle::Kind::kFile && reads) {
    wait.event = FileReadEvent(subscription, **handle);
  } else {
    wait.event = EventFor(subscription);
  }
  return wait;
}

OutcomeOr<std::vector<Wait>> ReadWaits(HostCall& call, uint32_t address,
                                       uint32_t count) {
  std::vector<uint8_t> raw(count * kSubscriptionBytes);
  const Outcome read = call.Read(address, absl::MakeSpan(raw));
  if (!read.ok()) return read;
  std::vector<Wait> waits;
  waits.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const Subscription subscription =
        Subscription::Decode(raw.data() + i * kSubscriptionBytes);
    switch (subscription.type) {
      case static_cast<uint8_t>(EventType::kClock):
        waits.push_back(MakeClockWait(call, subscription));
        break;
      case static_cast<uint8_t>(EventType::kFdRead):
      case static_cast<uint8_t>(EventType::kFdWrite):
        waits.push_back(MakeHandleWait(call, subscription));
        break;
      default:
        return Errno::kInval;
    }
  }
  return waits;
}

// What has happened by now.
std::vector<Event> Happened(HostCall& call, const std::vector<Wait>& waits) {
  std::vector<Event> events;
  for (const Wait& wait : waits) {
    if (wait.event.has_value()) {
      events.push_back(*wait.event);
    } else if (wait.on_input) {
      if (call.state().input.Ready()) {
        events.push_back(InputEvent(call, wait.subscription));
      }
    } else if (NowNs(call, wait.subscription.clock) >= *wait.due_ns) {
      events.push_back(EventFor(wait.subscription));
    }
  }
  return events;
}

// When to look again at the latest, on the host's wall clock.
absl::Time Deadline(HostCall& call, const std::vector<Wait>& waits) {
  uint64_t shortest = kNever;
  for (const Wait& wait : waits) {
    if (!wait.due_ns.has_value() || *wait.due_ns == kNever) continue;
    const uint64_t now = NowNs(call, wait.subscription.clock);
    shortest = std::min(shortest, *wait.due_ns > now ? *wait.due_ns - now : 0);
  }
  if (shortest > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InfiniteFuture();
  }
  return absl::FromUnixNanos(
             static_cast<int64_t>(call.state().clocks.realtime_ns())) +
         absl::Nanoseconds(static_cast<int64_t>(shortest));
}

}  // namespace

// (subscriptions, where events go, how many subscriptions, where the number of
// events goes)
Outcome PollOneoff(HostCall& call) {
  const uint32_t events_out = call.U32(1);
  const uint32_t count = call.U32(2);
  const uint32_t count_out = call.U32(3);
  if (count == 0 || count > kSubscriptionsMax) return Errno::kInval;
  Outcome inside = call.InBounds(events_out, count * kEventBytes);
  if (!inside.ok()) return inside;
  inside = call.InBounds(count_out, 4);
  if (!inside.ok()) return inside;
  const OutcomeOr<std::vector<Wait>> waits =
      ReadWaits(call, call.U32(0), count);
  if (!waits.ok()) return waits.failure();
  const bool on_input =
      std::any_of(waits->begin(), waits->end(),
                  [](const Wait& wait) { return wait.on_input; });

  std::vector<Event> events = Happened(call, *waits);
  while (events.empty()) {
    const absl::Time when = Deadline(call, *waits);
    const WakeReason reason =
        on_input ? call.caller().WaitReadable(call.state().input.fd(), when)
                 : call.caller().WaitUntil(when);
    if (reason == WakeReason::kInterrupted) return call.caller().Interrupted();
    events = Happened(call, *waits);
  }

  std::vector<uint8_t> raw;
  raw.reserve(events.size() * kEventBytes);
  for (const Event& event : events) {
    const auto record = event.Encode();
    raw.insert(raw.end(), record.begin(), record.end());
  }
  const Outcome written = call.Write(events_out, raw);
  if (!written.ok()) return written;
  return call.WriteU32(count_out, static_cast<uint32_t>(events.size()));
}

}  // namespace wasi
}  // namespace callgate
