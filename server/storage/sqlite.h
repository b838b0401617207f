// SQLite's C interface with owners and statuses. Knows nothing of what is kept.
//
// A Database and its Statements belong to one thread at a time. The file is
// held exclusively from Open on: another process, or another Database of this
// one, is turned away. The locks are POSIX record locks, which a fork does not
// inherit and which go when the process does, however it ends; but any close()
// of the same file by this process would drop them, so nothing else may open
// it.

#ifndef CALLGATE_SERVER_STORAGE_SQLITE_H_
#define CALLGATE_SERVER_STORAGE_SQLITE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

struct sqlite3;
struct sqlite3_stmt;

namespace callgate::storage {

// Parameters are numbered from 1, columns from 0, as SQLite has it. Views of
// columns are valid until the next Step.
class Statement {
 public:
  ~Statement();
  Statement(Statement&& other) noexcept
      : database_(other.database_),
        statement_(std::exchange(other.statement_, nullptr)),
        bind_error_(other.bind_error_) {}
  Statement& operator=(Statement&&) = delete;

  // A parameter that cannot be bound makes Step fail.
  void BindText(int parameter, absl::string_view text);
  void BindBlob(int parameter, absl::string_view bytes);
  void BindInteger(int parameter, int64_t value);

  // True: there is a row. False: done.
  absl::StatusOr<bool> Step();
  // For statements without rows.
  absl::Status Run();

  absl::string_view Bytes(int column) const;
  int64_t Integer(int column) const;

 private:
  friend class Database;
  Statement(sqlite3* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}

  sqlite3* const database_;
  sqlite3_stmt* statement_;
  int bind_error_ = 0;
};

class Database {
 public:
  // Makes the file where it is missing. Aborted: somebody else has it, and kept
  // it for `patience`. DataLoss: it is not a database or it is damaged.
  static absl::StatusOr<std::unique_ptr<Database>> Open(
      const std::string& path, absl::Duration patience);

  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Any number of statements without parameters; rows are ignored.
  absl::Status Execute(const std::string& sql);
  absl::StatusOr<Statement> Prepare(absl::string_view sql);
  // Rows that the last statement changed.
  int64_t changes() const;

 private:
  explicit Database(sqlite3* database) : database_(database) {}

  sqlite3* const database_;
};

// Rolls back unless Commit succeeded.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(Database& database);

  ~Transaction();
  Transaction(Transaction&& other) noexcept
      : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;

  // OK: what was written is on disk.
  absl::Status Commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}

  Database* database_;  // null once committed
};

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_SQLITE_H_
