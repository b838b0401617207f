// The expressions that initialise globals and place segments.

#ifndef CALLGATE_RUNTIME_ADMISSION_CONSTANT_EXPRESSION_H_
#define CALLGATE_RUNTIME_ADMISSION_CONSTANT_EXPRESSION_H_

#include "runtime/admission/byte_reader.h"
#include "runtime/admission/index_spaces.h"
#include "runtime/value.h"

namespace callgate::admission {

// Reads one, up to and with its end opcode, and refuses unless it is constant
// and leaves exactly one value, of the type `wanted`.
void ScanConstantExpression(ByteReader& in, const IndexSpaces& spaces,
                            ValType wanted);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_CONSTANT_EXPRESSION_H_
