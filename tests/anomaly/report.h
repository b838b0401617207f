// An evaluation for people: RESULTS.md with its plot.

#ifndef CALLGATE_TESTS_ANOMALY_REPORT_H_
#define CALLGATE_TESTS_ANOMALY_REPORT_H_

#include <string>

#include "tests/anomaly/evaluation.h"

namespace callgate::anomaly_test {

double PerTenMillion(uint64_t alerts, uint64_t calls);

// `victims` is that of programs of our own, told apart.
std::string ReportText(const Evaluation& evaluation, const Evaluation& victims);
// Found attacks over false alerts in 10^7 calls, by threshold of the frame.
std::string RocSvg(const Evaluation& evaluation);

}  // namespace callgate::anomaly_test

#endif  // CALLGATE_TESTS_ANOMALY_REPORT_H_
