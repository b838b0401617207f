// bench: group=compute n=300 checksum=-459020732
// quick: n=1 checksum=-1624530192
//
// CRC-32 with a table, of 64 KiB n times: one dependent load for each byte.

#include "kernel.h"

#define BYTES 65536

static uint32_t table[256];
static uint8_t data[BYTES];

KERNEL int32_t run(int32_t n) {
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) {
      c = (c & 1) != 0 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    }
    table[i] = c;
  }
  uint32_t seed = 1;
  for (int i = 0; i < BYTES; ++i) data[i] = (uint8_t)NextRandom(&seed);
  uint32_t crc = ~0u;
  for (int32_t round = 0; round < n; ++round) {
    for (int i = 0; i < BYTES; ++i) {
      crc = table[(crc ^ data[i]) & 255] ^ (crc >> 8);
    }
  }
  return (int32_t)~crc;
}
