// Rows of text with their columns aligned.

#ifndef CALLGATE_SERVER_CLI_TEXT_TABLE_H_
#define CALLGATE_SERVER_CLI_TEXT_TABLE_H_

#include <string>
#include <vector>

namespace callgate::cli {

// One line a row, two blanks between columns, none at the end of a line. Cells
// that hold text from elsewhere must have been escaped.
std::string TextTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_TEXT_TABLE_H_
