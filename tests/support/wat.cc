#include "tests/support/wat.h"

#include <wabt/binary-writer.h>
#include <wabt/error-formatter.h>
#include <wabt/ir.h>
#include <wabt/stream.h>
#include <wabt/validator.h>
#include <wabt/wast-lexer.h>
#include <wabt/wast-parser.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

wabt::Features AllFeatures() {
  wabt::Features features;
  features.enable_exceptions();
  features.enable_threads();
  features.enable_tail_call();
  features.enable_memory64();
  features.enable_multi_memory();
  features.enable_extended_const();
  features.enable_relaxed_simd();
  return features;
}

absl::Status SourceError(absl::string_view what, const wabt::Errors& errors,
                         wabt::WastLexer& lexer) {
  const std::unique_ptr<wabt::LexerSourceLineFinder> lines =
      lexer.MakeLineFinder();
  return absl::InvalidArgumentError(
      absl::StrCat(what, ":\n",
                   wabt::FormatErrorsToString(
                       errors, wabt::Location::Type::Text, lines.get())));
}

absl::StatusOr<std::vector<uint8_t>> Assemble(absl::string_view text,
                                              bool validate) {
  const wabt::Features features = AllFeatures();
  wabt::Errors errors;
  const std::unique_ptr<wabt::WastLexer> lexer =
      wabt::WastLexer::CreateBufferLexer("module.wat", text.data(), text.size(),
                                         &errors);
  std::unique_ptr<wabt::Module> module;
  wabt::WastParseOptions parse_options(features);
  if (wabt::Failed(wabt::ParseWatModule(lexer.get(), &module, &errors,
                                        &parse_options))) {
    return SourceError("the module's text does not parse", errors, *lexer);
  }
  if (validate &&
      wabt::Failed(wabt::ValidateModule(module.get(), &errors,
                                        wabt::ValidateOptions(features)))) {
    return SourceError("the module is not valid", errors, *lexer);
  }
  wabt::WriteBinaryOptions write_options;
  write_options.features = features;
  write_options.write_debug_names = true;
  wabt::MemoryStream stream;
  if (wabt::Failed(
          wabt::WriteBinaryModule(&stream, module.get(), write_options))) {
    return absl::InternalError("the module could not be written");
  }
  return std::move(stream.output_buffer().data);
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> AssembleWat(absl::string_view text) {
  return Assemble(text, /*validate=*/true);
}

absl::StatusOr<std::vector<uint8_t>> AssembleWatWithoutValidation(
    absl::string_view text) {
  return Assemble(text, /*validate=*/false);
}

}  // namespace callgate
