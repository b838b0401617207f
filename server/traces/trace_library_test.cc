#include "server/traces/trace_library.h"

#include <sys/stat.h>
#include <utime.h>

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace callgate::traces {
namespace {

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
  EXPECT_EQ(Contents(trace->name), std::string("cgtrace\x01", 8));
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

TEST_F(TraceLibraryTest, AnOpenTraceOutlivesItsName) {
  const auto trace = library_->Start(absl::Minutes(10));
  ASSERT_TRUE(trace.ok());
  const auto source = library_->Read(trace->name);
  ASSERT_TRUE(source.ok());
  // Removing the one that is recorded ends it.
  EXPECT_TRUE(library_->Remove(trace->name).ok());
  EXPECT_FALSE(library_->recorder().recording());
  EXPECT_EQ(*(*source)(100), std::string("cgtrace\x01", 8));
}

}  // namespace
}  // namespace callgate::traces
