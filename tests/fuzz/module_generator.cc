#include "tests/fuzz/module_generator.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/fuzz/body_generator.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/code_writer.h"
#include "tests/fuzz/module_plan.h"

namespace callgate::fuzz {
namespace {

constexpr ValType kTypes[] = {ValType::kI32, ValType::kI64, ValType::kF32,
                              ValType::kF64, ValType::kV128};

enum ExportKind : unsigned { kFunction, kTable, kMemory, kGlobal };

std::vector<ValType> SomeTypes(ByteSource& source, uint32_t most) {
  std::vector<ValType> types;
  const uint32_t count = source.Below(most + 1);
  for (uint32_t i = 0; i < count; ++i) {
    types.push_back(
        kTypes[source.Below(static_cast<uint32_t>(std::size(kTypes)))]);
  }
  return types;
}

ModulePlan MakePlan(ByteSource& source) {
  ModulePlan plan;
  plan.types = {{{}, {}},
                {{ValType::kI32}, {ValType::kI32}},
                {{ValType::kI32}, {}},
                {{ValType::kI32, ValType::kI32}, {ValType::kI32}}};
  const uint32_t more = 1 + source.Below(4);
  for (uint32_t i = 0; i < more; ++i) {
    FuncType type;
    type.params = SomeTypes(source, i == 3 ? 9 : 4);
    type.results = SomeTypes(source, i == 0 ? 1 : 3);
    plan.types.push_back(std::move(type));
  }
  const auto types = static_cast<uint32_t>(plan.types.size());
  plan.functions = {kFixedTypes, kFixedTypes + source.Below(more),
                    kI32ToNothing, kI32ToI32, kTwoI32ToI32};
  plan.functions.push_back(kI32ToI32);
  plan.functions.push_back(kNothingToNothing);
  const uint32_t functions = source.Below(5);
  for (uint32_t i = 0; i < functions; ++i) {
    plan.functions.push_back(source.Below(types));
  }

  plan.globals.push_back({ValType::kI32, true, RawValue::I32(kBudget)});
  for (const ValType type : kTypes) {
    plan.globals.push_back({type, true, InterestingValue(type, source)});
    if (source.OneIn(3)) {
      plan.globals.push_back({type, false, InterestingValue(type, source)});
    }
  }
  plan.table_sizes = {8 + source.Below(5), 5};
  for (uint32_t i = 0; i < plan.table_sizes[0]; ++i) {
    const auto all = static_cast<uint32_t>(plan.functions.size());
    const uint32_t choice = source.Below(all + 2);
    plan.elements.push_back(choice < all ? all - 1 - choice : kNoFunction);
  }
  plan.pages = 1 + source.Below(2);
  plan.pages_max = plan.pages + source.Below(3);
  plan.memory64 = source.OneIn(6);
  plan.second_memory = source.OneIn(6);
  plan.data_segments = 3;
  plan.element_segments = 3;
  if (source.OneIn(4)) plan.tags = {kI32ToNothing, kNothingToNothing};
  plan.has_start = source.OneIn(4);
  return plan;
}

void WriteDeclarations(const ModulePlan& plan, CodeWriter& module) {
  CodeWriter types;
  for (const FuncType& type : plan.types) {
    types.Byte(0x60);
    types.Types(type.params);
    types.Types(type.results);
  }
  module.Section(1, plan.types.size(), types);

  CodeWriter imports;
  for (uint32_t i = 0; i < kHostImports; ++i) {
    imports.Name("env");
    imports.Name(absl::StrCat("h", i));
    imports.Byte(kFunction);
    imports.Unsigned(plan.functions[i]);
  }
  module.Section(2, kHostImports, imports);

  CodeWriter functions;
  for (size_t i = kHostImports; i < plan.functions.size(); ++i) {
    functions.Unsigned(plan.functions[i]);
  }
  module.Section(3, plan.functions.size() - kHostImports, functions);

  CodeWriter tables;
  for (const uint32_t size : plan.table_sizes) {
    tables.Byte(0x70);
    tables.Byte(1);
    tables.Unsigned(size);
    tables.Unsigned(size + 4);
  }
  module.Section(4, plan.table_sizes.size(), tables);

  CodeWriter memories;
  for (uint32_t i = 0; i < (plan.second_memory ? 2u : 1u); ++i) {
    memories.Byte(plan.memory64 && i == 0 ? 5 : 1);
    memories.Unsigned(plan.pages);
    memories.Unsigned(plan.pages_max);
  }
  module.Section(5, plan.second_memory ? 2 : 1, memories);

  CodeWriter tags;
  for (const uint32_t type : plan.tags) {
    tags.Byte(0);
    tags.Unsigned(type);
  }
  module.Section(13, plan.tags.size(), tags);

  CodeWriter globals;
  for (const ModulePlan::Global& global : plan.globals) {
    globals.Type(global.type);
    globals.Byte(global.is_mutable ? 1 : 0);
    WriteConst(globals, global.type, global.initial);
    globals.Byte(0x0b);
  }
  module.Section(6, plan.globals.size(), globals);
}

void WriteExports(const ModulePlan& plan, GeneratedModule& made,
                  CodeWriter& module) {
  CodeWriter exports;
  uint64_t count = 0;
  const auto add = [&](std::string name, ExportKind kind, uint64_t index) {
    exports.Name(name);
    exports.Byte(kind);
    exports.Unsigned(index);
    ++count;
    return name;
  };
  for (size_t i = kHostImports; i < plan.functions.size(); ++i) {
    add(absl::StrCat("f", i - kHostImports), kFunction, i);
  }
  add("host", kFunction, kMixA);
  for (size_t i = 0; i < plan.table_sizes.size(); ++i) {
    made.tables.push_back(add(absl::StrCat("t", i), kTable, i));
  }
  for (uint32_t i = 0; i < (plan.second_memory ? 2u : 1u); ++i) {
    made.memories.push_back(add(absl::StrCat("m", i), kMemory, i));
  }
  for (size_t i = 0; i < plan.globals.size(); ++i) {
    made.globals.push_back(add(absl::StrCat("g", i), kGlobal, i));
  }
  module.Section(7, count, exports);
}

void WriteElements(const ModulePlan& plan, ByteSource& source,
                   CodeWriter& module) {
  CodeWriter elements;
  const auto item = [&](uint32_t function) {
    if (function == kNoFunction) {
      elements.Byte(0xd0);
      elements.Byte(0x70);
    } else {
      elements.Byte(0xd2);
      elements.Unsigned(function);
    }
    elements.Byte(0x0b);
  };
  // Active, by expressions.
  elements.Byte(4);
  WriteConst(elements, ValType::kI32, RawValue::I32(0));
  elements.Byte(0x0b);
  elements.Unsigned(plan.elements.size());
  for (const uint32_t function : plan.elements) item(function);
  // Passive ones.
  for (uint32_t segment = 1; segment < plan.element_segments; ++segment) {
    elements.Byte(5);
    elements.Byte(0x70);
    const uint32_t count = 2 + source.Below(5);
    elements.Unsigned(count);
    for (uint32_t i = 0; i < count; ++i) {
      const auto all = static_cast<uint32_t>(plan.functions.size());
      const uint32_t choice = source.Below(all + 1);
      item(choice < all ? choice : kNoFunction);
    }
  }
  module.Section(9, plan.element_segments, elements);
}

void WriteData(const ModulePlan& plan, ByteSource& source, CodeWriter& data) {
  data.Byte(0);
  const ValType address = plan.memory64 ? ValType::kI64 : ValType::kI32;
  WriteConst(data, address, RawValue::I32(16));
  data.Byte(0x0b);
  for (uint32_t segment = 0; segment < plan.data_segments; ++segment) {
    if (segment != 0) data.Byte(1);
    const uint32_t length = segment == 0 ? 128 : source.Below(20);
    data.Unsigned(length);
    for (uint32_t i = 0; i < length; ++i) {
      // Something of every sign, and no bytes of the source for all of them.
      data.Byte(i % 3 == 0 ? source.Byte() : i * 37 + 128);
    }
  }
}

}  // namespace

GeneratedModule GenerateModule(absl::Span<const uint8_t> bytes,
                               bool canonical_nans) {
  ByteSource source(bytes);
  ByteSource declarations = source.Take(8);
  ByteSource segments = source.Take(12);
  ByteSource calls = source.Take(8);
  const ModulePlan plan = MakePlan(declarations);
  GeneratedModule made;

  CodeWriter module;
  module.Fixed(0x6d736100, 4);
  module.Fixed(1, 4);
  WriteDeclarations(plan, module);
  WriteExports(plan, made, module);
  if (plan.has_start) {
    CodeWriter start;
    start.Unsigned(kHostImports + 1);
    module.Byte(8);
    module.Sized(start);
  }
  WriteElements(plan, segments, module);
  CodeWriter count;
  count.Unsigned(plan.data_segments);
  module.Byte(12);
  module.Sized(count);

  CodeWriter code;
  const size_t own = plan.functions.size() - kHostImports;
  for (size_t i = 0; i < own; ++i) {
    BodyGenerator body(plan, static_cast<uint32_t>(kHostImports + i),
                       source.Take(own - i), canonical_nans);
    body.WriteTo(code);
  }
  module.Section(10, own, code);
  CodeWriter data;
  WriteData(plan, segments, data);
  module.Section(11, plan.data_segments, data);

  made.wasm = module.bytes();
  made.has_exceptions = !plan.tags.empty();
  for (uint32_t i = 0; i < kHostImports; ++i) {
    made.imports.push_back({absl::StrCat("h", i), plan.TypeOf(i)});
  }
  if (calls.OneIn(8)) made.refuse_at = 1 + calls.Below(20);
  if (calls.OneIn(8)) made.answer_at = 1 + calls.Below(20);
  const auto call = [&](std::string name, const FuncType& type) {
    GuestCall& one = made.calls.emplace_back();
    one.name = std::move(name);
    for (const ValType param : type.params) {
      one.args.emplace_back(param, InterestingValue(param, calls));
    }
  };
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < own; ++i) {
      call(absl::StrCat("f", i),
           plan.TypeOf(static_cast<uint32_t>(kHostImports + i)));
    }
  }
  if (calls.OneIn(4)) call("host", plan.TypeOf(kMixA));
  if (calls.OneIn(3)) {
    // Imports may be chosen too: nothing comes of it.
    for (uint32_t i = 0; i < plan.functions.size(); ++i) {
      if (calls.OneIn(3)) made.probed.push_back(i);
    }
  }
  return made;
}

}  // namespace callgate::fuzz
