// A small language for sums, one command a line, with eight registers:
//
//   let I N      register I is N                 add I J     I is I + J
//   show I       writes I in the present form    form plain|hex|bar
//   load I NAME  I is the number in a file       save I NAME
//   clock        whether time goes on
//
// The bug is an index that is one too large: `let 8 N` is let through, and
// where a ninth register would be lies the index, in the program's function
// table, of the function that writes in the present form. It is called with the
// next `show`.
//
// The functions under "upkeep" are of that function's type and called by
// `--upkeep N` alone, which nobody uses.

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REGISTERS 8

typedef void (*form)(int32_t);

static struct {
  int32_t registers[REGISTERS];
  form show;
} machine;

static void say(const char* text) {
  const size_t size = strlen(text);
  if (write(1, text, size) != (ssize_t)size) exit(2);
}

// --- Forms
// ---------------------------------------------------------------------

static void show_plain(int32_t n) {
  char text[16];
  snprintf(text, sizeof text, "%d\n", (int)n);
  say(text);
}

static void show_hex(int32_t n) {
  char text[16];
  snprintf(text, sizeof text, "0x%x\n", (unsigned)n);
  say(text);
}

// A piece at a time.
static void show_bar(int32_t n) {
  for (int32_t i = 0; i < (n & 7); ++i) say("#");
  say("\n");
}

// --- Upkeep
// --------------------------------------------------------------------

static void drop_totals(int32_t n) {
  (void)n;
  if (unlink("/total.txt") != 0) say("no totals\n");
  say("dropped\n");
}

// The settings, to whoever reads the output.
static void tell_settings(int32_t n) {
  (void)n;
  const int file = open("/settings.txt", O_RDONLY);
  char piece[33];
  ssize_t got;
  while (file >= 0 && (got = read(file, piece, sizeof piece - 1)) > 0) {
    piece[got] = '\0';
    say(piece);
  }
  if (file >= 0) close(file);
  say("told\n");
}

static void make_key(int32_t n) {
  (void)n;
  unsigned char key[16];
  say(getentropy(key, sizeof key) == 0 ? "made\n" : "not made\n");
}

// Looks which of the usual files are there.
static void look_around(int32_t n) {
  char name[24];
  snprintf(name, sizeof name, "/part-%d", (int)n);
  say(access(name, R_OK) == 0 ? "there: looked\n" : "looked\n");
}

static const form upkeep[] = {drop_totals, tell_settings, make_key,
                              look_around};
#define UPKEEP (sizeof upkeep / sizeof upkeep[0])

// --- Commands
// ------------------------------------------------------------------

static int32_t* register_at(int index) {
  if (index < 0 || index > REGISTERS) exit(3);  // the bug
  return &machine.registers[index];
}

static void load(int index, const char* name) {
  char text[16];
  const int file = open(name, O_RDONLY);
  if (file < 0) {
    say("no such file\n");
    return;
  }
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  text[got < 0 ? 0 : got] = '\0';
  *register_at(index) = (int32_t)strtol(text, NULL, 10);
}

static void save(int index, const char* name) {
  char text[16];
  const int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0) {
    say("not saved\n");
    return;
  }
  const int size = snprintf(text, sizeof text, "%d", (int)*register_at(index));
  if (write(file, text, (size_t)size) != size) exit(2);
  close(file);
}

static __attribute__((noinline)) void obey(char* line) {
  const char* const verb = strtok(line, " ");
  const char* const first = strtok(NULL, " ");
  const char* const second = strtok(NULL, " ");
  if (verb == NULL) return;
  const int index = first == NULL ? 0 : atoi(first);
  if (strcmp(verb, "let") == 0 && second != NULL) {
    *register_at(index) = (int32_t)strtol(second, NULL, 10);
  } else if (strcmp(verb, "add") == 0 && second != NULL) {
    *register_at(index) = (int32_t)((uint32_t)*register_at(index) +
                                    (uint32_t)*register_at(atoi(second)));
  } else if (strcmp(verb, "show") == 0) {
    machine.show(*register_at(index));
  } else if (strcmp(verb, "form") == 0 && first != NULL) {
    machine.show = first[0] == 'h'   ? show_hex
                   : first[0] == 'b' ? show_bar
                                     : show_plain;
  } else if (strcmp(verb, "load") == 0 && second != NULL) {
    load(index, second);
  } else if (strcmp(verb, "save") == 0 && second != NULL) {
    save(index, second);
  } else if (strcmp(verb, "clock") == 0) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    say(now.tv_nsec >= 0 ? "goes\n" : "stands\n");
  } else {
    say("what?\n");
  }
}

int main(int argc, char** argv) {
  machine.show = show_plain;
  if (argc == 3 && strcmp(argv[1], "--upkeep") == 0) {
    const size_t which = (size_t)atoi(argv[2]);
    if (which >= UPKEEP) return 1;
    upkeep[which](0);
    return 0;
  }
  static char line[256];
  size_t size = 0;
  static char piece[512];
  ssize_t got;
  while ((got = read(0, piece, sizeof piece)) > 0) {
    for (ssize_t i = 0; i < got; ++i) {
      if (piece[i] != '\n') {
        if (size + 1 < sizeof line) line[size++] = piece[i];
        continue;
      }
      line[size] = '\0';
      size = 0;
      obey(line);
    }
  }
  return 0;
}
