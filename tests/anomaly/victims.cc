#include "tests/anomaly/victims.h"

#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/check.h"
#include "tests/anomaly/made_text.h"

namespace callgate::anomaly_test {
namespace {

// A table of these programs has fewer.
constexpr uint32_t kTableIndicesTried = 32;

// What a client sends, in pieces that it sends whole, and the files that are
// there before.
struct Session {
  std::vector<std::string> pieces;
  std::map<std::string, std::string> files;
};

Job JobOf(const Session& session) {
  Job job;
  job.stdin_bytes = absl::StrJoin(session.pieces, "");
  job.files = session.files;
  return job;
}

// --- record_server
// -------------------------------------------------------------

// In the order of the program's.
enum Operation : uint8_t { kPut, kGet, kAppend, kMeasure, kTime, kAdd, kList };

std::string Request(Operation operation, const std::string& name,
                    const std::string& body = "") {
  std::string bytes = {static_cast<char>(operation),
                       static_cast<char>(name.size())};
  bytes += name;
  bytes += static_cast<char>(body.size() & 0xff);
  bytes += static_cast<char>(body.size() >> 8);
  return bytes + body;
}

// The name fills its room, and four more bytes are the index behind it.
std::string Overlong(const std::string& name, uint32_t index) {
  constexpr size_t kNameBytes = 32;
  std::string field = name;
  field.resize(kNameBytes, '\0');
  for (int i = 0; i < 4; ++i) field += static_cast<char>(index >> (8 * i));
  return Request(kAdd, field);
}

std::string RecordName(Random& random) {
  return absl::StrCat("/record-", random.Below(12));
}

// What a client does at a time: look before it reads, and after it has written.
std::string RecordPiece(Random& random) {
  const std::string name = RecordName(random);
  switch (random.Below(10)) {
    case 0:
    case 1:
      return Request(kPut, name, Prose(random, random.Size(10, 3000))) +
             Request(kMeasure, name);
    case 2:
      return Request(kAppend, "/journal",
                     absl::StrCat("entry ", random.Below(1000), "\n"));
    case 3: {
      std::string sums;
      for (uint64_t i = 0; i <= random.Below(3); ++i) {
        sums += Request(kAdd, name, Noise(random, random.Size(1, 2000)));
      }
      return sums;
    }
    default:
      return Request(kMeasure, name) + Request(kGet, name);
  }
}

Session RecordSession(Random& random, JobSize size) {
  Session session;
  session.files["secret"] = Word(random) + Word(random) + Word(random);
  for (int i = 0; i < 12; ++i) {
    if (random.OneIn(4)) continue;
    session.files[absl::StrCat("record-", i)] =
        Prose(random, random.Size(10, 3000));
  }
  session.pieces.push_back(Request(kTime, ""));
  const size_t pieces =
      size == JobSize::kLong ? random.Size(300, 1500) : random.Size(4, 60);
  for (size_t i = 0; i < pieces; ++i) {
    session.pieces.push_back(RecordPiece(random));
  }
  session.pieces.push_back(Request(kList, ""));
  return session;
}

Job RecordJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  return JobOf(RecordSession(random, size));
}

// --- ledger
// --------------------------------------------------------------------

std::string LedgerPiece(Random& random) {
  static const char* const kForms[] = {"plain", "hex", "bar"};
  switch (random.Below(6)) {
    case 0: {
      // Numbers, shown as they come.
      std::string lines;
      const uint64_t count = 1 + random.Below(6);
      for (uint64_t i = 0; i < count; ++i) {
        absl::StrAppend(&lines, "let ", i, " ", random.Below(100000), "\nshow ",
                        i, "\n");
      }
      return lines;
    }
    case 1:
      return absl::StrCat("form ", kForms[random.Below(3)], "\nshow ",
                          random.Below(8), "\n");
    default: {
      // The sum of some of the parts, some of which are not there.
      std::string lines = "let 0 0\n";
      const uint64_t first = random.Below(10);
      const uint64_t count = 1 + random.Below(8);
      for (uint64_t i = first; i < first + count; ++i) {
        absl::StrAppend(&lines, "load 1 /part-", i, "\nadd 0 1\n");
      }
      absl::StrAppend(&lines, "form ", kForms[random.Below(3)], "\nshow 0\n");
      if (random.OneIn(3)) lines += "save 0 /total.txt\n";
      return lines;
    }
  }
}

Session LedgerSession(Random& random, JobSize size) {
  Session session;
  session.files["settings.txt"] = absl::StrCat("key=", Word(random), "\n");
  session.files["total.txt"] = "0";
  for (int i = 0; i < 18; ++i) {
    if (random.OneIn(8)) continue;
    session.files[absl::StrCat("part-", i)] =
        absl::StrCat(random.Below(1'000'000));
  }
  session.pieces.push_back("clock\n");
  const size_t pieces =
      size == JobSize::kLong ? random.Size(200, 1000) : random.Size(3, 40);
  for (size_t i = 0; i < pieces; ++i) {
    session.pieces.push_back(LedgerPiece(random));
  }
  session.pieces.push_back("save 0 /total.txt\nclock\n");
  return session;
}

Job LedgerJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  return JobOf(LedgerSession(random, size));
}

// The ninth register is where the present form's index is.
std::string Hijack(uint32_t index, uint64_t argument) {
  return absl::StrCat("let 0 ", argument, "\nlet 8 ", index,
                      "\nshow 0\nform plain\n");
}

// --- Attacks
// -------------------------------------------------------------------

// One client's way to do evil.
struct Evil {
  std::string what;
  bool takes_over = false;
  // One after the other; for a drip, one now and then.
  std::vector<std::string> pieces;
};

std::vector<std::string> Repeated(uint64_t times, const std::string& piece) {
  return std::vector<std::string>(times, piece);
}

Evil RecordEvil(AttackKind kind, const TableIndices& at, uint64_t number,
                Random& random) {
  const bool other = number % 2 == 1;
  const std::string victim = RecordName(random);
  switch (kind) {
    case AttackKind::kExfiltration: {
      Evil evil = {"publishes the secret", true, {}};
      evil.pieces = Repeated(1 + random.Below(2),
                             Overlong("/secret", at.at("published")));
      if (other) {
        evil.what += ", and reads it there";
        evil.pieces.push_back(Request(kGet, "/public"));
      }
      return evil;
    }
    case AttackKind::kPathScan: {
      const uint64_t count = 24 + random.Below(40);
      Evil evil;
      evil.takes_over = other;
      evil.what = absl::StrCat(other ? "tries to retire " : "asks for ", count,
                               " names");
      for (uint64_t i = 0; i < count; ++i) {
        const std::string name = absl::StrCat("/", Word(random), i);
        evil.pieces.push_back(other ? Overlong(name, at.at("retired"))
                                    : Request(kMeasure, name));
      }
      return evil;
    }
    case AttackKind::kOrder: {
      const uint64_t count = 8 + random.Below(10);
      Evil evil = {
          absl::StrCat(count, " requests as no client orders them"), false, {}};
      for (uint64_t i = 0; i < count; ++i) {
        switch (random.Below(4)) {
          case 0:
            evil.pieces.push_back(Request(kTime, ""));
            break;
          case 1:
            evil.pieces.push_back(Request(kList, ""));
            break;
          case 2:
            evil.pieces.push_back(Request(kGet, RecordName(random)));
            break;
          default:
            evil.pieces.push_back(Request(kPut, RecordName(random), "x"));
            break;
        }
      }
      return evil;
    }
    case AttackKind::kCallSite: {
      static const char* const kWords[] = {"purged", "cut", "drawn", "retired"};
      const uint64_t which = (number + random.Below(2)) % std::size(kWords);
      return {absl::StrCat("one record is ", kWords[which]),
              true,
              {Overlong(victim, at.at(kWords[which]))}};
    }
    case AttackKind::kBurst: {
      const uint64_t count = 100 + random.Below(300);
      if (other) {
        return {absl::StrCat("draws ", count, " keys"), true,
                Repeated(count, Overlong(victim, at.at("drawn")))};
      }
      return {absl::StrCat("asks ", count, " times for the time"), false,
              Repeated(count, Request(kTime, ""))};
    }
    case AttackKind::kDrip: {
      const uint64_t count = 6 + random.Below(7);
      if (other) {
        return {
            absl::StrCat("asks ", count, " times for the time, now and then"),
            false, Repeated(count, Request(kTime, ""))};
      }
      return {
          absl::StrCat("publishes the secret ", count, " times, now and then"),
          true, Repeated(count, Overlong("/secret", at.at("published")))};
    }
  }
  return {};
}

Evil LedgerEvil(AttackKind kind, const TableIndices& at, uint64_t number,
                Random& random) {
  const bool other = number % 2 == 1;
  switch (kind) {
    case AttackKind::kExfiltration: {
      const uint64_t count = 1 + random.Below(3);
      return {absl::StrCat("tells the settings ", count, " times"), true,
              Repeated(count, Hijack(at.at("told"), 0))};
    }
    case AttackKind::kPathScan: {
      const uint64_t count = 24 + random.Below(40);
      Evil evil;
      evil.takes_over = other;
      evil.what = absl::StrCat(other ? "looks for " : "loads ", count,
                               " names, most of which are not there");
      for (uint64_t i = 0; i < count; ++i) {
        evil.pieces.push_back(
            other ? Hijack(at.at("looked"), 10 + i)
                  : absl::StrCat("load 1 /", Word(random), i, "\n"));
      }
      return evil;
    }
    case AttackKind::kOrder: {
      const uint64_t count = 8 + random.Below(10);
      Evil evil = {
          absl::StrCat(count, " commands as nobody orders them"), false, {}};
      for (uint64_t i = 0; i < count; ++i) {
        switch (random.Below(3)) {
          case 0:
            evil.pieces.push_back("clock\n");
            break;
          case 1:
            evil.pieces.push_back(
                absl::StrCat("save 1 /part-", random.Below(18), "\n"));
            break;
          default:
            evil.pieces.push_back("load 0 /total.txt\n");
            break;
        }
      }
      return evil;
    }
    case AttackKind::kCallSite: {
      static const char* const kWords[] = {"dropped", "made"};
      const char* const word =
          kWords[(number + random.Below(2)) % std::size(kWords)];
      return {absl::StrCat("a number is shown as \"", word, "\""),
              true,
              {Hijack(at.at(word), random.Below(100))}};
    }
    case AttackKind::kBurst: {
      const uint64_t count = 100 + random.Below(300);
      if (other) {
        return {absl::StrCat("makes ", count, " keys"), true,
                Repeated(count, Hijack(at.at("made"), 0))};
      }
      return {absl::StrCat("asks ", count, " times for the clock"), false,
              Repeated(count, "clock\n")};
    }
    case AttackKind::kDrip: {
      const uint64_t count = 6 + random.Below(7);
      if (other) {
        return {
            absl::StrCat("overwrites a part ", count, " times, now and then"),
            false, Repeated(count, "save 0 /part-3\n")};
      }
      return {
          absl::StrCat("tells the settings ", count, " times, now and then"),
          true, Repeated(count, Hijack(at.at("told"), 0))};
    }
  }
  return {};
}

// --- The two of them
// -----------------------------------------------------------

struct Kind {
  const char* name;
  Session (*make_session)(Random&, JobSize);
  Evil (*make_evil)(AttackKind, const TableIndices&, uint64_t, Random&);
  // Input that calls the function with this index.
  std::string (*try_index)(uint32_t);
  std::vector<std::string> words;
};

const Kind& KindOf(const Program& victim) {
  static const auto* const kinds = new std::vector<Kind>{
      {"record_server",
       RecordSession,
       RecordEvil,
       [](uint32_t index) { return Overlong("/x", index); },
       {"purged", "retired", "published", "drawn", "cut"}},
      {"ledger",
       LedgerSession,
       LedgerEvil,
       [](uint32_t index) { return Hijack(index, 0); },
       {"dropped", "told", "made", "looked"}},
  };
  for (const Kind& kind : *kinds) {
    if (kind.name == victim.name) return kind;
  }
  CALLGATE_CHECK(false, "a victim is one of those above");
  return kinds->front();
}

}  // namespace

const std::vector<Program>& Victims() {
  static const auto* const victims = new std::vector<Program>{
      {"record_server", "record_server.wasm", "/", RecordJob, 50},
      {"ledger", "ledger.wasm", "/", LedgerJob, 50},
  };
  return *victims;
}

TableIndices FindHiddenFunctions(GuestRunner& runner) {
  const Kind& kind = KindOf(runner.program());
  TableIndices found;
  for (uint32_t index = 1; index < kTableIndicesTried; ++index) {
    Job job;
    job.stdin_bytes = kind.try_index(index);
    // Most indices are of functions of another type, or of none.
    job.may_trap = true;
    const std::string said = runner.OutputOf(job);
    for (const std::string& word : kind.words) {
      if (absl::StrContains(said, word)) found.emplace(word, index);
    }
  }
  CALLGATE_CHECK(found.size() == kind.words.size(),
                 "the bug reaches every hidden function");
  return found;
}

std::vector<Exploit> MakeExploits(const Program& victim,
                                  const TableIndices& hidden, uint64_t seed,
                                  uint64_t of_each) {
  const Kind& kind = KindOf(victim);
  Random random(seed * 2 + 1);
  std::vector<Exploit> exploits;
  for (size_t k = 0; k < kAttackKinds; ++k) {
    for (uint64_t i = 0; i < of_each; ++i) {
      const auto attack = static_cast<AttackKind>(k);
      const bool is_drip = attack == AttackKind::kDrip;
      const Session honest =
          kind.make_session(random, is_drip ? JobSize::kLong : JobSize::kUsual);
      const Evil evil = kind.make_evil(attack, hidden, i, random);
      Exploit exploit;
      exploit.kind = attack;
      exploit.what = evil.what;
      exploit.takes_over = evil.takes_over;
      exploit.twin = JobOf(honest);
      Session session = honest;
      // Among honest pieces, neither before the first nor after the last.
      size_t at = 1 + random.Below(session.pieces.size() - 2);
      if (is_drip) at = 1;
      const size_t apart =
          is_drip ? (session.pieces.size() - 2) / evil.pieces.size() : 0;
      for (const std::string& piece : evil.pieces) {
        session.pieces.insert(
            session.pieces.begin() + static_cast<std::ptrdiff_t>(at), piece);
        at += 1 + apart;
      }
      exploit.job = JobOf(session);
      exploits.push_back(std::move(exploit));
    }
  }
  return exploits;
}

}  // namespace callgate::anomaly_test
