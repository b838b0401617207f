#include "server/cli/bench_report.h"

#include <gtest/gtest.h>

namespace callgate::cli {
namespace {

BenchReport Interpreted() {
  BenchReport report;
  report.engine = "reference";
  report.hook = "none";
  report.compile_ms = 1.5;
  report.instantiate_us = 20.25;
  return report;
}

BenchReport Compiled() {
  BenchReport report = Interpreted();
  report.engine = "native";
  report.level = "baseline";
  report.fuel = true;
  report.hook = "policy";
  report.load_us = 300;
  report.code_bytes = 4096;
  report.called.emplace();
  report.called->times = {12.5, 13.25, 8192};
  report.called->repeat = 10;
  report.called->results = {Value::I32(-3), Value::F64(0.5)};
  report.called->fuel_used = 77;
  report.called->host_calls = 2;
  return report;
}

TEST(BenchJsonTest, HasEveryMemberWhateverIsKnown) {
  EXPECT_EQ(BenchJson(Interpreted()),
            "{\"engine\":\"reference\",\"level\":null,\"fuel\":false,"
            "\"hook\":\"none\",\"compile_ms\":1.5,\"load_us\":null,"
            "\"instantiate_us\":20.25,\"code_bytes\":null,\"call_ns\":null,"
            "\"result\":null}\n");
  EXPECT_EQ(BenchJson(Compiled()),
            "{\"engine\":\"native\",\"level\":\"baseline\",\"fuel\":true,"
            "\"hook\":\"policy\",\"compile_ms\":1.5,\"load_us\":300,"
            "\"instantiate_us\":20.25,\"code_bytes\":4096,"
            "\"call_ns\":{\"min\":12.5,\"median\":13.25},\"batch\":8192,"
            "\"repeat\":10,\"fuel_used\":77,\"host_calls\":2,\"stable\":true,"
            "\"result\":\"-3 0.5\"}\n");
}

TEST(BenchTextTest, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(BenchText(Interpreted()),
            "engine       reference\n"
            "fuel         off\n"
            "hook         none\n"
            "compile      1.5 ms\n"
            "instantiate  20.25 us\n");
}

TEST(BenchTextTest, ShowsACall) {
  BenchReport report = Compiled();
  report.called->stable = false;
  EXPECT_EQ(BenchText(report),
            "engine        native, baseline\n"
            "fuel          on\n"
            "hook          policy\n"
            "compile       1.5 ms\n"
            "load          300 us\n"
            "instantiate   20.25 us\n"
            "code          4096 bytes\n"
            "call, min     12.5 ns\n"
            "call, median  13.2 ns of 10 x 8192\n"
            "fuel used     77\n"
            "host calls    2\n"
            "result        -3 0.5, and others later\n");
}

}  // namespace
}  // namespace callgate::cli
