// The sections that fill tables and memories: element segments, data segments,
// and the count of data segments that code relies on before they come.
//
// As with declarations.h: each function reads one section's contents.

#ifndef CALLGATE_RUNTIME_ADMISSION_SEGMENTS_H_
#define CALLGATE_RUNTIME_ADMISSION_SEGMENTS_H_

#include "runtime/admission/byte_reader.h"
#include "runtime/admission/index_spaces.h"
#include "runtime/admission/module_summary.h"

namespace callgate::admission {

void ReadElements(ByteReader& in, IndexSpaces& spaces, ModuleSummary& summary);
void ReadDataCount(ByteReader& in, IndexSpaces& spaces);
void ReadData(ByteReader& in, const IndexSpaces& spaces,
              ModuleSummary& summary);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_SEGMENTS_H_
