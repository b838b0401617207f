#include "server/events/alert_file.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::events {
namespace {

using testing::AllOf;
using testing::HasSubstr;

v1::Event Alert(const std::string& message) {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_DECISION);
  event.set_severity(v1::EVENT_SEVERITY_WARNING);
  event.set_message(message);
  return event;
}

class DropCounter final : public EventObserver {
 public:
  void OnEmitted(v1::EventKind) override {}
  void OnDelivered(absl::string_view, uint64_t) override {}
  void OnDropped(absl::string_view sink, absl::string_view reason,
                 uint64_t count) override {
    EXPECT_EQ(sink, kSinkAlertFile);
    EXPECT_EQ(reason, kDropWriteError);
    write_errors += count;
  }
  std::atomic<uint64_t> write_errors{0};
};

class AlertFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/alertsXXXXXX";
    ASSERT_NE(mkdtemp(&folder_[0]), nullptr);
    path_ = folder_ + "/alerts.jsonl";
  }

  std::unique_ptr<AlertFile> Start(uint64_t bytes_max = 1 << 20) {
    AlertFileOptions options;
    options.path = path_;
    options.bytes_max = bytes_max;
    absl::StatusOr<std::unique_ptr<AlertFile>> file =
        AlertFile::Start(options, log_);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }

  static std::string Contents(const std::string& path) {
    std::stringstream contents;
    contents << std::ifstream(path, std::ios::binary).rdbuf();
    return contents.str();
  }

  static std::vector<std::string> Lines(const std::string& path) {
    std::vector<std::string> lines = absl::StrSplit(Contents(path), '\n');
    EXPECT_EQ(lines.back(), "") << "the file ends within a line";
    lines.pop_back();
    return lines;
  }

  std::string folder_;
  std::string path_;
  DropCounter drops_;
  EventLog log_{[this] {
    EventLogOptions options;
    options.observer = &drops_;
    return options;
  }()};
};

TEST_F(AlertFileTest, HoldsWhatMattersOneLineEach) {
  auto file = Start();
  v1::Event note = Alert("only a note");
  note.set_severity(v1::EVENT_SEVERITY_INFO);
  log_.Publish(note);
  log_.Publish(Alert("first\nforged\":\"line"));
  v1::Event notice = Alert("second");
  notice.set_severity(v1::EVENT_SEVERITY_NOTICE);
  log_.Publish(notice);
  file = nullptr;
  const std::vector<std::string> lines = Lines(path_);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], AllOf(HasSubstr(R"("seq":2)"),
                              HasSubstr(R"("severity":"warning")"),
                              HasSubstr(R"(first\\x0aforged\":\"line)")));
  EXPECT_THAT(lines[1], HasSubstr(R"("message":"second")"));
  struct stat made = {};
  ASSERT_EQ(stat(path_.c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 0777u, 0600u);
}

TEST_F(AlertFileTest, GoesOnAfterWhatIsThere) {
  std::ofstream(path_) << "{\"old\":1}\n{\"cut sho";
  auto file = Start();
  log_.Publish(Alert("new"));
  file = nullptr;
  const std::vector<std::string> lines = Lines(path_);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "{\"old\":1}");
  EXPECT_EQ(lines[1], "{\"cut sho");
  EXPECT_THAT(lines[2], HasSubstr("new"));
}

TEST_F(AlertFileTest, StaysWithinItsBound) {
  auto file = Start(2'000);
  for (int i = 0; i < 100; ++i) log_.Publish(Alert(absl::StrCat("alert ", i)));
  file = nullptr;
  struct stat now = {};
  struct stat before = {};
  ASSERT_EQ(stat(path_.c_str(), &now), 0);
  ASSERT_EQ(stat((path_ + ".1").c_str(), &before), 0);
  EXPECT_LE(now.st_size, 2'000);
  EXPECT_LE(before.st_size, 2'000);
  // The newest lines, without a break between the two.
  std::vector<std::string> lines = Lines(path_ + ".1");
  for (const std::string& line : Lines(path_)) lines.push_back(line);
  ASSERT_GT(lines.size(), 10u);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_THAT(lines[lines.size() - 1 - i],
                HasSubstr(absl::StrCat("\"alert ", 99 - i, "\"")));
  }
  EXPECT_NE(access((path_ + ".2").c_str(), F_OK), 0);
}

TEST_F(AlertFileTest, BeginsANewFileWhenItsOwnIsMovedAway) {
  auto file = Start();
  log_.Publish(Alert("before"));
  // Until it is written.
  while (Contents(path_).empty()) sched_yield();
  ASSERT_EQ(rename(path_.c_str(), (path_ + ".old").c_str()), 0);
  log_.Publish(Alert("after"));
  file = nullptr;
  EXPECT_THAT(Contents(path_ + ".old"), HasSubstr("before"));
  EXPECT_THAT(Contents(path_), HasSubstr("after"));
}

// The file may not grow past a limit of the process, which is what a full disk
// looks like: the write before it is short, and the next one fails.
TEST_F(AlertFileTest, TakesBackWhatAFullDiskCutAndSaysWhatIsMissing) {
  std::ofstream(path_) << std::string(1'000, 'x') << "\n";
  ASSERT_NE(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
  rlimit unlimited = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  rlimit limited = unlimited;
  limited.rlim_cur = 1'050;

  auto file = Start();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  for (int i = 1; i <= 3; ++i) log_.Publish(Alert(absl::StrCat("lost ", i)));
  while (drops_.write_errors < 3) sched_yield();
  EXPECT_EQ(Contents(path_), std::string(1'000, 'x') + "\n");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  log_.Publish(Alert("arrives"));
  file = nullptr;

  const std::vector<std::string> lines = Lines(path_);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[1],
              AllOf(HasSubstr(R"("kind":"gap")"),
                    HasSubstr(R"("from_seq":1,"to_seq":3)"),
                    HasSubstr(R"("reason":"write_error","count":3)")));
  EXPECT_THAT(lines[2], HasSubstr("arrives"));
}

TEST_F(AlertFileTest, TellsOfWhatTheLogLost) {
  EventLogOptions small;
  small.events_max = 1;
  EventLog log(small);
  AlertFileOptions options;
  options.path = path_;
  auto file = AlertFile::Start(options, log);
  ASSERT_TRUE(file.ok());
  for (int i = 0; i < 100'000; ++i) log.Publish(Alert("burst"));
  *file = nullptr;
  uint64_t written = 0;
  uint64_t missing = 0;
  for (const std::string& line : Lines(path_)) {
    if (!absl::StrContains(line, R"("kind":"gap")")) {
      ++written;
      continue;
    }
    const size_t at = line.find(R"("count":)");
    ASSERT_NE(at, std::string::npos);
    missing += std::stoull(line.substr(at + 8));
  }
  EXPECT_EQ(written + missing, 100'000u);
  // The log keeps one event, so the writer cannot have had them all.
  EXPECT_GT(missing, 0u);
}

TEST_F(AlertFileTest, RefusesWhatIsNoFile) {
  AlertFileOptions options;
  options.path = folder_;
  EXPECT_FALSE(AlertFile::Start(options, log_).ok());
  options.path = "/dev/null";
  absl::Status status = AlertFile::Start(options, log_).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/dev/null"), HasSubstr("regular file")));
  options.path = folder_ + "/fifo";
  ASSERT_EQ(mkfifo(options.path.c_str(), 0600), 0);
  EXPECT_FALSE(AlertFile::Start(options, log_).ok());
  options.path = folder_ + "/link";
  ASSERT_EQ(symlink("/etc/passwd", options.path.c_str()), 0);
  EXPECT_FALSE(AlertFile::Start(options, log_).ok());
  options.path = folder_ + "/no/such/folder";
  status = AlertFile::Start(options, log_).status();
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("/no/such/folder"), HasSubstr("make its parent")));
}

}  // namespace
}  // namespace callgate::events
