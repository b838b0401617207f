#include "tests/anomaly/report.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace callgate::anomaly_test {
namespace {

std::string Share(uint64_t part, uint64_t whole) {
  return absl::StrFormat("%.1f %%", whole == 0
                                        ? 0.0
                                        : 100.0 * static_cast<double>(part) /
                                              static_cast<double>(whole));
}

// What is beside the frame in the plot and the table of all thresholds.
constexpr size_t kShownSide = 2;

std::string SideText(size_t s) {
  std::vector<std::string> parts;
  const Sides& side = kSides[s];
  if (side.strange < 9999) {
    parts.push_back(absl::StrCat("score.strange >= ", side.strange));
  }
  if (side.recent < 9999) {
    parts.push_back(absl::StrCat("score.recent >= ", side.recent));
  }
  if (side.share_z < 1e9) {
    parts.push_back(absl::StrCat("score.share_z >= ", side.share_z));
  }
  return parts.empty() ? "never" : absl::StrJoin(parts, " || ");
}

}  // namespace

double PerTenMillion(uint64_t alerts, uint64_t calls) {
  return calls == 0
             ? 0
             : static_cast<double>(alerts) * 1e7 / static_cast<double>(calls);
}

namespace {

void AddPrograms(const Evaluation& e, std::string* text) {
  absl::StrAppend(
      text,
      "| program | training runs | calls | letters | n-grams | profile bytes "
      "| thresholds: frame, strange, recent, share_z | test runs | test calls "
      "| false alerts | per 10^7 "
      "|\n|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|\n");
  for (const ProgramResult& p : e.programs) {
    absl::StrAppend(
        text, "| ", p.name, " | ", p.training_runs, " | ", p.training_calls,
        " | ", p.letters, " | ", p.ngrams, " | ", p.profile_bytes, " | ",
        p.chosen.frame, ", ", p.chosen.strange, ", ", p.chosen.recent, ", ",
        absl::StrFormat("%.1f", p.chosen.share_z), " | ", p.test_runs, " | ",
        p.test_calls, " | ", p.chosen_false_alerts, " | ",
        absl::StrFormat("%.2f",
                        PerTenMillion(p.chosen_false_alerts, p.test_calls)),
        " |\n");
  }
}

std::string CorpusText(const Evaluation& e) {
  constexpr size_t s = kShownSide;
  std::string text =
      "# What anomaly detection finds\n\n"
      "Made by `CALLGATE_CORPUS=... bazel run -c opt //tests/anomaly:evaluate "
      "-- --out=$PWD/tests/anomaly`; inputs, seeds and the guests' clocks "
      "are fixed, so that it comes out the same each time.\n\n"
      "Normal work is real programs of the corpus, run on the native engine "
      "for every call that is counted here, over inputs that a seed makes "
      "(`workload.cc`). Training, validation and test have seeds of their own. "
      "Each program has thresholds of its own, as each would have a policy of "
      "its own: one above the highest score of its clean validation runs, but "
      "not less than what one odd call comes to. They are fixed before the "
      "first test run, and no attack has a say in them. Seeds 1 and 2 were "
      "used "
      "while this was made, 3 was not.\n\n"
      "Attacks marked *script* are Lua scripts, really run. All others are "
      "made from the trace of a real run, at the hook (`attacks.cc`): nobody "
      "took the program over, but its calls are as if somebody had.\n\n";
  absl::StrAppend(
      &text, "An n-gram has ", e.shape.ngram, " letters of (import, ",
      e.shape.site_functions,
      " innermost functions, errno class); the locality frame has ", kFrame,
      " calls; shares weigh a call ",
      absl::StrFormat("%.3f",
                      static_cast<double>(e.shape.share_weight) / 65536),
      ".\n\n");
  absl::StrAppend(&text, "Validation: ", e.validation_found, " of ",
                  e.validation_attacks, " attacks found, no alert in ",
                  e.validation_calls, " clean calls. Seed ", e.seed, ".\n\n");
  absl::StrAppend(&text, "**Reached on the test set:** ", e.chosen_found,
                  " of ", e.attacks.size(), " attacks found (",
                  Share(e.chosen_found, e.attacks.size()), "), ",
                  e.chosen_false_alerts, " false alerts in ", e.test_calls,
                  " clean calls of ", e.test_runs, " runs: ",
                  absl::StrFormat("%.2f", PerTenMillion(e.chosen_false_alerts,
                                                        e.test_calls)),
                  " per 10^7 calls. The aim is 95 % at 1.\n\n");

  text += "| kind | attacks | found | |\n|---|---:|---:|---:|\n";
  for (size_t k = 0; k < kAttackKinds; ++k) {
    uint64_t all = 0;
    uint64_t hit = 0;
    for (const AttackResult& attack : e.attacks) {
      if (static_cast<size_t>(attack.kind) != k) continue;
      ++all;
      hit += attack.found ? 1 : 0;
    }
    absl::StrAppend(&text, "| ", AttackKindName(static_cast<AttackKind>(k)),
                    " | ", all, " | ", hit, " | ", Share(hit, all), " |\n");
  }

  text += "\n";
  AddPrograms(e, &text);

  text += "\n## Missed\n\n";
  const auto is_unseen = [](const AttackResult& attack) {
    return !attack.found && attack.frame == 0;
  };
  absl::StrAppend(
      &text, "Of these, ",
      std::count_if(e.attacks.begin(), e.attacks.end(), is_unseen),
      " have a frame score of 0: all of their calls are such as the program "
      "makes itself, from the same functions and in an order that it has, as a "
      "burst of reads out of a function that reads in a loop. No model of "
      "order "
      "can tell these from honest work; a rule about arguments or rates can. "
      "The others stay below what honest runs of the same program came "
      "to.\n\n");
  bool any = false;
  for (const AttackResult& attack : e.attacks) {
    if (attack.found) continue;
    any = true;
    absl::StrAppend(&text, "- ", attack.program, ", ",
                    AttackKindName(attack.kind),
                    attack.is_script ? " (script)" : "", ": ", attack.what,
                    ". Highest scores: frame ", attack.frame, ", strange ",
                    attack.strange, ", recent ", attack.recent,
                    absl::StrFormat(", share_z %.1f.\n", attack.share_z));
  }
  if (!any) text += "None.\n";

  absl::StrAppend(
      &text,
      "\n## All thresholds\n\n![found over false alerts](roc.svg)\n\n"
      "Attacks found, and false alerts per 10^7 calls, on the test set, with "
      "one threshold for all programs; beside it `",
      SideText(s),
      "`, or nothing:\n\n"
      "| score.frame at least | found | false | found, frame alone | false, "
      "frame alone |\n|---:|---:|---:|---:|---:|\n");
  const size_t alone = kSides.size() - 1;
  for (size_t i = 0; i < kFrameThresholds.size(); ++i) {
    absl::StrAppend(
        &text, "| ",
        i + 1 == kFrameThresholds.size() ? std::string("never")
                                         : absl::StrCat(kFrameThresholds[i]),
        " | ", Share(e.found[i][s], e.attacks.size()), " | ",
        absl::StrFormat("%.2f",
                        PerTenMillion(e.false_alerts[i][s], e.test_calls)),
        " | ", Share(e.found[i][alone], e.attacks.size()), " | ",
        absl::StrFormat("%.2f",
                        PerTenMillion(e.false_alerts[i][alone], e.test_calls)),
        " |\n");
  }

  text +=
      "\n## Every attack\n\n| program | kind | what | frame | strange | recent "
      "| share_z | found |\n|---|---|---|---:|---:|---:|---:|---|\n";
  for (const AttackResult& attack : e.attacks) {
    absl::StrAppend(
        &text, "| ", attack.program, " | ", AttackKindName(attack.kind),
        attack.is_script ? " (script)" : "", " | ", attack.what, " | ",
        attack.frame, " | ", attack.strange, " | ", attack.recent, " | ",
        absl::StrFormat("%.1f", attack.share_z), " | ",
        attack.found ? "yes" : "**no**", " |\n");
  }
  return text;
}

std::string VictimsText(const Evaluation& e) {
  std::string text =
      "\n## Programs of our own, really taken over\n\n"
      "Nothing of this part is made up at the hook. Two small programs "
      "(`guests/`), compiled by clang, have a bug of the kind that such "
      "programs have: `record_server` copies a name of any length over the "
      "table index of the function that is to handle it, `ledger` has one "
      "register too many, and a table index in its place. An attack is bytes "
      "of input and nothing else. Of the kinds below, *taken over* calls a "
      "function through an index that the input has overwritten; the others "
      "send what any client may send, but not as clients do. Each attack has "
      "a twin, the same input without what is evil in it; an attack counts as "
      "found only if its twin raises no alert. Training, validation and test "
      "have seeds of their own, and thresholds are chosen as above, on "
      "validation.\n\n";
  uint64_t taken_over = 0;
  uint64_t taken_over_found = 0;
  for (const AttackResult& attack : e.attacks) {
    taken_over += attack.takes_over ? 1 : 0;
    taken_over_found += attack.takes_over && attack.found ? 1 : 0;
  }
  absl::StrAppend(&text, "**Reached on the test set:** ", e.chosen_found,
                  " of ", e.attacks.size(), " attacks found (",
                  Share(e.chosen_found, e.attacks.size()),
                  "), of those that took the "
                  "program over ",
                  taken_over_found, " of ", taken_over, "; ",
                  e.chosen_false_alerts, " false alerts in ", e.test_calls,
                  " clean calls of ", e.test_runs, " runs: ",
                  absl::StrFormat("%.2f", PerTenMillion(e.chosen_false_alerts,
                                                        e.test_calls)),
                  " per 10^7 calls. Validation: ", e.validation_found, " of ",
                  e.validation_attacks, " attacks, no alert in ",
                  e.validation_calls, " clean calls. Seed ", e.seed, ".\n\n");
  text +=
      "| kind | taken over: attacks | found | by client's means: attacks "
      "| found |\n|---|---:|---:|---:|---:|\n";
  for (size_t k = 0; k < kAttackKinds; ++k) {
    uint64_t all[2] = {};
    uint64_t hit[2] = {};
    for (const AttackResult& attack : e.attacks) {
      if (static_cast<size_t>(attack.kind) != k) continue;
      ++all[attack.takes_over ? 0 : 1];
      hit[attack.takes_over ? 0 : 1] += attack.found ? 1 : 0;
    }
    absl::StrAppend(&text, "| ", AttackKindName(static_cast<AttackKind>(k)),
                    " | ", all[0], " | ", hit[0], " | ", all[1], " | ", hit[1],
                    " |\n");
  }
  uint64_t unseen = 0;
  for (const AttackResult& attack : e.attacks) {
    unseen += !attack.found && attack.frame == 0 ? 1 : 0;
  }
  absl::StrAppend(
      &text, "\nMissed are ", e.attacks.size() - e.chosen_found, ", ",
      taken_over - taken_over_found,
      " of which took the program over. The others send nothing but what "
      "clients send: ",
      unseen,
      " of the missed have a frame score of 0, an order that clients have, "
      "too, and the rest stay below a threshold that a single odd call of an "
      "honest client must not reach. A rule about arguments or rates can tell "
      "them.\n\n");
  AddPrograms(e, &text);
  text +=
      "\n| program | kind | what | taken over | frame | strange | recent | "
      "share_z | found |\n|---|---|---|---|---:|---:|---:|---:|---|\n";
  for (const AttackResult& attack : e.attacks) {
    absl::StrAppend(&text, "| ", attack.program, " | ",
                    AttackKindName(attack.kind), " | ", attack.what, " | ",
                    attack.takes_over ? "yes" : "no", " | ", attack.frame,
                    " | ", attack.strange, " | ", attack.recent, " | ",
                    absl::StrFormat("%.1f", attack.share_z), " | ",
                    attack.found ? "yes" : "**no**", " |\n");
  }
  return text;
}

}  // namespace

std::string ReportText(const Evaluation& evaluation,
                       const Evaluation& victims) {
  return CorpusText(evaluation) + VictimsText(victims);
}

std::string RocSvg(const Evaluation& e) {
  constexpr double kWidth = 640;
  constexpr double kHeight = 400;
  constexpr double kLeft = 60;
  constexpr double kBottom = 350;
  constexpr double kTop = 30;
  constexpr double kRight = 620;
  // Logarithmic from 0.1, where 0 is put, to 10^5.
  const auto x_of = [&](double false_alerts) {
    const double octave = std::log10(std::max(false_alerts, 0.1)) + 1;
    return kLeft + (kRight - kLeft) * std::min(octave / 6, 1.0);
  };
  const auto y_of = [&](double found) {
    return kBottom - (kBottom - kTop) * found;
  };
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"%g\" height=\"%g\" fill=\"white\"/>\n",
      kWidth, kHeight, kWidth, kHeight);
  for (int i = 0; i <= 6; ++i) {
    const double x = x_of(std::pow(10, i - 1));
    absl::StrAppendFormat(
        &svg,
        "<line x1=\"%.1f\" y1=\"%g\" x2=\"%.1f\" y2=\"%g\" "
        "stroke=\"#ddd\"/><text x=\"%.1f\" y=\"%g\" "
        "text-anchor=\"middle\">%s</text>\n",
        x, kTop, x, kBottom, x, kBottom + 18,
        i == 0 ? "0" : absl::StrFormat("%g", std::pow(10, i - 1)));
  }
  for (int i = 0; i <= 10; i += 2) {
    const double y = y_of(i / 10.0);
    absl::StrAppendFormat(&svg,
                          "<line x1=\"%g\" y1=\"%.1f\" x2=\"%g\" y2=\"%.1f\" "
                          "stroke=\"#ddd\"/><text x=\"%g\" y=\"%.1f\" "
                          "text-anchor=\"end\">%d %%</text>\n",
                          kLeft, y, kRight, y, kLeft - 6, y + 4, i * 10);
  }
  const auto curve = [&](size_t s, const char* colour, const char* name,
                         double legend) {
    std::string points;
    for (size_t f = kFrameThresholds.size(); f-- > 0;) {
      absl::StrAppendFormat(
          &points, "%.1f,%.1f ",
          x_of(PerTenMillion(e.false_alerts[f][s], e.test_calls)),
          y_of(static_cast<double>(e.found[f][s]) /
               static_cast<double>(std::max<size_t>(e.attacks.size(), 1))));
    }
    absl::StrAppendFormat(
        &svg,
        "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" "
        "stroke-width=\"2\"/><text x=\"%g\" y=\"%g\" fill=\"%s\">%s</text>\n",
        points, colour, kRight - 220, legend, colour, name);
  };
  curve(kShownSide, "#06c", "with the other scores, as chosen", kBottom - 40);
  curve(kSides.size() - 1, "#c60", "score.frame alone", kBottom - 20);
  absl::StrAppendFormat(
      &svg,
      "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"#06c\"/>\n"
      "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">false alerts per 10^7 "
      "calls</text>\n<text x=\"%g\" y=\"18\">attacks found</text>\n</svg>\n",
      x_of(PerTenMillion(e.chosen_false_alerts, e.test_calls)),
      y_of(static_cast<double>(e.chosen_found) /
           static_cast<double>(std::max<size_t>(e.attacks.size(), 1))),
      (kLeft + kRight) / 2, kHeight - 10, kLeft);
  return svg;
}

}  // namespace callgate::anomaly_test
