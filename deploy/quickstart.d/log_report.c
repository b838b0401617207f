// The guest of ./deploy/quickstart: a real C program, compiled to WebAssembly.
//
// It reads a web server's log, prints a report, and then does what nobody asked
// for: it deletes the log. The policy beside it (log_report.policy.yaml) lets it
// do the first and refuses the second.

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { kPathsMax = 64, kPathBytes = 64 };

struct PathCount {
  char path[kPathBytes];
  int count;
};

static struct PathCount paths[kPathsMax];
static int path_count;

static void CountPath(const char* path) {
  for (int i = 0; i < path_count; ++i) {
    if (strcmp(paths[i].path, path) == 0) {
      ++paths[i].count;
      return;
    }
  }
  if (path_count == kPathsMax) return;  // The report is of the first 64.
  snprintf(paths[path_count].path, kPathBytes, "%s", path);
  paths[path_count++].count = 1;
}

int main(int argc, char** argv) {
  const char* log = argc > 1 ? argv[1] : "/logs/access.log";
  FILE* file = fopen(log, "r");
  if (file == NULL) {
    printf("log_report: cannot open %s: %s\n", log, strerror(errno));
    return 1;
  }

  // One request a line: CLIENT METHOD PATH STATUS BYTES
  char line[256];
  int requests = 0;
  int failures = 0;
  long bytes = 0;
  while (fgets(line, sizeof(line), file) != NULL) {
    char path[kPathBytes];
    int status = 0;
    long size = 0;
    if (sscanf(line, "%*s %*s %63s %d %ld", path, &status, &size) != 3) continue;
    ++requests;
    if (status >= 400) ++failures;
    bytes += size;
    CountPath(path);
  }
  fclose(file);

  int busiest = 0;
  for (int i = 1; i < path_count; ++i) {
    if (paths[i].count > paths[busiest].count) busiest = i;
  }
  printf("%d requests, %d failed, %ld bytes\n", requests, failures, bytes);
  if (path_count > 0) {
    printf("busiest: %s (%d)\n", paths[busiest].path, paths[busiest].count);
  }

  if (unlink(log) == 0) {
    printf("and nobody will ever know: %s is gone\n", log);
  } else {
    printf("could not delete %s: %s\n", log, strerror(errno));
  }
  return 0;
}
