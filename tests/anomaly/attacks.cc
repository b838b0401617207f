#include "tests/anomaly/attacks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::anomaly_test {
namespace {

using policy::anomaly::ErrnoClass;

// No function of any program.
constexpr uint32_t kStrangeFunction = 900'000;

class Maker {
 public:
  Maker(AttackKind kind, const Trace& base, const Donors& donors,
        Random& random)
      : donors_(donors), random_(random) {
    attack_.kind = kind;
    attack_.trace = base;
  }

  Attack Make() {
    switch (attack_.kind) {
      case AttackKind::kExfiltration:
        Exfiltrate();
        break;
      case AttackKind::kPathScan:
        Scan();
        break;
      case AttackKind::kOrder:
        Reorder();
        break;
      case AttackKind::kCallSite:
        ChangeSites();
        break;
      case AttackKind::kBurst:
        Burst();
        break;
      case AttackKind::kDrip:
        Drip();
        break;
    }
    return std::move(attack_);
  }

 private:
  std::vector<Trace::Call>& calls() { return attack_.trace.calls; }

  // Not in the first quarter, and not the very last.
  size_t SomePlace(size_t from_the_end = 1) {
    const size_t begin = calls().size() / 4;
    return begin + random_.Below(calls().size() - begin - from_the_end);
  }

  // A call of `import` by somebody who took the program over before call `at`.
  uint32_t Site(absl::string_view import, size_t at) {
    Trace::Site site = donors_.SiteOf(import, random_);
    if (!same_sites_) {
      // The stub that makes the call, and below it what was there.
      const std::vector<uint32_t>& below =
          attack_.trace.sites[calls()[at].site].functions;
      site.functions.resize(std::min<size_t>(1, site.functions.size()));
      if (!below.empty()) {
        site.functions.insert(site.functions.end(), below.begin() + 1,
                              below.end());
      }
    }
    return attack_.trace.AddSite(site);
  }

  void ChooseSites() {
    same_sites_ = random_.OneIn(2);
    how_ = same_sites_ ? "from the program's own call sites"
                       : "from where it was taken over";
  }

  void InsertAt(size_t at, const std::vector<Trace::Call>& injected) {
    attack_.first = at;
    attack_.last = at + injected.size() - 1;
    calls().insert(calls().begin() + static_cast<ptrdiff_t>(at),
                   injected.begin(), injected.end());
  }

  void Exfiltrate() {
    ChooseSites();
    // After a read, if there is one.
    size_t at = SomePlace();
    for (size_t i = 0; i < calls().size(); ++i) {
      const size_t place = (at + i) % calls().size();
      if (place + 1 < calls().size() && place >= calls().size() / 4 &&
          attack_.trace.sites[calls()[place].site].name == "fd_read") {
        at = place + 1;
        break;
      }
    }
    std::vector<Trace::Call> injected = {
        {Site("path_open", at), ErrnoClass::kOk}};
    const uint64_t reads = 1 + random_.Below(4);
    const uint64_t writes = 1 + random_.Below(4);
    for (uint64_t i = 0; i < reads; ++i) {
      injected.push_back({Site("fd_read", at), ErrnoClass::kOk});
    }
    for (uint64_t i = 0; i < writes; ++i) {
      injected.push_back({Site("fd_write", at), ErrnoClass::kOk});
    }
    injected.push_back({Site("fd_close", at), ErrnoClass::kOk});
    InsertAt(at, injected);
    attack_.what =
        absl::StrCat("opens, ", reads, " reads, ", writes, " writes, ", how_);
  }

  void Scan() {
    ChooseSites();
    const size_t at = SomePlace();
    const uint64_t names = random_.Size(8, 60);
    const char* const import =
        random_.OneIn(3) ? "path_filestat_get" : "path_open";
    const uint32_t site = Site(import, at);
    InsertAt(at, std::vector<Trace::Call>(names, {site, ErrnoClass::kAbsent}));
    attack_.what = absl::StrCat(names, " x ", import, ", ", how_);
  }

  void Reorder() {
    const size_t length =
        std::min<size_t>(4 + random_.Below(9), calls().size() / 2);
    const auto name = [this](const Trace::Call& call) -> const std::string& {
      return attack_.trace.sites[call.site].name;
    };
    const auto at_place = [this](size_t place) {
      return calls().begin() + static_cast<ptrdiff_t>(place);
    };
    // Of calls of one import there is one order alone.
    const auto different = [&](size_t from) {
      return std::any_of(at_place(from), at_place(from + length),
                         [&](const Trace::Call& call) {
                           return name(call) != name(calls()[from]);
                         });
    };
    size_t at = SomePlace(length);
    for (size_t i = 0; i < calls().size() && !different(at); ++i) {
      at = (at + 1) % (calls().size() - length);
    }
    const std::vector<Trace::Call> before(at_place(at), at_place(at + length));
    const auto same = [&] {
      return std::equal(before.begin(), before.end(), at_place(at),
                        [&](const Trace::Call& a, const Trace::Call& b) {
                          return name(a) == name(b);
                        });
    };
    for (int tries = 0; tries < 100 && (tries == 0 || same()); ++tries) {
      for (size_t i = length - 1; i > 0; --i) {
        std::swap(calls()[at + i], calls()[at + random_.Below(i + 1)]);
      }
    }
    attack_.first = at;
    attack_.last = at + length - 1;
    attack_.what = absl::StrCat("shuffles ", length, " calls");
  }

  void ChangeSites() {
    const uint64_t count = 1 + random_.Below(3);
    size_t at = SomePlace(static_cast<size_t>(count));
    attack_.first = at;
    for (uint64_t i = 0; i < count && at < calls().size(); ++i, ++at) {
      const Trace::Site& here = attack_.trace.sites[calls()[at].site];
      Trace::Site site = donors_.Any(random_);
      for (int tries = 0; tries < 50 && site.name == here.name; ++tries) {
        site = donors_.Any(random_);
      }
      // The wrong function of the table does what it does, with the frames that
      // it has, above the frame of whoever called through the table.
      site.functions.resize(std::min<size_t>(2, site.functions.size()));
      if (here.functions.size() > 2) {
        site.functions.insert(site.functions.end(), here.functions.begin() + 2,
                              here.functions.end());
      }
      attack_.what = absl::StrCat(attack_.what, i == 0 ? "" : ", ", site.name,
                                  " where ", here.name, " was due");
      const uint32_t number = attack_.trace.AddSite(site);
      calls()[at] = {number, ErrnoClass::kOk};
      attack_.last = at;
    }
  }

  void Burst() {
    ChooseSites();
    const size_t at = SomePlace();
    const uint64_t times = random_.Size(40, 400);
    static constexpr const char* kImports[] = {"fd_write", "fd_read", "fd_seek",
                                               "path_open", "clock_time_get"};
    const char* const import = kImports[random_.Below(5)];
    const uint32_t site = Site(import, at);
    InsertAt(at, std::vector<Trace::Call>(times, {site, ErrnoClass::kOk}));
    attack_.what = absl::StrCat(times, " x ", import, ", ", how_);
  }

  void Drip() {
    ChooseSites();
    // Drops, and not one drop.
    constexpr size_t kDropsMin = 6;
    static constexpr const char* kImports[] = {"fd_write", "fd_read", "fd_seek",
                                               "path_open"};
    const char* const import = kImports[random_.Below(4)];
    const std::vector<Trace::Call> own = calls();
    const size_t begin = own.size() / 4 + random_.Below(own.size() / 4);
    const size_t gap = std::max<size_t>(
        1, std::min(random_.Size(30, 300), (own.size() - begin) / kDropsMin));
    const uint32_t site = Site(import, begin);
    calls().clear();
    uint64_t drops = 0;
    for (size_t i = 0; i < own.size(); ++i) {
      if (i >= begin && (i - begin) % gap == 0) {
        if (drops++ == 0) attack_.first = calls().size();
        attack_.last = calls().size();
        calls().push_back({site, ErrnoClass::kOk});
      }
      calls().push_back(own[i]);
    }
    attack_.what =
        absl::StrCat(drops, " x ", import, ", one in ", gap, " calls, ", how_);
  }

  const Donors& donors_;
  Random& random_;
  Attack attack_;
  bool same_sites_ = false;
  std::string how_;
};

}  // namespace

absl::string_view AttackKindName(AttackKind kind) {
  switch (kind) {
    case AttackKind::kExfiltration:
      return "exfiltration after read";
    case AttackKind::kPathScan:
      return "path scan";
    case AttackKind::kOrder:
      return "unusual order";
    case AttackKind::kCallSite:
      return "odd call site";
    case AttackKind::kBurst:
      return "burst";
    case AttackKind::kDrip:
      return "slow drip";
  }
  return "unknown";
}

void Donors::Learn(const Trace& trace) {
  for (const Trace::Site& site : trace.sites) {
    const bool known = std::any_of(
        sites_.begin(), sites_.end(), [&](const Trace::Site& other) {
          return other.name == site.name && other.functions == site.functions;
        });
    if (!known) sites_.push_back(site);
  }
}

Trace::Site Donors::SiteOf(absl::string_view import, Random& random) const {
  std::vector<const Trace::Site*> of_import;
  for (const Trace::Site& site : sites_) {
    if (site.name == import) of_import.push_back(&site);
  }
  if (of_import.empty()) {
    return {"wasi_snapshot_preview1",
            std::string(import),
            {kStrangeFunction, kStrangeFunction + 1}};
  }
  return *of_import[random.Below(of_import.size())];
}

Trace::Site Donors::Any(Random& random) const {
  CALLGATE_CHECK(!sites_.empty(), "some clean run was learned from");
  return sites_[random.Below(sites_.size())];
}

Attack MakeAttack(AttackKind kind, const Trace& base, const Donors& donors,
                  Random& random) {
  CALLGATE_CHECK(base.calls.size() >= kBaseCallsMin,
                 "an attack has a run to hide in");
  return Maker(kind, base, donors, random).Make();
}

std::vector<ScriptAttack> ScriptAttacks(uint64_t seed) {
  Random random(seed);
  constexpr char kHonest[] = R"lua(local n = 0
for l in io.lines("/input.txt") do n = n + #l end
print(n)
)lua";
  std::vector<ScriptAttack> attacks;
  const auto add = [&](AttackKind kind, absl::string_view what,
                       const std::string& script) {
    ScriptAttack attack;
    attack.kind = kind;
    attack.what = std::string(what);
    attack.job.env = {"TENANT=acme"};
    attack.job.args = {"/main.lua"};
    attack.job.files["main.lua"] = absl::StrCat(kHonest, script);
    attack.job.files["input.txt"] = Prose(random, random.Size(500, 8000));
    attack.job.files["secret.txt"] = Prose(random, random.Size(100, 5000));
    attacks.push_back(std::move(attack));
  };
  add(AttackKind::kExfiltration, "reads a secret and prints it in hexadecimal",
      R"lua(local s = assert(io.open("/secret.txt", "rb")):read("a")
io.stdout:setvbuf("no")
for i = 1, #s do io.write(string.format("%02x", s:byte(i))) end
)lua");
  add(AttackKind::kExfiltration, "copies a secret over the input, byte by byte",
      R"lua(local s = assert(io.open("/secret.txt", "rb"))
local t = assert(io.open("/input.txt", "r+b"))
t:setvbuf("no")
while true do
  local c = s:read(1)
  if not c then break end
  t:seek("cur", 3)
  t:write(c)
end
)lua");
  add(AttackKind::kPathScan, "tries 200 names",
      R"lua(for i = 1, 200 do
  local f = io.open("/etc/passwd" .. i)
  if f then print("found", i) f:close() end
end
)lua");
  add(AttackKind::kPathScan, "tries to remove 40 names",
      "for i = 1, 40 do os.remove('/var/lib/' .. i) end\n");
  add(AttackKind::kOrder, "renames back and forth",
      R"lua(for i = 1, 5 do
  os.rename("/input.txt", "/moved.txt")
  local f = io.open("/moved.txt") f:close()
  os.rename("/moved.txt", "/input.txt")
end
)lua");
  add(AttackKind::kOrder, "seeks before every read",
      R"lua(local f = assert(io.open("/input.txt", "rb"))
f:setvbuf("no")
for i = 1, 30 do f:seek("set", i * 7 % 50) f:read(3) end
)lua");
  add(AttackKind::kBurst, "asks for the time 2,000 times",
      "for i = 1, 2000 do os.time() end\n");
  add(AttackKind::kBurst, "flushes nothing 500 times, between seeks",
      R"lua(local f = assert(io.open("/log.txt", "w"))
for i = 1, 500 do f:seek("end") f:flush() end
)lua");
  add(AttackKind::kDrip, "a byte of a secret with every hundredth line",
      R"lua(local s = assert(io.open("/secret.txt", "rb")):read("a")
local log = assert(io.open("/log.txt", "a"))
log:setvbuf("line")
for i = 1, 2000 do
  log:write("entry ", i, "\n")
  if i % 100 == 0 then
    local f = io.open("/drop.txt", "a")
    f:write(s:sub(i / 100, i / 100))
    f:close()
  end
end
)lua");
  return attacks;
}

}  // namespace callgate::anomaly_test
