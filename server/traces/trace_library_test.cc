#include "server/traces/trace_library.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <utime.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace callgate::traces {
namespace {

std::string Magic() {
  return std::string(policy::trial::kTraceMagic,
                     policy::trial::kTraceMagicBytes);
}

class TraceLibraryTest : public testing::Test {
 protected:
  void SetUp() override {
    static int tests = 0;
    options_.directory = absl::StrCat(testing::TempDir(), "/traces", ++tests,
                                      "_", absl::ToUnixNanos(absl::Now()));
    options_.bytes_max = 1 << 20;
    options_.age_max = absl::Hours(1);
    Open();
  }
  void Open() {
    library_ = nullptr;
    auto library = TraceLibrary::Open(options_);
    ASSERT_TRUE(library.ok()) << library.status();
    library_ = *std::move(library);
  }
  // A file as an earlier daemon left it.
  void Leave(const std::string& name, size_t bytes, absl::Duration age) {
    const std::string path =
        absl::StrCat(options_.directory, "/", name, ".cgtrace");
    std::ofstream(path) << std::string(bytes, 'x');
    const time_t when = absl::ToTimeT(absl::Now() - age);
    const utimbuf times = {when, when};
    ASSERT_EQ(utime(path.c_str(), &times), 0);
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const TraceInfo& trace : library_->List()) {
      names.push_back(trace.name);
    }
    return names;
  }
  std::string Contents(const std::string& name) {
    auto source = library_->Read(name);
    EXPECT_TRUE(source.ok()) << source.status();
    auto bytes = (*source)(1 << 20);
    EXPECT_TRUE(bytes.ok());
    return *bytes;
  }

  TraceLibrary::Options options_;
  std::unique_ptr<TraceLibrary> library_;
};

TEST_F(TraceLibraryTest, RecordsOneAtATime) {
  EXPECT_EQ(library_->Stop().status().code(),
            absl::StatusCode::kFailedPrecondition);
  const auto trace = library_->Start(absl::Minutes(10));
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_TRUE(trace->recording);
  EXPECT_TRUE(library_->recorder().recording());
  EXPECT_EQ(library_->Start(absl::Minutes(1)).status().code(),
            absl::StatusCode::kFailedPrecondition);
  // What is there can be read while it goes on.
  EXPECT_EQ(Contents(trace->name), Magic());
  const auto stopped = library_->Stop();
  ASSERT_TRUE(stopped.ok());
  EXPECT_FALSE(stopped->recording);
  EXPECT_LT(stopped->end, trace->end);
  EXPECT_FALSE(library_->recorder().recording());
  const auto second = library_->Start(absl::Minutes(1));
  ASSERT_TRUE(second.ok());
  EXPECT_NE(second->name, trace->name);
  EXPECT_EQ(Names(), (std::vector<std::string>{trace->name, second->name}));
}

TEST_F(TraceLibraryTest, FilesAreForTheirOwnerAlone) {
  const auto trace = library_->Start(absl::Minutes(1));
  ASSERT_TRUE(trace.ok());
  struct stat facts;
  ASSERT_EQ(stat(absl::StrCat(options_.directory, "/", trace->name, ".cgtrace")
                     .c_str(),
                 &facts),
            0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(options_.directory.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700u);
}

TEST_F(TraceLibraryTest, NamesLeadNowhereElse) {
  Leave("20260101T000000-1", 10, absl::Minutes(1));
  std::ofstream(absl::StrCat(options_.directory, "/../outside.cgtrace")) << "x";
  for (const char* name :
       {"", "../outside", "outside", "20260101T000000-1.cgtrace", "/etc/passwd",
        "20260101T000000-2", "."}) {
    EXPECT_EQ(library_->Read(name).status().code(), absl::StatusCode::kNotFound)
        << name;
    EXPECT_EQ(library_->Remove(name).code(), absl::StatusCode::kNotFound)
        << name;
  }
  EXPECT_EQ(Contents("20260101T000000-1"), "xxxxxxxxxx");
  EXPECT_TRUE(library_->Remove("20260101T000000-1").ok());
  EXPECT_TRUE(Names().empty());
}

TEST_F(TraceLibraryTest, OldOnesGo) {
  Leave("20260101T000000-1", 10, absl::Minutes(61));
  Leave("20260101T000001-2", 10, absl::Minutes(59));
  Open();
  EXPECT_EQ(Names(), std::vector<std::string>{"20260101T000001-2"});
  library_->Sweep(absl::Now() + absl::Minutes(2));
  EXPECT_TRUE(Names().empty());
}

TEST_F(TraceLibraryTest, TheOldestMakeRoomAndThenTheTraceEnds) {
  Leave("20260101T000000-10", 400'000, absl::Minutes(2));
  Leave("20260101T000000-9", 400'000, absl::Minutes(3));
  const auto trace = library_->Start(absl::Minutes(10));
  ASSERT_TRUE(trace.ok());
  // Straight to what the recorder writes to.
  const auto sink = library_->recorder().Stop();
  ASSERT_NE(sink, nullptr);
  const std::string chunk(100'000, 'y');
  const auto append = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const absl::Status status = sink->Append(chunk);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  };
  EXPECT_TRUE(append(2).ok());
  EXPECT_TRUE(append(2).ok());
  EXPECT_EQ(Names(),
            (std::vector<std::string>{"20260101T000000-10", trace->name}));
  EXPECT_TRUE(append(5).ok());
  EXPECT_EQ(Names(), std::vector<std::string>{trace->name});
  EXPECT_EQ(append(2).code(), absl::StatusCode::kResourceExhausted);
  uint64_t bytes = 0;
  for (const TraceInfo& each : library_->List()) bytes += each.bytes;
  EXPECT_LE(bytes, options_.bytes_max);
}

// No file of this process grows over `bytes` meanwhile, as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_ = {};
};

TEST_F(TraceLibraryTest, AFullDiskEndsTheTraceAndIsTold) {
  std::vector<std::string> ends;
  options_.on_end = [&](const TraceInfo& trace) {
    ends.push_back(absl::StrCat(trace.name, ": ", trace.end_reason));
  };
  options_.bytes_max = 8 << 20;
  Open();
  {
    const FullDisk full(0);
    EXPECT_EQ(library_->Start(absl::Minutes(1)).status().code(),
              absl::StatusCode::kUnavailable);
  }
  EXPECT_TRUE(Names().empty());
  const auto trace = library_->Start(absl::Minutes(1));
  ASSERT_TRUE(trace.ok()) << trace.status();
  const auto sink = library_->recorder().Stop();
  absl::Status first;
  absl::Status second;
  {
    const FullDisk full(300'000);
    const std::string chunk(400'000, 'y');
    first = sink->Append(chunk);
    second = sink->Append("what would come behind a gap");
  }
  EXPECT_EQ(first.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(second, first);
  const std::vector<TraceInfo> traces = library_->List();
  ASSERT_EQ(traces.size(), 1u);
  EXPECT_FALSE(traces[0].recording);
  EXPECT_EQ(traces[0].bytes, 300'000u);
  EXPECT_EQ(traces[0].end_reason, first.message());
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(ends[0], absl::StrCat(trace->name, ": ", first.message()));
  // What could be written can be read, and another trace begun.
  EXPECT_EQ(Contents(trace->name).substr(0, Magic().size()), Magic());
  EXPECT_TRUE(library_->Start(absl::Minutes(1)).ok());
  EXPECT_TRUE(library_->Remove(trace->name).ok());
}

TEST_F(TraceLibraryTest, AStopSaysThatTheEndIsMissing) {
  const auto trace = library_->Start(absl::Minutes(1));
  ASSERT_TRUE(trace.ok());
  const auto sink = library_->recorder().Stop();
  ASSERT_TRUE(sink->Append("in the buffer").ok());
  absl::Status stopped;
  {
    const FullDisk full(10);
    stopped = library_->Stop().status();
  }
  EXPECT_EQ(stopped.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(std::string(stopped.message()).find(trace->name),
            std::string::npos);
  EXPECT_TRUE(library_->Start(absl::Minutes(1)).ok());
}

TEST_F(TraceLibraryTest, ATraceThatHasHadItsTimeIsTold) {
  std::vector<std::string> ends;
  options_.on_end = [&](const TraceInfo& trace) {
    ends.push_back(trace.end_reason);
  };
  Open();
  ASSERT_TRUE(library_->Start(absl::Minutes(1)).ok());
  library_->Sweep(absl::Now() + absl::Seconds(59));
  EXPECT_TRUE(ends.empty());
  library_->Sweep(absl::Now() + absl::Seconds(61));
  EXPECT_EQ(ends, std::vector<std::string>{"the trace has had its time"});
  // One that somebody stops does not end by itself.
  ASSERT_TRUE(library_->Start(absl::Minutes(1)).ok());
  ASSERT_TRUE(library_->Stop().ok());
  library_->Sweep(absl::Now() + absl::Seconds(61));
  EXPECT_EQ(ends.size(), 1u);
}

TEST_F(TraceLibraryTest, AnOpenTraceOutlivesItsName) {
  const auto trace = library_->Start(absl::Minutes(10));
  ASSERT_TRUE(trace.ok());
  const auto source = library_->Read(trace->name);
  ASSERT_TRUE(source.ok());
  // Removing the one that is recorded ends it.
  EXPECT_TRUE(library_->Remove(trace->name).ok());
  EXPECT_FALSE(library_->recorder().recording());
  EXPECT_EQ(*(*source)(100), Magic());
}

}  // namespace
}  // namespace callgate::traces
