#include "server/metrics/process_facts.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace callgate::metrics {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_usec) * 1e-6;
}

double CountOpenFds() {
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int entries = 0;
  while (readdir(folder) != nullptr) ++entries;
  closedir(folder);
  // Without ".", ".." and the folder's own descriptor.
  return entries > 3 ? entries - 3 : 0;
}

// Unix time of the machine's start.
double BootTimeSeconds() {
  std::ifstream stat("/proc/stat");
  std::string word;
  while (stat >> word) {
    if (word == "btime") {
      double seconds = 0;
      stat >> seconds;
      return seconds;
    }
    stat.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

double StartTimeSeconds() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The second field is the program's name in parentheses, and may hold spaces
  // and parentheses itself; the start time is field 22, in ticks since boot.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream rest(line.substr(name_end + 1));
  std::string field;
  for (int number = 3; number <= 22; ++number) {
    if (!(rest >> field)) return 0;
  }
  const double boot = BootTimeSeconds();
  if (boot == 0) return 0;
  return boot + std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

ProcessFacts ReadProcessFacts() {
  ProcessFacts facts;
  rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    facts.cpu_seconds = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  }
  rlimit fds = {};
  if (getrlimit(RLIMIT_NOFILE, &fds) == 0) {
    facts.max_fds = static_cast<double>(fds.rlim_cur);
  }
  const double page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
  double virtual_pages = 0;
  double resident_pages = 0;
  std::ifstream statm("/proc/self/statm");
  if (statm >> virtual_pages >> resident_pages) {
    facts.virtual_bytes = virtual_pages * page_bytes;
    facts.resident_bytes = resident_pages * page_bytes;
  }
  facts.open_fds = CountOpenFds();
  static const double start_time_seconds = StartTimeSeconds();
  facts.start_time_seconds = start_time_seconds;
  return facts;
}

}  // namespace callgate::metrics
