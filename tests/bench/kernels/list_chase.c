// bench: group=compute n=1500000 checksum=-1580395088
// quick: n=1000 checksum=-937816716
//
// n steps along a linked list of 65,536 nodes in random order (1 MiB): each
// load waits for the one before.

#include "kernel.h"

#define NODES 65536

typedef struct Node {
  struct Node* next;
  uint32_t value;
  uint32_t unused[2];
} Node;

static Node nodes[NODES];
static uint32_t order[NODES];

KERNEL int32_t run(int32_t n) {
  uint32_t seed = 17;
  for (uint32_t i = 0; i < NODES; ++i) order[i] = i;
  for (uint32_t i = NODES - 1; i > 0; --i) {
    const uint32_t j = NextRandom(&seed) % (i + 1);
    const uint32_t kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  for (uint32_t i = 0; i < NODES; ++i) {
    nodes[order[i]].next = &nodes[order[(i + 1) % NODES]];
    nodes[order[i]].value = i;
  }
  const Node* at = &nodes[0];
  uint32_t sum = 0;
  for (int32_t i = 0; i < n; ++i) {
    sum = sum * 3 + at->value;
    at = at->next;
  }
  return (int32_t)sum;
}
