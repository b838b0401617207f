#include "runtime/admission/module_bytes.h"

namespace callgate::admission {
namespace {

// The sections around a code section with this one body.
Bytes ModuleAround(const Bytes& body) {
  return Module({
      Section(1, Vec({FunctionType({}, {})})),
      Section(3, Vec({U(0)})),
      Section(4, Vec({{0x70, 0x00, 0x01}})),
      Section(5, Vec({{0x00, 0x01}})),
      Section(6, Vec({{0x7f, 0x01, 0x41, 0x00, 0x0b}})),
      // Passive, one null function.
      Section(9, Vec({{0x05, 0x70, 0x01, 0xd0, 0x70, 0x0b}})),
      Section(12, U(1)),
      Section(10, Vec({body})),
      Section(11, Vec({{0x01, 0x01, 'x'}})),
  });
}

}  // namespace

Bytes Join(const std::vector<Bytes>& parts) {
  Bytes all;
  for (const Bytes& part : parts) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

Bytes Repeat(const Bytes& part, uint64_t times) {
  Bytes all;
  all.reserve(part.size() * times);
  for (uint64_t i = 0; i < times; ++i) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

Bytes U(uint64_t value) {
  Bytes leb;
  while (value >= 0x80) {
    leb.push_back(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  leb.push_back(static_cast<uint8_t>(value));
  return leb;
}

Bytes S(int64_t value) {
  Bytes leb;
  while (value < -0x40 || value >= 0x40) {
    leb.push_back(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  leb.push_back(static_cast<uint8_t>(value & 0x7f));
  return leb;
}

Bytes PaddedU(uint64_t value, size_t size) {
  Bytes leb;
  for (size_t i = 0; i < size; ++i) {
    leb.push_back(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  leb.back() &= 0x7f;
  return leb;
}

Bytes Name(absl::string_view text) {
  return Join({U(text.size()), Bytes(text.begin(), text.end())});
}

Bytes Vec(const std::vector<Bytes>& items) {
  return Join({U(items.size()), Join(items)});
}

Bytes VecOf(uint64_t count, const Bytes& item) {
  return Join({U(count), Repeat(item, count)});
}

Bytes Section(uint8_t id, const Bytes& contents) {
  return Join({{id}, U(contents.size()), contents});
}

Bytes CustomSection(absl::string_view name, const Bytes& contents) {
  return Section(0, Join({Name(name), contents}));
}

Bytes Module(const std::vector<Bytes>& sections) {
  return Join({{0x00, 'a', 's', 'm', 0x01, 0x00, 0x00, 0x00}, Join(sections)});
}

Bytes FunctionType(const Bytes& params, const Bytes& results) {
  return Join({{0x60}, U(params.size()), params, U(results.size()), results});
}

Bytes EmptyType() { return FunctionType({}, {}); }

Bytes Body(const Bytes& code) { return RawBody(Join({U(0), code, {0x0b}})); }

Bytes RawBody(const Bytes& contents) {
  return Join({U(contents.size()), contents});
}

Bytes ModuleWithCode(const Bytes& code) { return ModuleAround(Body(code)); }

Bytes ModuleWithRawBody(const Bytes& contents) {
  return ModuleAround(RawBody(contents));
}

Bytes ModuleWithGlobal(const Bytes& expression) {
  return Module({Section(6, Vec({Join({{0x7f, 0x00}, expression})}))});
}

Bytes ModuleWithExports(const std::vector<Bytes>& exports) {
  return Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(7, Vec(exports)), Section(10, Vec({Body({})}))});
}

Bytes ModuleWithTag(const Bytes& code) {
  return Module({Section(1, Vec({EmptyType()})), Section(3, Vec({U(0)})),
                 Section(13, Vec({{0x00, 0x00}})),
                 Section(10, Vec({Body(code)}))});
}

Bytes RichModule() {
  const Bytes code = Join({
      // if, else, br_table, br_if, select with a type
      {0x41, 0x01, 0x04, 0x40, 0x01, 0x05, 0x01, 0x0b},
      {0x02, 0x40, 0x03, 0x40, 0x41, 0x00, 0x0e, 0x02, 0x00, 0x01, 0x02, 0x0b},
      {0x0b, 0x02, 0x40, 0x41, 0x00, 0x0d, 0x00, 0x0b},
      {0x41, 0x01, 0x41, 0x02, 0x41, 0x00, 0x1c, 0x01, 0x7f, 0x1a},
      // call, call_indirect, locals, globals, ref.func, table.get
      {0x41, 0x07, 0x10, 0x00, 0x41, 0x00, 0x11, 0x00, 0x00},
      {0x20, 0x00, 0x21, 0x01, 0x23, 0x01, 0x24, 0x01},
      {0xd2, 0x01, 0x1a, 0x41, 0x00, 0x25, 0x00, 0x1a},
      // loads, stores, memory.size, .grow, .copy, .fill, .init, data.drop
      {0x41, 0x00, 0x28, 0x02, 0x04, 0x1a, 0x41, 0x00, 0x42, 0x00, 0x37, 0x03},
      {0x80, 0x01, 0x3f, 0x00, 0x40, 0x00, 0x1a},
      {0x41, 0x00, 0x41, 0x00, 0x41, 0x00, 0xfc, 0x0a, 0x00, 0x00},
      {0x41, 0x00, 0x41, 0x00, 0x41, 0x00, 0xfc, 0x0b, 0x00},
      {0x41, 0x00, 0x41, 0x00, 0x41, 0x00, 0xfc, 0x08, 0x01, 0x00},
      {0xfc, 0x09, 0x01},
      // table.init, elem.drop, table.copy
      {0x41, 0x00, 0x41, 0x00, 0x41, 0x00, 0xfc, 0x0c, 0x01, 0x00},
      {0xfc, 0x0d, 0x01},
      {0x41, 0x00, 0x41, 0x00, 0x41, 0x00, 0xfc, 0x0e, 0x00, 0x00},
      // f32.const, f64.const, i64.const, sign extension, saturation
      {0x43, 0, 0, 0x80, 0x3f, 0xfc, 0x00, 0xc0, 0x1a},
      {0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x1a, 0x42, 0x7f, 0x1a},
      // v128.const, shuffle, extract_lane, load8_lane
      {0xfd, 0x0c},
      Repeat({0x11}, 16),
      {0xfd, 0x0c},
      Repeat({0x22}, 16),
      {0xfd, 0x0d},
      Repeat({0x1f}, 16),
      {0xfd, 0x15, 0x0f, 0x1a},
  });
  return Module({
      CustomSection("before", {1, 2, 3}),
      Section(1, Vec({
                     FunctionType({0x7f}, {}),
                     FunctionType({}, {}),
                     FunctionType({0x7f, 0x7e, 0x7d, 0x7c}, {0x7f, 0x7f}),
                 })),
      Section(2, Vec({
                     Join({Name("env"), Name("log"), {0x00}, U(0)}),
                     Join({Name("env"), Name("base"), {0x03, 0x7f, 0x00}}),
                 })),
      Section(3, Vec({U(0), U(1)})),
      Section(4, Vec({{0x70, 0x01, 0x02, 0x08}})),
      Section(5, Vec({{0x01, 0x01, 0x10}})),
      Section(6, Vec({
                     {0x7f, 0x01, 0x23, 0x00, 0x0b},
                     {0x70, 0x00, 0xd2, 0x01, 0x0b},
                     {0x7e, 0x00, 0x42, 0x80, 0x01, 0x0b},
                 })),
      Section(7, Vec({
                     Join({Name("memory"), {0x02}, U(0)}),
                     Join({Name("run"), {0x00}, U(1)}),
                     Join({Name("table"), {0x01}, U(0)}),
                     Join({Name("counter"), {0x03}, U(1)}),
                     Join({Name("log"), {0x00}, U(0)}),
                 })),
      Section(8, U(2)),
      Section(9,
              Vec({
                  {0x00, 0x41, 0x00, 0x0b, 0x02, 0x01, 0x02},
                  {0x01, 0x00, 0x01, 0x01},
                  {0x02, 0x00, 0x41, 0x01, 0x0b, 0x00, 0x01, 0x02},
                  {0x03, 0x00, 0x01, 0x02},
                  {0x04, 0x41, 0x00, 0x0b, 0x01, 0xd2, 0x01, 0x0b},
                  {0x05, 0x70, 0x01, 0xd0, 0x70, 0x0b},
                  {0x06, 0x00, 0x41, 0x00, 0x0b, 0x70, 0x01, 0xd2, 0x02, 0x0b},
                  {0x07, 0x6f, 0x01, 0xd0, 0x6f, 0x0b},
              })),
      Section(12, U(3)),
      Section(
          10,
          Vec({
              RawBody(Join({Vec({{0x02, 0x7f}, {0x01, 0x7e}}), code, {0x0b}})),
              Body({}),
          })),
      Section(11, Vec({
                      {0x00, 0x41, 0x08, 0x0b, 0x02, 'h', 'i'},
                      {0x01, 0x01, 'x'},
                      {0x02, 0x00, 0x23, 0x00, 0x0b, 0x00},
                  })),
      CustomSection("name", {0x00, 0x02, 0x01, 'm'}),
  });
}

}  // namespace callgate::admission
