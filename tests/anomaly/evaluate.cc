// The whole evaluation, written to --out: RESULTS.md and roc.svg.
//
//   --corpus=DIR  the corpus's folder; $CALLGATE_CORPUS unless given
//   --seed=N      3 unless given; it was developed with others
//   --ngram=N --sites=N --share_weight=N  another shape
//   --scale=F     so many times the usual number of runs, calls and attacks

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tests/anomaly/evaluation.h"
#include "tests/anomaly/report.h"

namespace callgate::anomaly_test {
namespace {

uint64_t Scaled(uint64_t count, double scale) {
  return static_cast<uint64_t>(static_cast<double>(count) * scale);
}

int Main(int argc, char** argv) {
  const char* const variable = std::getenv("CALLGATE_CORPUS");
  std::string corpus = variable == nullptr ? "" : variable;
  std::string out = ".";
  uint64_t seed = 3;
  double scale = 1;
  policy::anomaly::Shape shape;
  shape.share_weight = 3277;  // 0.05
  for (int i = 1; i < argc; ++i) {
    absl::string_view arg = argv[i];
    bool ok = true;
    if (absl::ConsumePrefix(&arg, "--corpus=")) {
      corpus = std::string(arg);
    } else if (absl::ConsumePrefix(&arg, "--out=")) {
      out = std::string(arg);
    } else if (absl::ConsumePrefix(&arg, "--seed=")) {
      ok = absl::SimpleAtoi(arg, &seed);
    } else if (absl::ConsumePrefix(&arg, "--scale=")) {
      ok = absl::SimpleAtod(arg, &scale);
    } else if (absl::ConsumePrefix(&arg, "--ngram=")) {
      ok = absl::SimpleAtoi(arg, &shape.ngram);
    } else if (absl::ConsumePrefix(&arg, "--sites=")) {
      ok = absl::SimpleAtoi(arg, &shape.site_functions);
    } else if (absl::ConsumePrefix(&arg, "--share_weight=")) {
      ok = absl::SimpleAtoi(arg, &shape.share_weight);
    } else {
      ok = false;
    }
    if (!ok || !shape.IsValid()) {
      std::fprintf(stderr, "cannot make sense of %s\n", argv[i]);
      return 64;
    }
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "no corpus: set CALLGATE_CORPUS\n");
    return 64;
  }
  std::string scratch =
      (std::filesystem::temp_directory_path() / "anomaly.XXXXXX").string();
  if (mkdtemp(scratch.data()) == nullptr) {
    std::perror("mkdtemp");
    return 1;
  }
  Sizes sizes;
  sizes.training_runs = Scaled(sizes.training_runs, scale);
  sizes.training_long_runs = Scaled(sizes.training_long_runs, scale);
  sizes.validation_runs = Scaled(sizes.validation_runs, scale);
  sizes.test_runs = Scaled(sizes.test_runs, scale);
  sizes.validation_calls = Scaled(sizes.validation_calls, scale);
  sizes.test_calls = Scaled(sizes.test_calls, scale);
  const Evaluation evaluation = Evaluate(shape, sizes, seed, corpus, scratch);
  Sizes of_victims = VictimSizes();
  of_victims.training_runs = Scaled(of_victims.training_runs, scale);
  of_victims.validation_runs = Scaled(of_victims.validation_runs, scale);
  of_victims.test_runs = Scaled(of_victims.test_runs, scale);
  of_victims.validation_calls = Scaled(of_victims.validation_calls, scale);
  of_victims.test_calls = Scaled(of_victims.test_calls, scale);
  // Where Bazel runs this.
  const Evaluation victims =
      EvaluateVictims(shape, of_victims, seed, "tests/anomaly", scratch);
  std::filesystem::remove_all(scratch);
  const std::string text = ReportText(evaluation, victims);
  std::ofstream(absl::StrCat(out, "/RESULTS.md")) << text;
  std::ofstream(absl::StrCat(out, "/roc.svg")) << RocSvg(evaluation);
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace callgate::anomaly_test

int main(int argc, char** argv) {
  return callgate::anomaly_test::Main(argc, argv);
}
