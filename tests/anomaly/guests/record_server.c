// Keeps small records in files: what a plain server of a plain protocol looks
// like, with the bug that such servers have.
//
// It answers requests from standard input until that ends. A request is
//
//   operation (1 byte), n (1 byte), name (n bytes), m (2 bytes), body (m bytes)
//
// and the bug is that a name longer than NAME_MAX_BYTES is copied whole: the
// bytes behind it are the index, in the program's function table, of the
// function that is about to handle the request. Whoever writes the request says
// which function that is, as long as its type fits.
//
// The functions under "maintenance" are of that type, and are reached by
// `--maintain N NAME` alone, which nobody uses.

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_MAX_BYTES 32
#define BODY_MAX_BYTES 4096

struct request;
typedef int (*handler)(struct request*);

struct request {
  char name[NAME_MAX_BYTES];
  handler handle;
  uint32_t size;
  unsigned char body[BODY_MAX_BYTES];
};

// --- Input
// ---------------------------------------------------------------------

static unsigned char input[512];
static size_t input_at, input_size;

static int next_byte(void) {
  if (input_at == input_size) {
    const ssize_t got = read(0, input, sizeof input);
    if (got <= 0) return -1;
    input_at = 0;
    input_size = (size_t)got;
  }
  return input[input_at++];
}

static void say(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t put = write(1, text, size);
    if (put <= 0) exit(2);
    text += put;
    size -= (size_t)put;
  }
}

static void say_text(const char* text) { say(text, strlen(text)); }

// --- What clients may ask for
// --------------------------------------------------

static int keep(struct request* r, int flags) {
  const int file = open(r->name, O_WRONLY | O_CREAT | flags, 0600);
  if (file < 0) return 1;
  const ssize_t put = write(file, r->body, r->size);
  close(file);
  if (put != (ssize_t)r->size) return 1;
  say_text("kept\n");
  return 0;
}

static int put_record(struct request* r) { return keep(r, O_TRUNC); }
static int append_record(struct request* r) { return keep(r, O_APPEND); }

static int get_record(struct request* r) {
  const int file = open(r->name, O_RDONLY);
  if (file < 0) return 1;
  char piece[256];
  ssize_t got;
  while ((got = read(file, piece, sizeof piece)) > 0) say(piece, (size_t)got);
  close(file);
  return 0;
}

static int measure_record(struct request* r) {
  struct stat about;
  if (stat(r->name, &about) != 0) return 1;
  char text[40];
  say(text,
      (size_t)snprintf(text, sizeof text, "%lld\n", (long long)about.st_size));
  return 0;
}

static int tell_time(struct request* r) {
  (void)r;
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 1;
  say_text(now.tv_nsec >= 0 ? "now\n" : "never\n");
  return 0;
}

static int add_up(struct request* r) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < r->size; ++i) sum = sum * 31 + r->body[i];
  char text[16];
  say(text, (size_t)snprintf(text, sizeof text, "%08x\n", (unsigned)sum));
  return 0;
}

static int list_records(struct request* r) {
  (void)r;
  DIR* folder = opendir("/");
  if (folder == NULL) return 1;
  unsigned count = 0;
  while (readdir(folder) != NULL) ++count;
  closedir(folder);
  char text[24];
  say(text, (size_t)snprintf(text, sizeof text, "%u records\n", count));
  return 0;
}

static const handler operations[] = {
    put_record, get_record, append_record, measure_record,
    tell_time,  add_up,     list_records,
};
#define OPERATIONS (sizeof operations / sizeof operations[0])

// --- Maintenance
// ---------------------------------------------------------------

static int purge_record(struct request* r) {
  const int gone = unlink(r->name);
  say_text("purged\n");
  return gone;
}

static int retire_record(struct request* r) {
  const int moved = rename(r->name, "/retired");
  say_text("retired\n");
  return moved;
}

// Copies a record to where others look.
static int publish_record(struct request* r) {
  const int from = open(r->name, O_RDONLY);
  const int to = open("/public", O_WRONLY | O_CREAT | O_APPEND, 0600);
  char piece[64];
  ssize_t got;
  while (from >= 0 && to >= 0 && (got = read(from, piece, sizeof piece)) > 0) {
    if (write(to, piece, (size_t)got) != got) break;
  }
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  say_text("published\n");
  return 0;
}

static int draw_key(struct request* r) {
  const int drawn = getentropy(r->body, 16);
  say_text("drawn\n");
  return drawn;
}

static int cut_record(struct request* r) {
  const int file = open(r->name, O_WRONLY);
  const int cut = file < 0 ? 1 : ftruncate(file, 0);
  if (file >= 0) close(file);
  say_text("cut\n");
  return cut;
}

static const handler maintenance[] = {
    purge_record, retire_record, publish_record, draw_key, cut_record,
};
#define MAINTENANCE (sizeof maintenance / sizeof maintenance[0])

// --- Requests
// ------------------------------------------------------------------

// 0, or -1 at the end of the input.
static __attribute__((noinline)) int read_request(struct request* r) {
  const int operation = next_byte();
  const int name_size = next_byte();
  if (operation < 0 || name_size < 0) return -1;
  if ((size_t)operation >= OPERATIONS) exit(3);
  r->handle = operations[operation];
  for (int i = 0; i < name_size; ++i) {
    const int byte = next_byte();
    if (byte < 0) return -1;
    r->name[i] = (char)byte;  // the bug
  }
  if (name_size < NAME_MAX_BYTES) r->name[name_size] = '\0';
  const int low = next_byte();
  const int high = next_byte();
  if (low < 0 || high < 0) return -1;
  r->size = (uint32_t)low | (uint32_t)high << 8;
  if (r->size > BODY_MAX_BYTES) exit(3);
  for (uint32_t i = 0; i < r->size; ++i) {
    const int byte = next_byte();
    if (byte < 0) return -1;
    r->body[i] = (unsigned char)byte;
  }
  return 0;
}

int main(int argc, char** argv) {
  static struct request r;
  if (argc == 4 && strcmp(argv[1], "--maintain") == 0) {
    const size_t which = (size_t)atoi(argv[2]);
    if (which >= MAINTENANCE) return 1;
    strncpy(r.name, argv[3], NAME_MAX_BYTES - 1);
    return maintenance[which](&r);
  }
  while (read_request(&r) == 0) {
    if (r.handle(&r) != 0) say_text("failed\n");
  }
  return 0;
}
