// Modules for tests, written byte by byte: what a test needs wrong cannot come
// from a tool that gets it right.

#ifndef CALLGATE_RUNTIME_ADMISSION_MODULE_BYTES_H_
#define CALLGATE_RUNTIME_ADMISSION_MODULE_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"

namespace callgate::admission {

using Bytes = std::vector<uint8_t>;

Bytes Join(const std::vector<Bytes>& parts);
Bytes Repeat(const Bytes& part, uint64_t times);

// LEB128, in as few bytes as it takes.
Bytes U(uint64_t value);
Bytes S(int64_t value);
// LEB128 stretched to `size` bytes, legal or not.
Bytes PaddedU(uint64_t value, size_t size);

// A length and the text.
Bytes Name(absl::string_view text);
// A count and the items.
Bytes Vec(const std::vector<Bytes>& items);
// A count and as many copies of one item.
Bytes VecOf(uint64_t count, const Bytes& item);

Bytes Section(uint8_t id, const Bytes& contents);
Bytes CustomSection(absl::string_view name, const Bytes& contents);
// The header, and then the sections.
Bytes Module(const std::vector<Bytes>& sections);

// 0x60, parameters, results.
Bytes FunctionType(const Bytes& params, const Bytes& results);
// () -> ().
Bytes EmptyType();
// A size, no locals, the code and its last end.
Bytes Body(const Bytes& code);
// A size and whatever is given: locals, code, end.
Bytes RawBody(const Bytes& contents);

// A module with one function of type () -> () whose body has this code, and
// with one memory, one table, one mutable global of type i32 and one passive
// data and element segment for it to refer to.
Bytes ModuleWithCode(const Bytes& code);
// The same with a body given in full.
Bytes ModuleWithRawBody(const Bytes& contents);

// One global of type i32 with this initial value, its end included.
Bytes ModuleWithGlobal(const Bytes& expression);
// One function of type () -> (), and these exports.
Bytes ModuleWithExports(const std::vector<Bytes>& exports);
// The same with one tag and this code.
Bytes ModuleWithTag(const Bytes& code);

// Every section, several entries in each, all of them valid.
Bytes RichModule();

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_MODULE_BYTES_H_
