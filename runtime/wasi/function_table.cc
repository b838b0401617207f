#include "runtime/wasi/function_table.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "runtime/wasi/confined_path.h"

namespace callgate {
namespace wasi {
namespace {

// One parameter: its name in policies, what it is, and for some kinds which
// other parameters belong to it.
struct Parameter {
  const char* name;
  ArgKind kind;
  uint32_t len_index = kNoIndex;
  uint32_t dir_index = kNoIndex;
};

struct Row {
  const char* name;
  std::vector<Parameter> parameters;
  FunctionBody body;
};

Parameter U32(const char* name) { return {name, ArgKind::kU32}; }
Parameter U64(const char* name) { return {name, ArgKind::kU64}; }
Parameter S64(const char* name) { return {name, ArgKind::kS64}; }
Parameter Fd(const char* name) { return {name, ArgKind::kHandle}; }
Parameter Pointer(const char* name) { return {name, ArgKind::kPointer}; }
Parameter Path(const char* name, uint32_t len, uint32_t dir) {
  return {name, ArgKind::kPath, len, dir};
}
Parameter Sized(const char* name, ArgKind kind, uint32_t len) {
  return {name, kind, len};
}

// Sorted by name. The arguments are named as in the standard's own
// description, except for what policies use most: `rights` and `len`.
std::vector<Row> Rows() {
  return {
      {"args_get", {Pointer("argv"), Pointer("argv_buf")}, ArgsGet},
      {"args_sizes_get",
       {Pointer("argc"), Pointer("argv_buf_size")},
       ArgsSizesGet},
      {"clock_res_get", {U32("id"), Pointer("resolution")}, ClockResGet},
      {"clock_time_get",
       {U32("id"), U64("precision"), Pointer("time")},
       ClockTimeGet},
      {"environ_get", {Pointer("environ"), Pointer("environ_buf")}, EnvironGet},
      {"environ_sizes_get",
       {Pointer("count"), Pointer("environ_buf_size")},
       EnvironSizesGet},
      {"fd_advise",
       {Fd("fd"), U64("offset"), U64("len"), U32("advice")},
       FdAdvise},
      {"fd_allocate", {Fd("fd"), U64("offset"), U64("len")}, FdAllocate},
      {"fd_close", {Fd("fd")}, FdClose},
      {"fd_datasync", {Fd("fd")}, FdDatasync},
      {"fd_fdstat_get", {Fd("fd"), Pointer("stat")}, FdFdstatGet},
      {"fd_fdstat_set_flags", {Fd("fd"), U32("flags")}, FdFdstatSetFlags},
      {"fd_fdstat_set_rights",
       {Fd("fd"), U64("rights"), U64("rights_inheriting")},
       FdFdstatSetRights},
      {"fd_filestat_get", {Fd("fd"), Pointer("buf")}, FdFilestatGet},
      {"fd_filestat_set_size", {Fd("fd"), U64("size")}, FdFilestatSetSize},
      {"fd_filestat_set_times",
       {Fd("fd"), U64("atim"), U64("mtim"), U32("fst_flags")},
       FdFilestatSetTimes},
      {"fd_pread",
       {Fd("fd"), Sized("iovs", ArgKind::kIovecOut, 2), U32("iovs_len"),
        U64("offset"), Pointer("nread")},
       FdPread},
      {"fd_prestat_dir_name",
       {Fd("fd"), Sized("path", ArgKind::kBytesOut, 2), U32("path_len")},
       FdPrestatDirName},
      {"fd_prestat_get", {Fd("fd"), Pointer("buf")}, FdPrestatGet},
      {"fd_pwrite",
       {Fd("fd"), Sized("iovs", ArgKind::kIovecIn, 2), U32("iovs_len"),
        U64("offset"), Pointer("nwritten")},
       FdPwrite},
      {"fd_read",
       {Fd("fd"), Sized("iovs", ArgKind::kIovecOut, 2), U32("iovs_len"),
        Pointer("nread")},
       FdRead},
      {"fd_readdir",
       {Fd("fd"), Sized("buf", ArgKind::kBytesOut, 2), U32("buf_len"),
        U64("cookie"), Pointer("bufused")},
       FdReaddir},
      {"fd_renumber", {Fd("fd"), Fd("to")}, FdRenumber},
      {"fd_seek",
       {Fd("fd"), S64("offset"), U32("whence"), Pointer("newoffset")},
       FdSeek},
      {"fd_sync", {Fd("fd")}, FdSync},
      {"fd_tell", {Fd("fd"), Pointer("offset")}, FdTell},
      {"fd_write",
       {Fd("fd"), Sized("iovs", ArgKind::kIovecIn, 2), U32("iovs_len"),
        Pointer("nwritten")},
       FdWrite},
      {"path_create_directory",
       {Fd("fd"), Path("path", 2, 0), U32("path_len")},
       PathCreateDirectory},
      {"path_filestat_get",
       {Fd("fd"), U32("flags"), Path("path", 3, 0), U32("path_len"),
        Pointer("buf")},
       PathFilestatGet},
      {"path_filestat_set_times",
       {Fd("fd"), U32("flags"), Path("path", 3, 0), U32("path_len"),
        U64("atim"), U64("mtim"), U32("fst_flags")},
       PathFilestatSetTimes},
      {"path_link",
       {Fd("old_fd"), U32("old_flags"), Path("old_path", 3, 0),
        U32("old_path_len"), Fd("new_fd"), Path("new_path", 6, 4),
        U32("new_path_len")},
       PathLink},
      {"path_open",
       {Fd("fd"), U32("dirflags"), Path("path", 3, 0), U32("path_len"),
        U32("oflags"), U64("rights"), U64("rights_inheriting"), U32("fdflags"),
        Pointer("opened_fd")},
       PathOpen},
      {"path_readlink",
       {Fd("fd"), Path("path", 2, 0), U32("path_len"),
        Sized("buf", ArgKind::kBytesOut, 4), U32("buf_len"),
        Pointer("bufused")},
       PathReadlink},
      {"path_remove_directory",
       {Fd("fd"), Path("path", 2, 0), U32("path_len")},
       PathRemoveDirectory},
      {"path_rename",
       {Fd("fd"), Path("old_path", 2, 0), U32("old_path_len"), Fd("new_fd"),
        Path("new_path", 5, 3), U32("new_path_len")},
       PathRename},
      {"path_symlink",
       {Sized("old_path", ArgKind::kString, 1), U32("old_path_len"), Fd("fd"),
        Path("new_path", 4, 2), U32("new_path_len")},
       PathSymlink},
      {"path_unlink_file",
       {Fd("fd"), Path("path", 2, 0), U32("path_len")},
       PathUnlinkFile},
      {"poll_oneoff",
       {Pointer("in"), Pointer("out"), U32("nsubscriptions"),
        Pointer("nevents")},
       PollOneoff},
      {"proc_exit", {U32("rval")}, ProcExit},
      {"proc_raise", {U32("sig")}, ProcRaise},
      {"random_get",
       {Sized("buf", ArgKind::kBytesOut, 1), U32("len")},
       RandomGet},
      {"sched_yield", {}, SchedYield},
      {"sock_accept",
       {Fd("fd"), U32("flags"), Pointer("result_fd")},
       SockAccept},
      {"sock_recv",
       {Fd("fd"), Sized("ri_data", ArgKind::kIovecOut, 2), U32("ri_data_len"),
        U32("ri_flags"), Pointer("ro_data_len"), Pointer("ro_flags")},
       SockRecv},
      {"sock_send",
       {Fd("fd"), Sized("si_data", ArgKind::kIovecIn, 2), U32("si_data_len"),
        U32("si_flags"), Pointer("so_data_len")},
       SockSend},
      {"sock_shutdown", {Fd("fd"), U32("how")}, SockShutdown},
  };
}

bool Is64Bit(ArgKind kind) {
  return kind == ArgKind::kU64 || kind == ArgKind::kS64;
}

FunctionInfo InfoOf(const Row& row) {
  FunctionInfo info;
  info.name = row.name;
  for (const Parameter& parameter : row.parameters) {
    info.type.params.push_back(Is64Bit(parameter.kind) ? ValType::kI64
                                                       : ValType::kI32);
    ArgSpec spec;
    spec.name = parameter.name;
    spec.index = static_cast<uint32_t>(info.spec.args.size());
    spec.kind = parameter.kind;
    spec.len_index = parameter.len_index;
    spec.dir_index = parameter.dir_index;
    if (spec.kind == ArgKind::kPath || spec.kind == ArgKind::kString) {
      spec.max_bytes = kPathBytesMax;
    }
    info.spec.args.push_back(std::move(spec));
  }
  // proc_exit alone answers nothing.
  info.spec.errno_result = row.body != ProcExit;
  if (info.spec.errno_result) info.type.results = {ValType::kI32};
  return info;
}

struct Table {
  std::vector<FunctionInfo> infos;
  std::vector<FunctionBody> bodies;
};

// Made at the first use and never destroyed.
const Table& TheTable() {
  static const Table& table = *[] {
    auto* made = new Table;
    for (const Row& row : Rows()) {
      made->infos.push_back(InfoOf(row));
      made->bodies.push_back(row.body);
    }
    return made;
  }();
  return table;
}

}  // namespace

absl::Span<const FunctionInfo> AllFunctions() { return TheTable().infos; }
absl::Span<const FunctionBody> FunctionBodies() { return TheTable().bodies; }

const FunctionInfo* FindFunction(absl::string_view name) {
  const std::vector<FunctionInfo>& infos = TheTable().infos;
  const auto found =
      std::lower_bound(infos.begin(), infos.end(), name,
                       [](const FunctionInfo& info, absl::string_view wanted) {
                         return absl::string_view(info.name) < wanted;
                       });
  return found != infos.end() && found->name == name ? &*found : nullptr;
}

}  // namespace wasi
}  // namespace callgate
