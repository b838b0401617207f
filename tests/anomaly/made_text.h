// Text of several kinds, made from a random generator.

#ifndef CALLGATE_TESTS_ANOMALY_MADE_TEXT_H_
#define CALLGATE_TESTS_ANOMALY_MADE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace callgate::anomaly_test {

// SplitMix64: the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  // 0 … end - 1.
  uint64_t Below(uint64_t end) { return Next() % end; }
  // Between `low` and `high`, each octave as likely as the next.
  size_t Size(size_t low, size_t high);
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

std::string Word(Random& random);
// Lines of words, at least `bytes` long together.
std::string Prose(Random& random, size_t bytes);
std::string Markdown(Random& random, size_t bytes);
// One document of objects and lists.
std::string Json(Random& random, size_t bytes);
std::string Yaml(Random& random, size_t bytes);
// Lines of numbers and words with commas.
std::string Table(Random& random, size_t bytes);
std::string Noise(Random& random, size_t bytes);

}  // namespace callgate::anomaly_test

#endif  // CALLGATE_TESTS_ANOMALY_MADE_TEXT_H_
