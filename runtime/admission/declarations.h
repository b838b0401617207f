// The sections that declare what a module has and what it shows: types,
// imports, functions, tables, memories, tags, globals, exports, the start
// function.
//
// Each function reads one section's contents, adds what it declares to the
// index spaces (or the summary), and refuses what the format or a limit
// forbids. The bytes that are left over afterwards are its caller's to refuse.

#ifndef CALLGATE_RUNTIME_ADMISSION_DECLARATIONS_H_
#define CALLGATE_RUNTIME_ADMISSION_DECLARATIONS_H_

#include "runtime/admission/byte_reader.h"
#include "runtime/admission/index_spaces.h"
#include "runtime/admission/module_summary.h"

namespace callgate::admission {

void ReadTypes(ByteReader& in, IndexSpaces& spaces);
void ReadImports(ByteReader& in, IndexSpaces& spaces, ModuleSummary& summary);
void ReadFunctions(ByteReader& in, IndexSpaces& spaces);
void ReadTables(ByteReader& in, IndexSpaces& spaces);
void ReadMemories(ByteReader& in, IndexSpaces& spaces);
void ReadTags(ByteReader& in, IndexSpaces& spaces);
void ReadGlobals(ByteReader& in, IndexSpaces& spaces);
void ReadExports(ByteReader& in, const IndexSpaces& spaces,
                 ModuleSummary& summary);
void ReadStart(ByteReader& in, const IndexSpaces& spaces,
               ModuleSummary& summary);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_DECLARATIONS_H_
