// bench: group=compute n=300000 checksum=-1113500442
// quick: n=100 checksum=-1838753730
//
// An interpreter of a small bytecode: a loop round a br_table whose target
// changes at every turn. The program it runs, n times, mixes a number.

#include "kernel.h"

enum {
  kPush,    // the next byte
  kAdd,     // the two topmost
  kSub,     // the topmost from the one below
  kXor,     // the two topmost
  kShift,   // the topmost, right by the next byte
  kMul,     // the two topmost
  kDup,     // the topmost
  kSwap,    // the two topmost
  kLoad,    // the cell that the next byte names
  kStore,   // the topmost, into that cell
  kJumpIf,  // back by the next byte, if the topmost is not 0
  kEnd
};

// clang-format off
static const uint8_t kProgram[] = {
    kPush, 5, kStore, 1,            // turns = 5
    kLoad, 0, kDup, kShift, 7,      // again: x ^= x >> 7
    kXor, kLoad, 0, kAdd,           // x += the old x
    kPush, 33, kMul,                // x *= 33
    kLoad, 1, kSwap, kSub,          // x = turns - x
    kStore, 0,
    kLoad, 1, kPush, 1, kSub,       // turns -= 1
    kDup, kStore, 1, kJumpIf, 28,   // until turns == 0
    kEnd};
// clang-format on

static uint32_t cells[256];
static uint32_t stack[64];

static uint32_t Interpret(uint32_t x) {
  cells[0] = x;
  uint32_t top = 0;
  for (uint32_t at = 0;;) {
    switch (kProgram[at++]) {
      case kPush:
        stack[top++] = kProgram[at++];
        break;
      case kAdd:
        --top;
        stack[top - 1] += stack[top];
        break;
      case kSub:
        --top;
        stack[top - 1] -= stack[top];
        break;
      case kXor:
        --top;
        stack[top - 1] ^= stack[top];
        break;
      case kShift:
        stack[top - 1] >>= kProgram[at++];
        break;
      case kMul:
        --top;
        stack[top - 1] *= stack[top];
        break;
      case kDup:
        stack[top] = stack[top - 1];
        ++top;
        break;
      case kSwap: {
        const uint32_t kept = stack[top - 1];
        stack[top - 1] = stack[top - 2];
        stack[top - 2] = kept;
        break;
      }
      case kLoad:
        stack[top++] = cells[kProgram[at++]];
        break;
      case kStore:
        cells[kProgram[at++]] = stack[--top];
        break;
      case kJumpIf: {
        const uint32_t back = kProgram[at++];
        if (stack[--top] != 0) at -= back;
        break;
      }
      default:
        return cells[0];
    }
  }
}

KERNEL int32_t run(int32_t n) {
  uint32_t x = 1;
  for (int32_t i = 0; i < n; ++i) x = Interpret(x + (uint32_t)i);
  return (int32_t)x;
}
