#include "tests/anomaly/evaluation.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <iterator>
#include <memory>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "policy/anomaly/profile.h"
#include "policy/anomaly/profile_bytes.h"
#include "runtime/check.h"
#include "tests/anomaly/victims.h"

namespace callgate::anomaly_test {
namespace {

using policy::anomaly::LearningRule;
using policy::anomaly::Profile;
using policy::anomaly::Score;
using policy::anomaly::Shape;
using policy::anomaly::Stream;

constexpr size_t kNgramsMax = 20'000;
// Of a run that an attack is hidden in.
constexpr size_t kBaseCallsMax = 3000;
constexpr int kDonorTraces = 40;

// Seeds of the three parts are never the same.
enum class Part : uint64_t { kTraining, kValidation, kTest };
uint64_t SeedOf(uint64_t seed, Part part, uint64_t number) {
  return (seed * 3 + static_cast<uint64_t>(part)) * 1'000'000'007 + number;
}

// For whoever waits: what has been done, and in how much time.
void Tell(const char* what, const std::string& program, uint64_t calls) {
  std::fprintf(stderr, "%s %s: %llu calls, %.1f s of CPU time so far\n", what,
               program.c_str(), static_cast<unsigned long long>(calls),
               static_cast<double>(std::clock()) / CLOCKS_PER_SEC);
}

bool IsAlert(const Score& score, size_t f, size_t s) {
  return score.frame >= kFrameThresholds[f] ||
         score.strange >= kSides[s].strange ||
         score.recent >= kSides[s].recent || score.share_z >= kSides[s].share_z;
}

bool IsAlert(const Score& score, const Thresholds& t) {
  return score.frame >= t.frame || score.strange >= t.strange ||
         score.recent >= t.recent || score.share_z >= t.share_z;
}

// Counts how often an alert begins, for every pair of thresholds of the grid
// and for chosen ones, and keeps the highest scores.
class AlertCounter final : public ScoreWatcher {
 public:
  void OnScore(const Score& score) override {
    if (score.frame == last_.frame && score.strange == last_.strange &&
        score.recent == last_.recent && score.share_z == last_.share_z) {
      return;
    }
    last_ = score;
    max.frame = std::max(max.frame, score.frame);
    max.strange = std::max(max.strange, score.strange);
    max.recent = std::max(max.recent, score.recent);
    max.share_z = std::max(max.share_z, score.share_z);
    const bool chosen_now = IsAlert(score, chosen);
    chosen_alerts += chosen_now && !chosen_on_ ? 1u : 0u;
    chosen_on_ = chosen_now;
    for (size_t f = 0; f < kFrameThresholds.size(); ++f) {
      for (size_t s = 0; s < kSides.size(); ++s) {
        const bool alert = IsAlert(score, f, s);
        alerts[f][s] += alert && !on_[f][s] ? 1u : 0u;
        on_[f][s] = alert;
      }
    }
  }
  // Between runs.
  void BeginRun() {
    last_ = Score();
    on_ = {};
    chosen_on_ = false;
  }
  ByThreshold<uint64_t> alerts{};
  Thresholds chosen;
  uint64_t chosen_alerts = 0;
  Score max;

 private:
  Score last_;
  ByThreshold<bool> on_{};
  bool chosen_on_ = false;
};

class MaxScore final : public ScoreWatcher {
 public:
  void OnScore(const Score& score) override {
    max.frame = std::max(max.frame, score.frame);
    max.strange = std::max(max.strange, score.strange);
    max.recent = std::max(max.recent, score.recent);
    max.share_z = std::max(max.share_z, score.share_z);
  }
  Score max;
};

class ProgramTest {
 public:
  ProgramTest(const Program& program, const Shape& shape,
              const std::string& corpus, const std::string& scratch,
              uint64_t seed)
      : runner_(program, corpus, scratch),
        seed_(seed),
        profile_(shape, kNgramsMax) {
    result.name = program.name;
  }

  void Learn(const Sizes& sizes) {
    LearningRule rule;
    rule.mode = LearningRule::Mode::kOn;
    const uint64_t runs =
        sizes.training_runs + sizes.training_long_runs +
        sizes.training_long_runs * 3 * runner_.program().percent / 10;
    for (uint64_t i = 0; i < runs; ++i) {
      Stream::Options options;
      options.shape = profile_.shape();
      options.record_ngrams_max = kNgramsMax;
      Stream stream(options);
      runner_.Run(
          MakeJob(Part::kTraining, i,
                  i < sizes.training_runs ? JobSize::kUsual : JobSize::kLong),
          stream, nullptr);
      const auto added =
          profile_.Add(stream.record(), "run", absl::UnixEpoch(), rule);
      CALLGATE_CHECK(added.ok(), added.status().ToString().c_str());
    }
    for (uint64_t i = 0; i < kDonorTraces; ++i) {
      donors_.Learn(runner_.Record(MakeJob(Part::kTraining, i, JobSize::kUsual),
                                   kBaseCallsMax));
    }
    model_ = profile_.MakeModel();
    result.training_runs = runs;
    result.training_calls = profile_.calls();
    result.ngrams = profile_.ngram_count();
    result.letters = profile_.alphabet().letters().size() - 2;
    result.profile_bytes = SerialiseProfile(profile_).size();
  }

  // `runs` usual ones, then long ones until there are `calls`. The calls that
  // there were.
  uint64_t RunClean(Part part, uint64_t runs, uint64_t calls,
                    AlertCounter* counter, uint64_t* runs_done) {
    uint64_t done = 0;
    for (uint64_t i = 0; i < runs || done < calls; ++i) {
      Stream stream = Judged();
      counter->BeginRun();
      done += runner_.Run(
          MakeJob(part, i, i < runs ? JobSize::kUsual : JobSize::kLong), stream,
          counter);
      ++*runs_done;
    }
    return done;
  }

  std::vector<AttackResult> RunAttacks(Part part, uint64_t of_each) {
    std::vector<AttackResult> results;
    Random random(SeedOf(seed_, part, 77));
    for (size_t k = 0; k < kAttackKinds; ++k) {
      for (uint64_t i = 0; i < of_each; ++i) {
        const auto kind = static_cast<AttackKind>(k);
        const Attack attack =
            MakeAttack(kind, BaseTrace(part, kind, random), donors_, random);
        Stream stream = Judged();
        const std::vector<Score> scores = ScoresOf(attack.trace, stream);
        AttackResult found;
        found.program = result.name;
        found.kind = kind;
        found.what = attack.what;
        const size_t end = std::min(scores.size(), attack.last + kFrame + 1);
        for (size_t c = attack.first; c < end; ++c) {
          found.frame = std::max(found.frame, scores[c].frame);
          found.strange = std::max(found.strange, scores[c].strange);
          found.recent = std::max(found.recent, scores[c].recent);
          found.share_z = std::max(found.share_z, scores[c].share_z);
        }
        results.push_back(std::move(found));
      }
    }
    return results;
  }

  std::vector<AttackResult> RunScripts(Part part) {
    std::vector<AttackResult> results;
    for (const ScriptAttack& attack : ScriptAttacks(SeedOf(seed_, part, 99))) {
      Stream stream = Judged();
      MaxScore score;
      runner_.Run(attack.job, stream, &score);
      AttackResult found;
      found.program = result.name;
      found.kind = attack.kind;
      found.is_script = true;
      found.what = attack.what;
      found.frame = score.max.frame;
      found.strange = score.max.strange;
      found.recent = score.max.recent;
      found.share_z = score.max.share_z;
      results.push_back(std::move(found));
    }
    return results;
  }

  // Attacks that are input alone.
  std::vector<AttackResult> RunExploits(Part part, uint64_t of_each) {
    if (hidden_.empty()) hidden_ = FindHiddenFunctions(runner_);
    std::vector<AttackResult> results;
    for (const Exploit& exploit : MakeExploits(
             runner_.program(), hidden_, SeedOf(seed_, part, 88), of_each)) {
      const auto highest_of = [this](const Job& job) {
        Stream stream = Judged();
        MaxScore score;
        runner_.Run(job, stream, &score);
        return score.max;
      };
      AttackResult found;
      found.program = result.name;
      found.kind = exploit.kind;
      found.takes_over = exploit.takes_over;
      found.what = exploit.what;
      const Score of_attack = highest_of(exploit.job);
      found.frame = of_attack.frame;
      found.strange = of_attack.strange;
      found.recent = of_attack.recent;
      found.share_z = of_attack.share_z;
      const Score of_twin = highest_of(exploit.twin);
      found.twin_frame = of_twin.frame;
      found.twin_strange = of_twin.strange;
      found.twin_recent = of_twin.recent;
      found.twin_share_z = of_twin.share_z;
      results.push_back(std::move(found));
    }
    return results;
  }

  ProgramResult result;

 private:
  Job MakeJob(Part part, uint64_t number, JobSize size) const {
    return runner_.program().make_job(SeedOf(seed_, part, number), size);
  }
  Stream Judged() const {
    Stream::Options options;
    options.shape = profile_.shape();
    options.frame = kFrame;
    options.model = model_;
    return Stream(options);
  }
  // A clean run of jobs that nothing else is made of.
  Trace BaseTrace(Part part, AttackKind kind, Random& random) {
    const bool is_long = kind == AttackKind::kDrip ||
                         (kind == AttackKind::kBurst && random.OneIn(2));
    const size_t calls_min = kind == AttackKind::kDrip ? 400 : kBaseCallsMin;
    Trace trace;
    for (int tries = 0; tries < 200 && trace.calls.size() < calls_min;
         ++tries) {
      trace = runner_.Record(
          MakeJob(part, 500'000 + base_++,
                  is_long && tries < 50 ? JobSize::kLong : JobSize::kUsual),
          kBaseCallsMax);
    }
    return trace;
  }

  GuestRunner runner_;
  const uint64_t seed_;
  Profile profile_;
  std::shared_ptr<const policy::anomaly::Model> model_;
  Donors donors_;
  TableIndices hidden_;
  uint64_t base_ = 0;
};

void Add(const ByThreshold<uint64_t>& more, ByThreshold<uint64_t>* sum) {
  for (size_t f = 0; f < kFrameThresholds.size(); ++f) {
    for (size_t s = 0; s < kSides.size(); ++s) {
      (*sum)[f][s] += more[f][s];
    }
  }
}

Score TwinScoreOf(const AttackResult& attack) {
  Score score;
  score.frame = attack.twin_frame;
  score.strange = attack.twin_strange;
  score.recent = attack.twin_recent;
  score.share_z = attack.twin_share_z;
  return score;
}

Score ScoreOf(const AttackResult& attack) {
  Score score;
  score.frame = attack.frame;
  score.strange = attack.strange;
  score.recent = attack.recent;
  score.share_z = attack.share_z;
  return score;
}

template <typename Results>
void CountFound(const Results& attacks, ByThreshold<uint64_t>* found) {
  for (const AttackResult& attack : attacks) {
    const Score score = ScoreOf(attack);
    const Score twin = TwinScoreOf(attack);
    for (size_t f = 0; f < kFrameThresholds.size(); ++f) {
      for (size_t s = 0; s < kSides.size(); ++s) {
        (*found)[f][s] +=
            IsAlert(score, f, s) && !IsAlert(twin, f, s) ? 1u : 0u;
      }
    }
  }
}

// One above what clean runs came to. A single call out of place makes as many
// novel n-grams as an n-gram has letters, and every novel letter two of them.
Thresholds Choose(const Score& highest, const Shape& shape) {
  Thresholds chosen;
  chosen.frame = std::max(shape.ngram + 1, highest.frame + 1);
  chosen.strange = highest.strange + 1;
  chosen.recent = std::max(3 * shape.ngram, highest.recent + 1);
  chosen.share_z = std::max(12.0, highest.share_z * 1.5);
  return chosen;
}

// What is evaluated, and how it is attacked.
struct Suite {
  const std::vector<Program>& programs;
  std::vector<AttackResult> (*attack)(ProgramTest&, Part, const Sizes&);
};

Evaluation EvaluateSuite(const Suite& suite, const Shape& shape,
                         const Sizes& sizes, uint64_t seed,
                         const std::string& folder,
                         const std::string& scratch) {
  Evaluation result;
  result.shape = shape;
  result.sizes = sizes;
  result.seed = seed;
  const std::vector<Program>& programs = suite.programs;
  std::vector<std::unique_ptr<ProgramTest>> tests(programs.size());
  // A thread for each program; what one does depends on none of the others.
  const auto for_each = [&](const std::function<void(size_t)>& work) {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < programs.size(); ++i) {
      threads.emplace_back([&work, i] { work(i); });
    }
    for (std::thread& thread : threads) thread.join();
  };
  for_each([&](size_t i) {
    tests[i] = std::make_unique<ProgramTest>(programs[i], shape, folder,
                                             scratch, seed);
    tests[i]->Learn(sizes);
    Tell("learned", programs[i].name, tests[i]->result.training_calls);
  });

  struct Validated {
    AlertCounter alerts;
    uint64_t calls = 0;
    uint64_t runs = 0;
    std::vector<AttackResult> attacks;
  };
  std::vector<Validated> validated(programs.size());
  for_each([&](size_t i) {
    Validated& v = validated[i];
    v.calls = tests[i]->RunClean(
        Part::kValidation, sizes.validation_runs,
        sizes.validation_calls * programs[i].percent / 100, &v.alerts, &v.runs);
    v.attacks = suite.attack(*tests[i], Part::kValidation, sizes);
    Tell("validated", programs[i].name, v.calls);
  });
  for (size_t i = 0; i < programs.size(); ++i) {
    const Validated& v = validated[i];
    const Thresholds chosen = Choose(v.alerts.max, shape);
    tests[i]->result.chosen = chosen;
    result.validation_calls += v.calls;
    result.validation_attacks += v.attacks.size();
    for (const AttackResult& attack : v.attacks) {
      result.validation_found += IsAlert(ScoreOf(attack), chosen) &&
                                         !IsAlert(TwinScoreOf(attack), chosen)
                                     ? 1u
                                     : 0u;
    }
  }

  // From here on nothing is chosen any more.
  std::vector<std::vector<AttackResult>> attacks(programs.size());
  for_each([&](size_t i) {
    AlertCounter counter;
    ProgramResult& program = tests[i]->result;
    counter.chosen = program.chosen;
    program.test_calls =
        tests[i]->RunClean(Part::kTest, sizes.test_runs,
                           sizes.test_calls * programs[i].percent / 100,
                           &counter, &program.test_runs);
    program.false_alerts = counter.alerts;
    program.chosen_false_alerts = counter.chosen_alerts;
    attacks[i] = suite.attack(*tests[i], Part::kTest, sizes);
    Tell("tested", program.name, program.test_calls);
  });
  for (size_t i = 0; i < programs.size(); ++i) {
    const ProgramResult& program = tests[i]->result;
    result.test_calls += program.test_calls;
    result.test_runs += program.test_runs;
    Add(program.false_alerts, &result.false_alerts);
    for (AttackResult& attack : attacks[i]) {
      attack.found = IsAlert(ScoreOf(attack), program.chosen) &&
                     !IsAlert(TwinScoreOf(attack), program.chosen);
      result.chosen_found += attack.found ? 1u : 0u;
    }
    result.chosen_false_alerts += program.chosen_false_alerts;
    CountFound(attacks[i], &result.found);
    std::move(attacks[i].begin(), attacks[i].end(),
              std::back_inserter(result.attacks));
    result.programs.push_back(program);
  }
  return result;
}

}  // namespace

Sizes VictimSizes() {
  Sizes sizes;
  sizes.training_runs = 600;
  sizes.training_long_runs = 10;
  sizes.validation_runs = 400;
  sizes.test_runs = 800;
  sizes.validation_calls = 1'000'000;
  sizes.test_calls = 4'000'000;
  sizes.attacks = 4;
  return sizes;
}

Evaluation Evaluate(const Shape& shape, const Sizes& sizes, uint64_t seed,
                    const std::string& corpus, const std::string& scratch) {
  const Suite suite = {
      Programs(), [](ProgramTest& test, Part part, const Sizes& of) {
        std::vector<AttackResult> attacks = test.RunAttacks(part, of.attacks);
        // The scripts are of the test alone.
        if (part == Part::kTest && test.result.name == "lua") {
          std::vector<AttackResult> scripts = test.RunScripts(part);
          std::move(scripts.begin(), scripts.end(),
                    std::back_inserter(attacks));
        }
        return attacks;
      }};
  return EvaluateSuite(suite, shape, sizes, seed, corpus, scratch);
}

Evaluation EvaluateVictims(const Shape& shape, const Sizes& sizes,
                           uint64_t seed, const std::string& folder,
                           const std::string& scratch) {
  const Suite suite = {Victims(),
                       [](ProgramTest& test, Part part, const Sizes& of) {
                         return test.RunExploits(part, of.attacks);
                       }};
  return EvaluateSuite(suite, shape, sizes, seed, folder, scratch);
}

}  // namespace callgate::anomaly_test
