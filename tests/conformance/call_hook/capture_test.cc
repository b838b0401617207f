// CallContext::Capture: what the hook has seen of an argument is what the host
// function reads, whatever becomes of guest memory in between.

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

// "checked!" stands at 0, and `rewrite` puts "tampered" there.
constexpr absl::string_view kGuest = R"((module
  (import "env" "use" (func $use))
  (memory (export "memory") 1)
  (data (i32.const 0) "checked!rest")
  (data $other "tampered")
  (func (export "rewrite")
    (memory.init $other (i32.const 0) (i32.const 0) (i32.const 8)))
  (func (export "go") call $use)
  (func (export "go_twice") call $use call $use)))";

class CallHookCapture : public OnEveryEngine {
 protected:
  // What a body reads through its Caller, or "out of bounds".
  static std::string Read(Caller& caller, uint64_t address, size_t length) {
    std::vector<uint8_t> bytes(length);
    if (caller.Read(address, absl::MakeSpan(bytes)) != Caller::Access::kOk) {
      return "out of bounds";
    }
    return std::string(bytes.begin(), bytes.end());
  }

  // What is in the memory now.
  std::string InMemory(uint64_t address, size_t length) {
    std::vector<uint8_t> bytes(length);
    const absl::StatusOr<Memory> memory =
        guest_.FindInstance()->GetMemory("memory");
    if (!memory.ok() || !memory->Read(address, absl::MakeSpan(bytes)).ok()) {
      return "unreadable";
    }
    return std::string(bytes.begin(), bytes.end());
  }

  void Tamper(uint64_t address, const std::string& text) {
    const absl::StatusOr<Memory> memory =
        guest_.FindInstance()->GetMemory("memory");
    ASSERT_TRUE(memory.ok()) << memory.status();
    const std::vector<uint8_t> bytes(text.begin(), text.end());
    ASSERT_TRUE(memory->Write(address, bytes).ok());
  }

  // At each CallingHost captures this range and keeps what it was shown.
  void Captures(uint64_t address, uint64_t length) {
    guest_.hook().judge = [this, address, length](CallContext& call) {
      if (call.transition() == Transition::kCallingHost) {
        const absl::StatusOr<absl::Span<const uint8_t>> captured =
            call.Capture(address, length);
        shown_.push_back(captured.ok()
                             ? std::string(captured->begin(), captured->end())
                             : Journal::Describe(captured.status()));
      }
      return call.Proceed();
    };
  }

  void Body(std::function<void(Caller& caller)> body) {
    guest_.Define("use", [body = std::move(body)](Caller& caller,
                                                  absl::Span<const RawValue>,
                                                  absl::Span<RawValue>) {
      body(caller);
      return ErrorRef();
    });
    ASSERT_TRUE(guest_.Instantiate(kGuest));
  }

  std::vector<std::string> shown_;
  std::vector<std::string> read_;
};

TEST_P(CallHookCapture, ShowsTheGuestsBytes) {
  Body([](Caller&) {});
  Captures(2, 8);
  guest_.Call("go");
  EXPECT_EQ(shown_, std::vector<std::string>{"ecked!re"});
}

TEST_P(CallHookCapture, IsWhatTheHostReadsThoughTheGuestRewroteIt) {
  Body([this](Caller& caller) {
    guest_.Reenter("rewrite");
    read_.push_back(Read(caller, 0, 8));
    read_.push_back(InMemory(0, 8));
  });
  Captures(0, 8);
  guest_.Call("go");
  EXPECT_EQ(shown_, std::vector<std::string>{"checked!"});
  EXPECT_EQ(read_, (std::vector<std::string>{"checked!", "tampered"}));
}

TEST_P(CallHookCapture, IsWhatTheHostReadsThoughTheEmbedderRewroteIt) {
  Body([this](Caller& caller) {
    Tamper(0, "tampered");
    read_.push_back(Read(caller, 0, 8));
    read_.push_back(InMemory(0, 8));
  });
  Captures(0, 8);
  guest_.Call("go");
  EXPECT_EQ(read_, (std::vector<std::string>{"checked!", "tampered"}));
}

// The check above can fail: without a capture the body sees the new bytes.
TEST_P(CallHookCapture, IsNeededForThat) {
  Body([this](Caller& caller) {
    Tamper(0, "tampered");
    read_.push_back(Read(caller, 0, 8));
  });
  guest_.Call("go");
  EXPECT_EQ(read_, std::vector<std::string>{"tampered"});
}

TEST_P(CallHookCapture, CoversItsRangeAndNoMore) {
  Body([this](Caller& caller) {
    Tamper(0, "tampered----");
    read_.push_back(Read(caller, 0, 12));
    read_.push_back(Read(caller, 4, 2));
    read_.push_back(Read(caller, 3, 1));
    read_.push_back(Read(caller, 6, 4));
  });
  Captures(4, 3);
  guest_.Call("go");
  EXPECT_EQ(shown_, std::vector<std::string>{"ked"});
  EXPECT_EQ(read_,
            (std::vector<std::string>{"tampkedd----", "ke", "p", "dd--"}));
}

TEST_P(CallHookCapture, JoinsSeveralRanges) {
  Body([this](Caller& caller) {
    Tamper(0, "tampered----");
    read_.push_back(Read(caller, 0, 12));
  });
  guest_.hook().judge = [](CallContext& call) {
    if (call.transition() == Transition::kCallingHost) {
      EXPECT_TRUE(call.Capture(0, 2).ok());
      EXPECT_TRUE(call.Capture(1, 3).ok());
      EXPECT_TRUE(call.Capture(10, 2).ok());
    }
    return call.Proceed();
  };
  guest_.Call("go");
  EXPECT_EQ(read_, std::vector<std::string>{"checered--st"});
}

// What the hook was shown stays readable while it asks for more.
TEST_P(CallHookCapture, KeepsEarlierViewsValid) {
  Body([](Caller&) {});
  guest_.hook().judge = [this](CallContext& call) {
    if (call.transition() != Transition::kCallingHost) return call.Proceed();
    const absl::StatusOr<absl::Span<const uint8_t>> first = call.Capture(0, 8);
    EXPECT_TRUE(first.ok()) << first.status();
    if (!first.ok()) return call.Proceed();
    for (uint64_t i = 0; i < 100; ++i) {
      EXPECT_TRUE(call.Capture(i, 1000).ok());
    }
    shown_.emplace_back(first->begin(), first->end());
    return call.Proceed();
  };
  guest_.Call("go");
  EXPECT_EQ(shown_, std::vector<std::string>{"checked!"});
}

TEST_P(CallHookCapture, EndsWithTheHostCall) {
  int calls = 0;
  Body([this, &calls](Caller& caller) {
    read_.push_back(Read(caller, 0, 8));
    Tamper(0, ++calls == 1 ? "tampered" : "again!!!");
    read_.push_back(Read(caller, 0, 8));
  });
  // Captured in the first host call only.
  guest_.hook().judge = [this](CallContext& call) {
    if (guest_.hook().count(Transition::kCallingHost) == 1 &&
        call.transition() == Transition::kCallingHost) {
      EXPECT_TRUE(call.Capture(0, 8).ok());
    }
    return call.Proceed();
  };
  guest_.Call("go_twice");
  EXPECT_EQ(read_, (std::vector<std::string>{"checked!", "checked!", "tampered",
                                             "again!!!"}));
}

// A nested host call has its own copies, and the outer one keeps its own.
TEST_P(CallHookCapture, BelongsToOneHostCall) {
  bool inner = false;
  Body([this, &inner](Caller& caller) {
    if (inner) {
      read_.push_back(Read(caller, 0, 8));
      return;
    }
    inner = true;
    Tamper(0, "tampered");
    guest_.hook().judge = nullptr;
    guest_.Reenter("go");
    read_.push_back(Read(caller, 0, 8));
  });
  Captures(0, 8);
  guest_.Call("go");
  EXPECT_EQ(read_, (std::vector<std::string>{"tampered", "checked!"}));
}

// What the host function itself writes, it reads back.
TEST_P(CallHookCapture, GivesWayToTheHostsOwnWrites) {
  Body([this](Caller& caller) {
    const std::vector<uint8_t> own = {'o', 'w', 'n'};
    EXPECT_EQ(caller.Write(2, own), Caller::Access::kOk);
    Tamper(6, "tampered");
    read_.push_back(Read(caller, 0, 8));
    read_.push_back(InMemory(0, 8));
  });
  Captures(0, 8);
  guest_.Call("go");
  EXPECT_EQ(read_, (std::vector<std::string>{"chowned!", "chowneta"}));
}

TEST_P(CallHookCapture, StaysInsideMemory) {
  Body([](Caller&) {});
  guest_.hook().judge = [this](CallContext& call) {
    if (call.transition() != Transition::kCallingHost) return call.Proceed();
    struct Range {
      uint64_t address;
      uint64_t length;
    };
    constexpr uint64_t kMax = ~uint64_t{0};
    for (const Range& range :
         {Range{65536, 0}, Range{65535, 1}, Range{65536, 1}, Range{65535, 2},
          Range{0, 65537}, Range{kMax, 1}, Range{1, kMax}, Range{kMax, kMax}}) {
      const absl::StatusOr<absl::Span<const uint8_t>> captured =
          call.Capture(range.address, range.length);
      shown_.push_back(captured.ok() ? "ok"
                                     : Journal::Describe(captured.status()));
    }
    return call.Proceed();
  };
  guest_.Call("go");
  EXPECT_EQ(shown_,
            (std::vector<std::string>{
                "ok", "ok", "status OUT_OF_RANGE", "status OUT_OF_RANGE",
                "status OUT_OF_RANGE", "status OUT_OF_RANGE",
                "status OUT_OF_RANGE", "status OUT_OF_RANGE"}));
}

TEST_P(CallHookCapture, HasALimitForEachHostCall) {
  constexpr uint64_t kMax = CallContext::kCapturedBytesMax;
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module (import "env" "h" (func $h)) (memory 600)
    (func (export "go") call $h call $h)))");
  guest_.hook().judge = [this](CallContext& call) {
    if (call.transition() != Transition::kCallingHost) return call.Proceed();
    for (const uint64_t length : {kMax / 2, kMax / 2 - 1, uint64_t{2},
                                  uint64_t{1}, uint64_t{1}, uint64_t{0}}) {
      const absl::StatusOr<absl::Span<const uint8_t>> captured =
          call.Capture(0, length);
      shown_.push_back(captured.ok() ? "ok"
                                     : Journal::Describe(captured.status()));
    }
    return call.Proceed();
  };
  guest_.Call("go");
  const std::vector<std::string> once = {"ok",
                                         "ok",
                                         "status RESOURCE_EXHAUSTED",
                                         "ok",
                                         "status RESOURCE_EXHAUSTED",
                                         "ok"};
  std::vector<std::string> twice = once;
  twice.insert(twice.end(), once.begin(), once.end());
  EXPECT_EQ(shown_, twice);
}

TEST_P(CallHookCapture, IsForCallingHostOnly) {
  Body([](Caller&) {});
  guest_.hook().judge = [this](CallContext& call) {
    const absl::Status status = call.Capture(0, 1).status();
    shown_.push_back(status.ok() ? "ok" : Journal::Describe(status));
    return call.Proceed();
  };
  guest_.Call("go");
  EXPECT_EQ(shown_,
            (std::vector<std::string>{"status FAILED_PRECONDITION", "ok",
                                      "status FAILED_PRECONDITION",
                                      "status FAILED_PRECONDITION"}));
}

TEST_P(CallHookCapture, HasNothingToReadWithoutAMemory) {
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module (import "env" "h" (func $h))
    (func (export "go") call $h)))");
  Captures(0, 1);
  guest_.Call("go");
  // Nor when the embedder calls.
  guest_.Call(guest_.NewHostFunc(guest_.Returns()));
  EXPECT_EQ(shown_, (std::vector<std::string>{"status OUT_OF_RANGE",
                                              "status OUT_OF_RANGE"}));
}

// CallContext::ReadBack: the memory as the host function has left it, and not
// what was captured of it.
TEST_P(CallHookCapture, ReadBackIsWhatTheHostHasWritten) {
  Body([this](Caller& caller) {
    const std::string text = "answer";
    const std::vector<uint8_t> bytes(text.begin(), text.end());
    EXPECT_EQ(caller.Write(0, bytes), Caller::Access::kOk);
    Tamper(8, "!");
  });
  guest_.hook().judge = [this](CallContext& call) {
    if (call.transition() == Transition::kCallingHost) {
      EXPECT_TRUE(call.Capture(6, 4).ok());
    }
    std::vector<uint8_t> bytes(10);
    const absl::Status status = call.ReadBack(0, absl::MakeSpan(bytes));
    shown_.push_back(status.ok() ? std::string(bytes.begin(), bytes.end())
                                 : Journal::Describe(status));
    return call.Proceed();
  };
  guest_.Call("go");
  EXPECT_EQ(shown_,
            (std::vector<std::string>{
                "status FAILED_PRECONDITION", "status FAILED_PRECONDITION",
                "answerd!!e", "status FAILED_PRECONDITION"}));
}

TEST_P(CallHookCapture, ReadBackStaysInsideMemory) {
  Body([](Caller&) {});
  guest_.hook().judge = [this](CallContext& call) {
    if (call.transition() != Transition::kReturningFromHost) {
      return call.Proceed();
    }
    std::vector<uint8_t> bytes(2);
    for (const uint64_t address :
         {uint64_t{65534}, uint64_t{65535}, ~uint64_t{0}}) {
      const absl::Status status = call.ReadBack(address, absl::MakeSpan(bytes));
      shown_.push_back(status.ok() ? "ok" : Journal::Describe(status));
    }
    return call.Proceed();
  };
  guest_.Call("go");
  EXPECT_EQ(shown_, (std::vector<std::string>{"ok", "status OUT_OF_RANGE",
                                              "status OUT_OF_RANGE"}));
}

INSTANTIATE_TEST_SUITE_P(Engines, CallHookCapture,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
