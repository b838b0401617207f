#include "server/storage/sqlite.h"

#include <sqlite3.h>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::storage {
namespace {

absl::Status SqliteError(sqlite3* database, int code, absl::string_view what) {
  std::string message = absl::StrCat(
      what, ": ",
      database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database));
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::AbortedError(message);
    case SQLITE_FULL:
      return absl::UnavailableError(
          absl::StrCat(message, "; free some space on that disk"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(
          absl::StrCat(message, "; put the file back from a backup"));
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(absl::StrCat(
          message,
          "; give the daemon's user the right to write there, or name another "
          "place"));
    default:
      return absl::UnavailableError(message);
  }
}

}  // namespace

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::BindText(int parameter, absl::string_view text) {
  // An empty view may have a null pointer, which SQLite would take for NULL.
  const int code = sqlite3_bind_text64(
      statement_, parameter, text.empty() ? "" : text.data(), text.size(),
      SQLITE_TRANSIENT, SQLITE_UTF8);
  if (code != SQLITE_OK) bind_error_ = code;
}

void Statement::BindBlob(int parameter, absl::string_view bytes) {
  const int code = sqlite3_bind_blob64(statement_, parameter,
                                       bytes.empty() ? "" : bytes.data(),
                                       bytes.size(), SQLITE_TRANSIENT);
  if (code != SQLITE_OK) bind_error_ = code;
}

void Statement::BindInteger(int parameter, int64_t value) {
  const int code = sqlite3_bind_int64(statement_, parameter, value);
  if (code != SQLITE_OK) bind_error_ = code;
}

absl::StatusOr<bool> Statement::Step() {
  if (bind_error_ != 0) {
    return SqliteError(nullptr, bind_error_, "cannot bind a value");
  }
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteError(database_, code, "the catalogue failed");
}

absl::Status Statement::Run() {
  const absl::StatusOr<bool> row = Step();
  if (!row.ok()) return row.status();
  CALLGATE_CHECK(!*row, "a statement that is Run has no rows");
  return absl::OkStatus();
}

absl::string_view Statement::Bytes(int column) const {
  // The blob first: asking for it never converts, and the size is that of what
  // was asked for last.
  const void* const bytes = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (bytes == nullptr) return absl::string_view();
  // SAFETY: SQLite says that `size` bytes are at `bytes` until the next step.
  return absl::string_view(static_cast<const char*>(bytes),
                           static_cast<size_t>(size));
}

int64_t Statement::Integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(
    const std::string& path, absl::Duration patience) {
  const std::string what = absl::StrCat("cannot open ", path);
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                          SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                      nullptr);
  // Owns the handle, which there is even where opening failed.
  std::unique_ptr<Database> database(new Database(raw));
  if (code != SQLITE_OK) return SqliteError(raw, code, what);

  // Neither a schema nor a statement may do more than keep and find rows.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_busy_timeout(raw, static_cast<int>(patience / absl::Milliseconds(1)));

  // Exclusive before the first access in WAL mode: then there is no shared
  // memory file, and the lock is kept until the handle goes. Each step says
  // what it could not do, as the first access comes to light in any of them.
  for (const char* sql :
       {"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON",
        "BEGIN EXCLUSIVE; COMMIT"}) {
    const int step = sqlite3_exec(raw, sql, nullptr, nullptr, nullptr);
    if (step != SQLITE_OK) return SqliteError(raw, step, what);
  }
  absl::StatusOr<Statement> mode = database->Prepare("PRAGMA journal_mode");
  if (!mode.ok()) return mode.status();
  const absl::StatusOr<bool> row = mode->Step();
  if (!row.ok()) return row.status();
  if (!*row || mode->Bytes(0) != "wal") {
    return absl::UnavailableError(absl::StrCat(
        what, ": no write-ahead log there; name a directory on a local disk"));
  }
  return database;
}

Database::~Database() { sqlite3_close_v2(database_); }

absl::Status Database::Execute(const std::string& sql) {
  const int code =
      sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return absl::OkStatus();
  return SqliteError(database_, code, "the catalogue failed");
}

absl::StatusOr<Statement> Database::Prepare(absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v3(database_, sql.data(), static_cast<int>(sql.size()), 0,
                         &statement, nullptr);
  if (code != SQLITE_OK) {
    return SqliteError(database_, code, "the catalogue failed");
  }
  return Statement(database_, statement);
}

int64_t Database::changes() const { return sqlite3_changes64(database_); }

absl::StatusOr<Transaction> Transaction::Begin(Database& database) {
  const absl::Status begun = database.Execute("BEGIN IMMEDIATE");
  if (!begun.ok()) return begun;
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  // After some errors SQLite has rolled back already, and says so here.
  const absl::Status rolled_back = database_->Execute("ROLLBACK");
  static_cast<void>(rolled_back);
}

absl::Status Transaction::Commit() {
  const absl::Status committed = database_->Execute("COMMIT");
  if (committed.ok()) database_ = nullptr;
  return committed;
}

}  // namespace callgate::storage
