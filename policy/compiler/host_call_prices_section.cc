#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/compiler/sections.h"

namespace callgate::policy {
namespace {

constexpr int kPricesMax = 1000;
constexpr double kPerByteMax = 1e6;

}  // namespace

void CompileHostCallPrices(const LoadedPolicyFile& file, Compilation& c) {
  const auto& entries = file.proto.budgets().host_call_price();
  if (entries.empty()) return;
  if (entries.size() > kPricesMax) {
    c.Report(
        file, "budgets.host_call_price",
        absl::StrCat("has ", entries.size(), " entries; at most ", kPricesMax));
    return;
  }
  HostCallPrices prices;
  for (int i = 0; i < entries.size(); ++i) {
    const v1::HostCallPrice& entry = entries[i];
    const std::string path = absl::StrCat("budgets.host_call_price[", i, "]");
    HostCallPrice price;
    price.base = entry.base();
    price.per_byte = entry.per_byte();
    if (price.base > kPriceMax) {
      c.Report(file, absl::StrCat(path, ".base"),
               absl::StrCat("is ", price.base, "; at most ", kPriceMax));
    }
    if (!std::isfinite(price.per_byte) || price.per_byte < 0 ||
        price.per_byte > kPerByteMax) {
      c.Report(file, absl::StrCat(path, ".per_byte"),
               absl::StrCat("is ", price.per_byte, "; allowed: 0 to ",
                            static_cast<int>(kPerByteMax)));
    }
    bool again = false;
    if (entry.import() == "*") {
      again = prices.others.has_value();
      prices.others = price;
    } else {
      std::optional<ImportName> import =
          c.ReadImport(file, path, entry.import());
      if (!import) continue;
      for (const auto& known : prices.imports) {
        again = again || known.first == *import;
      }
      prices.imports.emplace_back(*std::move(import), price);
    }
    if (again) {
      c.Report(file, absl::StrCat(path, ".import"),
               absl::StrCat(Quote(entry.import()),
                            " has a price already; give each import one"));
    }
  }
  c.content().budgets.host_call_prices.push_back(std::move(prices));
}

}  // namespace callgate::policy
