#include "tests/anomaly/workload.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/anomaly/made_text.h"

namespace callgate::anomaly_test {
namespace {

// --- Lua: scripts of everyday kinds
// -------------------------------------------

constexpr const char* kLuaScripts[] = {
    // Counts words, and writes what it found into a file.
    R"lua(local c = {}
for l in io.lines("/input.txt") do
  for w in l:gmatch("%a+") do c[w] = (c[w] or 0) + 1 end
end
local k = {}
for w in pairs(c) do k[#k + 1] = w end
table.sort(k, function(a, b) return c[a] > c[b] or (c[a] == c[b] and a < b) end)
for i = 1, math.min(15, #k) do print(k[i], c[k[i]]) end
local f = assert(io.open("/out.txt", "w"))
f:write(#k, "\n")
f:close()
)lua",
    // Prints the lines that match.
    R"lua(local n = 0
for l in io.lines("/input.txt") do
  if l:find(arg[1] or "a", 1, true) then print(l) n = n + 1 end
end
io.stderr:write(n, " lines\n")
)lua",
    // Adds up a column, twice over.
    R"lua(local f = assert(io.open("/table.csv"))
f:read("l")
local sum, rows = 0, 0
for l in f:lines() do
  local v = l:match(",(%d+)$")
  if v then sum = sum + tonumber(v) rows = rows + 1 end
end
f:seek("set", 0)
local head = f:read(8)
f:close()
print(head, rows, sum, string.format("%.3f", sum / math.max(rows, 1)))
)lua",
    // Copies a file in pieces.
    R"lua(local from = assert(io.open("/input.txt", "rb"))
local to = assert(io.open("/copy.bin", "wb"))
local size = tonumber(arg[1]) or 512
while true do
  local piece = from:read(size)
  if not piece then break end
  to:write(piece)
end
from:close()
to:close()
os.rename("/copy.bin", "/done.bin")
print("copied")
)lua",
    // Changes what comes in.
    R"lua(local n = 0
for l in io.lines() do
  io.write(l:upper(), "\n")
  n = n + #l
end
print(n)
)lua",
    // Reads a configuration that may not be there, then computes.
    R"lua(local f = io.open("/config.lua")
local rounds = 10
if f then rounds = tonumber(f:read("a")) or rounds f:close() end
local began = os.clock()
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
for i = 1, rounds do print(i, fib(i % 12), os.time() > 0) end
print(os.clock() >= began, os.getenv("TENANT"))
)lua",
    // Keeps a log, each line written at once.
    R"lua(local log = assert(io.open("/log.txt", "a"))
log:setvbuf("line")
for i = 1, tonumber(arg[1]) or 20 do
  log:write("entry ", i, "\n")
  if i % 7 == 0 then log:flush() end
end
log:close()
os.remove("/old.txt")
)lua",
    // Answers each line, as a filter in a pipe does.
    R"lua(io.stdout:setvbuf("no")
for l in io.lines() do io.write("<", #l, ">\n") end
)lua",
};

Job LuaJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  const bool is_long = size == JobSize::kLong;
  Job job;
  job.env = {"TENANT=acme"};
  // The long ones are those that call most.
  const size_t script = is_long ? (random.OneIn(4) ? 3 : 6 + random.Below(2))
                                : random.Below(std::size(kLuaScripts));
  job.files["main.lua"] = kLuaScripts[script];
  job.args = {"/main.lua"};
  const size_t bytes =
      is_long ? random.Size(400'000, 1'600'000) : random.Size(60, 40'000);
  switch (script) {
    case 0:
    case 1:
    case 3:
      job.files["input.txt"] = Prose(random, bytes);
      if (script == 1) job.args.push_back(Word(random));
      if (script == 3) job.args.push_back(absl::StrCat(64 << random.Below(6)));
      break;
    case 2:
      job.files["table.csv"] = Table(random, bytes);
      break;
    case 5:
      if (random.OneIn(2)) {
        job.files["config.lua"] = absl::StrCat(random.Below(200));
      }
      break;
    case 6:
      job.args.push_back(absl::StrCat(is_long ? 20'000 + random.Below(60'000)
                                              : random.Size(1, 2000)));
      if (random.OneIn(2)) job.files["old.txt"] = "old";
      if (random.OneIn(2)) job.files["log.txt"] = "begun\n";
      break;
    default:
      job.stdin_bytes = Prose(random, bytes);
      break;
  }
  // By lines, the long ones: that is most calls.
  job.is_terminal = random.OneIn(4) || size == JobSize::kLong;
  return job;
}

// --- The others
// ----------------------------------------------------------------

Job SchemeJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  Job job;
  job.env = {"TINYSCHEMEINIT=init.scm"};
  job.args = {"main.scm"};
  const uint64_t rounds =
      size == JobSize::kLong ? 3000 + random.Below(5000) : random.Size(1, 300);
  switch (random.Below(4)) {
    case 0:
      job.files["main.scm"] = absl::StrCat(
          "(define (loop n) (if (> n 0) (begin (display (* n n)) (newline) "
          "(loop (- n 1)))))\n(loop ",
          rounds, ")\n");
      break;
    case 1:
      job.files["main.scm"] = absl::StrCat(
          "(define p (open-output-file \"out.txt\"))\n"
          "(define (loop n) (if (> n 0) (begin (write n p) (newline p) (loop "
          "(- n 1)))))\n(loop ",
          rounds, ")\n(close-output-port p)\n(display \"done\")\n(newline)\n");
      break;
    case 2:
      job.files["input.txt"] = Prose(
          random, size == JobSize::kLong ? 60'000 : random.Size(40, 4'000));
      job.files["main.scm"] =
          "(define p (open-input-file \"input.txt\"))\n"
          "(define (count n) (if (eof-object? (read-char p)) n (count (+ n "
          "1))))\n(display (count 0))\n(newline)\n(close-input-port p)\n";
      break;
    default:
      job.files["main.scm"] = absl::StrCat(
          "(define (fact n) (if (= n 0) 1 (* n (fact (- n 1)))))\n"
          "(display (map fact (list 1 2 3 ",
          random.Below(12), ")))\n(newline)\n(display (list-tail (list 1 2 3) ",
          random.Below(3), "))\n(newline)\n");
      break;
  }
  // By lines, the long ones: that is most calls.
  job.is_terminal = random.OneIn(4) || size == JobSize::kLong;
  return job;
}

Job EntJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  Job job;
  static constexpr const char* kFlags[] = {"", "-b", "-c", "-t", "-f", "-u"};
  const std::string flag = kFlags[random.Below(5)];
  if (!flag.empty()) job.args = {flag};
  if (random.OneIn(3)) job.args.push_back("-t");
  const size_t bytes = size == JobSize::kLong ? random.Size(8 << 20, 32 << 20)
                                              : random.Size(1, 200'000);
  job.stdin_bytes = random.OneIn(2) && size != JobSize::kLong
                        ? Prose(random, bytes)
                        : Noise(random, bytes);
  if (size != JobSize::kLong && random.OneIn(6)) {
    job.files["data.bin"] = std::move(job.stdin_bytes);
    job.stdin_bytes.clear();
    job.args.push_back("/data.bin");
  }
  // By lines, the long ones: that is most calls.
  job.is_terminal = random.OneIn(4) || size == JobSize::kLong;
  return job;
}

Job JsonJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  Job job;
  static constexpr const char* kFlags[] = {"", "-m", "-u", "-e"};
  const std::string flag = kFlags[random.Below(4)];
  if (!flag.empty()) job.args = {flag};
  job.stdin_bytes =
      Json(random, size == JobSize::kLong ? random.Size(4 << 20, 16 << 20)
                                          : random.Size(4, 300'000));
  if (size != JobSize::kLong && random.OneIn(10)) {
    job.stdin_bytes[job.stdin_bytes.size() / 2] = '}';
  }
  // By lines, the long ones: that is most calls.
  job.is_terminal = random.OneIn(4) || size == JobSize::kLong;
  return job;
}

Job CmarkJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  Job job;
  static constexpr const char* kForms[] = {"html", "xml", "man", "commonmark",
                                           "latex"};
  if (random.OneIn(40)) {
    job.args = {"--version"};
    return job;
  }
  job.args = {"-t", kForms[random.Below(5)]};
  if (random.OneIn(3)) job.args.push_back("--smart");
  std::string text =
      Markdown(random, size == JobSize::kLong ? random.Size(1 << 20, 4 << 20)
                                              : random.Size(10, 100'000));
  if (random.OneIn(2)) {
    job.files["in.md"] = std::move(text);
    job.args.push_back("/in.md");
    if (random.OneIn(3)) {
      job.files["more.md"] = Markdown(random, random.Size(10, 20'000));
      job.args.push_back("/more.md");
    }
    if (random.OneIn(10)) job.args.push_back("/missing.md");
  } else {
    job.stdin_bytes = std::move(text);
  }
  // By lines, the long ones: that is most calls.
  job.is_terminal = random.OneIn(4) || size == JobSize::kLong;
  return job;
}

Job MinigzipJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  Job job;
  const size_t bytes = size == JobSize::kLong ? random.Size(8 << 20, 24 << 20)
                                              : random.Size(1, 300'000);
  job.stdin_bytes =
      random.OneIn(3) ? Noise(random, bytes) : Prose(random, bytes);
  const std::string level = absl::StrCat("-", 1 + random.Below(9));
  if (size == JobSize::kLong) {
    job.args_before = {"-1"};
    job.args = {"-d"};
  } else if (random.OneIn(2)) {
    job.args = {level};
  } else {
    job.args_before = {level};
    job.args = {"-d"};
  }
  return job;
}

Job Bzip2Job(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  Job job;
  const size_t bytes = size == JobSize::kLong ? random.Size(500'000, 2'000'000)
                                              : random.Size(1, 150'000);
  job.stdin_bytes =
      random.OneIn(4) ? Noise(random, bytes) : Prose(random, bytes);
  const std::string level = absl::StrCat("-", 1 + random.Below(9));
  switch (random.Below(size == JobSize::kLong ? 3 : 8)) {
    case 0:
    case 3:
      job.args = {"-zc", level};
      break;
    case 1:
    case 4:
      job.args_before = {"-zc", level};
      job.args = {"-dc"};
      break;
    case 2:
    case 5:
      job.args_before = {"-zc", level};
      job.args = {"-t"};
      break;
    case 6:
      job.args = {"-dc"};  // of what is not compressed
      break;
    default:
      job.files["file.txt"] = std::move(job.stdin_bytes);
      job.stdin_bytes.clear();
      job.args = {"-k", level, "/file.txt"};
      break;
  }
  return job;
}

Job YamlJob(uint64_t seed, JobSize size) {
  Random random(seed * 2 + 1);
  Job job;
  job.args = {"/in.yaml"};
  job.files["in.yaml"] =
      Yaml(random, size == JobSize::kLong ? random.Size(200'000, 800'000)
                                          : random.Size(5, 60'000));
  // By lines, the long ones: that is most calls.
  job.is_terminal = random.OneIn(4) || size == JobSize::kLong;
  return job;
}

}  // namespace

const std::vector<Program>& Programs() {
  static const auto* const programs = new std::vector<Program>{
      {"lua", "apps/deb-lua.wasm", "/", LuaJob, 55},
      {"tinyscheme", "apps/deb-tinyscheme.wasm", ".", SchemeJob, 1,
       "apps/deb-tinyscheme.dir/init.scm"},
      {"ent", "apps/deb-ent.wasm", "/", EntJob, 5},
      {"json-reformat", "apps/deb-json-reformat.wasm", "/", JsonJob, 0},
      {"cmark", "apps/deb-cmark.wasm", "/", CmarkJob, 1},
      {"minigzip", "apps/deb-minigzip.wasm", "/", MinigzipJob, 0},
      {"bzip2", "apps/deb-bzip2.wasm", "/", Bzip2Job, 0},
      {"yaml-parser", "apps/deb-yaml-run-parser-test-suite.wasm", "/", YamlJob,
       38},
  };
  return *programs;
}

}  // namespace callgate::anomaly_test
