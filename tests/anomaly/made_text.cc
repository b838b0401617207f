#include "tests/anomaly/made_text.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace callgate::anomaly_test {

uint64_t Random::Next() {
  state_ += 0x9e3779b97f4a7c15;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

size_t Random::Size(size_t low, size_t high) {
  const double octaves =
      std::log2(static_cast<double>(high) / static_cast<double>(low));
  const double unit =
      static_cast<double>(Next() >> 11) / static_cast<double>(1ull << 53);
  return static_cast<size_t>(static_cast<double>(low) *
                             std::exp2(octaves * unit));
}

std::string Word(Random& random) {
  static constexpr char kConsonants[] = "bcdfghklmnprstvw";
  static constexpr char kVowels[] = "aeiou";
  std::string word;
  for (uint64_t i = 0; i <= random.Below(4); ++i) {
    word.push_back(kConsonants[random.Below(16)]);
    word.push_back(kVowels[random.Below(5)]);
  }
  return word;
}

std::string Prose(Random& random, size_t bytes) {
  std::string text;
  while (text.size() < bytes) {
    const uint64_t words = 1 + random.Below(14);
    for (uint64_t i = 0; i < words; ++i) {
      absl::StrAppend(&text, i == 0 ? "" : " ", Word(random));
    }
    text += random.OneIn(8) ? "\n\n" : "\n";
  }
  return text;
}

std::string Markdown(Random& random, size_t bytes) {
  std::string text;
  while (text.size() < bytes) {
    switch (random.Below(8)) {
      case 0:
        absl::StrAppend(&text, std::string(1 + random.Below(4), '#'), " ",
                        Word(random), " ", Word(random), "\n\n");
        break;
      case 1:
        for (uint64_t i = 0; i <= random.Below(6); ++i) {
          absl::StrAppend(&text, "* ", Word(random), " *", Word(random), "*\n");
        }
        text += "\n";
        break;
      case 2:
        absl::StrAppend(&text, "```\n", Prose(random, 80), "```\n\n");
        break;
      case 3:
        absl::StrAppend(&text, "> ", Word(random), " **", Word(random), "** [",
                        Word(random), "](http://", Word(random), ".example \"",
                        Word(random), "\")\n\n");
        break;
      case 4:
        absl::StrAppend(&text, "<div>", Word(random), " &amp; `", Word(random),
                        "`</div>\n\n");
        break;
      default:
        absl::StrAppend(&text, Prose(random, 30 + random.Below(400)), "\n");
        break;
    }
  }
  return text;
}

std::string Json(Random& random, size_t bytes) {
  std::string text = "{";
  while (text.size() < bytes) {
    if (text.size() > 1) text += ", ";
    absl::StrAppend(&text, "\"", Word(random), "\": ");
    switch (random.Below(5)) {
      case 0:
        absl::StrAppend(&text, random.Below(1'000'000));
        break;
      case 1:
        absl::StrAppend(&text, "[", random.Below(9), ", ", random.Below(9),
                        ".5, null, [\"", Word(random), "\"], {}]");
        break;
      case 2:
        absl::StrAppend(&text, "{\"", Word(random), "\": \"", Word(random),
                        "\\n\", \"x\": {\"y\": [true, false]}}");
        break;
      default:
        absl::StrAppend(&text, "\"", Word(random), " ", Word(random), "\"");
        break;
    }
  }
  return text + "}\n";
}

std::string Yaml(Random& random, size_t bytes) {
  std::string text;
  uint64_t anchors = 0;
  while (text.size() < bytes) {
    switch (random.Below(5)) {
      case 0:
        absl::StrAppend(&text, Word(random), text.size(), ":\n  - ",
                        Word(random), "\n  - {a: ", random.Below(100), ", b: [",
                        Word(random), "]}\n");
        break;
      case 1:
        absl::StrAppend(&text, Word(random), text.size(), ": |\n  ",
                        Word(random), "\n  ", Word(random), "\n");
        break;
      case 2:
        absl::StrAppend(&text, Word(random), text.size(), ": &a", ++anchors,
                        " ", Word(random), "\nref", anchors, ": *a", anchors,
                        "\n");
        break;
      case 3:
        absl::StrAppend(&text, "# ", Word(random), "\n\"", Word(random),
                        text.size(), "\": !!str '", Word(random), "'\n");
        break;
      default:
        absl::StrAppend(&text, Word(random), text.size(), ": ", Word(random),
                        " ", random.Below(1000), "\n");
        break;
    }
  }
  return text;
}

std::string Table(Random& random, size_t bytes) {
  std::string text = "id,name,value\n";
  for (uint64_t line = 1; text.size() < bytes; ++line) {
    absl::StrAppend(&text, line, ",", Word(random), ",", random.Below(100'000),
                    "\n");
  }
  return text;
}

std::string Noise(Random& random, size_t bytes) {
  std::string text(bytes, 0);
  for (char& c : text) c = static_cast<char>(random.Next());
  return text;
}

}  // namespace callgate::anomaly_test
