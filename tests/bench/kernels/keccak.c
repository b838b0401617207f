// bench: group=compute n=50000 checksum=-2092765063
// quick: n=10 checksum=-1010986219
//
// Keccak-f[1600]: 64-bit rotations and exclusive ors over 25 words of memory.

#include "kernel.h"

static const uint64_t kRound[24] = {
    0x0000000000000001u, 0x0000000000008082u, 0x800000000000808au,
    0x8000000080008000u, 0x000000000000808bu, 0x0000000080000001u,
    0x8000000080008081u, 0x8000000000008009u, 0x000000000000008au,
    0x0000000000000088u, 0x0000000080008009u, 0x000000008000000au,
    0x000000008000808bu, 0x800000000000008bu, 0x8000000000008089u,
    0x8000000000008003u, 0x8000000000008002u, 0x8000000000000080u,
    0x000000000000800au, 0x800000008000000au, 0x8000000080008081u,
    0x8000000000008080u, 0x0000000080000001u, 0x8000000080008008u};
static const uint8_t kRotation[24] = {1,  3,  6,  10, 15, 21, 28, 36,
                                      45, 55, 2,  14, 27, 41, 56, 8,
                                      25, 43, 62, 18, 39, 61, 20, 44};
static const uint8_t kLane[24] = {10, 7,  11, 17, 18, 3, 5,  16, 8,  21, 24, 4,
                                  15, 23, 19, 13, 12, 2, 20, 14, 22, 9,  6,  1};

static uint64_t a[25];

static uint64_t Rotate(uint64_t x, unsigned by) {
  return (x << by) | (x >> (64 - by));
}

static void Permute(void) {
  for (int round = 0; round < 24; ++round) {
    uint64_t c[5];
    for (int i = 0; i < 5; ++i) {
      c[i] = a[i] ^ a[i + 5] ^ a[i + 10] ^ a[i + 15] ^ a[i + 20];
    }
    for (int i = 0; i < 5; ++i) {
      const uint64_t d = c[(i + 4) % 5] ^ Rotate(c[(i + 1) % 5], 1);
      for (int j = 0; j < 25; j += 5) a[i + j] ^= d;
    }
    uint64_t moving = a[1];
    for (int i = 0; i < 24; ++i) {
      const int to = kLane[i];
      const uint64_t kept = a[to];
      a[to] = Rotate(moving, kRotation[i]);
      moving = kept;
    }
    for (int j = 0; j < 25; j += 5) {
      for (int i = 0; i < 5; ++i) c[i] = a[j + i];
      for (int i = 0; i < 5; ++i) {
        a[j + i] = c[i] ^ (~c[(i + 1) % 5] & c[(i + 2) % 5]);
      }
    }
    a[0] ^= kRound[round];
  }
}

KERNEL int32_t run(int32_t n) {
  for (int i = 0; i < 25; ++i) a[i] = 0;
  for (int32_t i = 0; i < n; ++i) {
    a[0] ^= (uint64_t)i;
    Permute();
  }
  return (int32_t)(a[0] ^ (a[0] >> 32));
}
