// One function's code: its locals, its instructions' immediates, and that its
// blocks match and end where the body ends.

#ifndef CALLGATE_RUNTIME_ADMISSION_BODY_SCAN_H_
#define CALLGATE_RUNTIME_ADMISSION_BODY_SCAN_H_

#include <cstdint>
#include <vector>

#include "runtime/admission/byte_reader.h"
#include "runtime/admission/index_spaces.h"
#include "runtime/admission/instruction.h"
#include "runtime/admission/module_summary.h"

namespace callgate::admission {

// Reused for all bodies of a module. Everything passed in outlives it.
class BodyScan {
 public:
  // Notes in `summary` what the limits are about.
  BodyScan(const IndexSpaces& spaces, ModuleSummary& summary)
      : spaces_(spaces), summary_(summary) {}

  // `body` reads exactly the body of the function with this index.
  void Scan(ByteReader& body, uint64_t function_index);

 private:
  // What is open, one byte a level: at most nesting_depth of them.
  enum class Open : uint8_t { kBlock, kIf, kElse, kTry, kCatch, kCatchAll };

  void ReadLocals(ByteReader& in, uint64_t function_index);
  // Reads one instruction. True when it was the body's last `end`.
  bool ReadInstruction(ByteReader& in);
  // The two that ReadInstruction hands its forms to.
  bool ReadStructure(ByteReader& in, Form form, uint64_t offset);
  void ReadImmediates(ByteReader& in, Instruction instruction, uint64_t offset);

  void OpenBlock(ByteReader& in, Open kind, uint64_t offset);
  void ReadBlockType(ByteReader& in);
  // A label: how many blocks out. The function itself is the last one.
  void ReadLabel(ByteReader& in);
  void ReadLabelTable(ByteReader& in);
  void ReadTableIndex(ByteReader& in);
  void ReadMemoryIndex(ByteReader& in);
  void ReadDataIndex(ByteReader& in);
  void ReadElementIndex(ByteReader& in);
  void ReadTagIndex(ByteReader& in);
  void ReadCallIndirect(ByteReader& in);
  void ReadSelectTypes(ByteReader& in);
  void ReadMemoryAccess(ByteReader& in, Form form, uint8_t natural_alignment);
  void ReadLane(ByteReader& in, uint8_t lanes);

  const IndexSpaces& spaces_;
  ModuleSummary& summary_;
  std::vector<Open> open_;
  uint64_t locals_ = 0;  // of the function at hand, parameters counted
};

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_BODY_SCAN_H_
