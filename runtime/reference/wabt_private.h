// The few members of wabt's interpreter that this engine needs and wabt keeps
// private: running one instruction at a time, looking at the frames, and
// rewriting decoded instructions.
//
// The language lets an explicit template instantiation name private members;
// these are pointers to them, taken that way, so that Debian's library is used
// as it is. They are tied to wabt 1.0.32: another version either compiles with
// the same meaning or fails to compile.

#ifndef CALLGATE_RUNTIME_REFERENCE_WABT_PRIVATE_H_
#define CALLGATE_RUNTIME_REFERENCE_WABT_PRIVATE_H_

#include <vector>

#include "wabt/interp/interp.h"
#include "wabt/interp/istream.h"

namespace callgate::reference::wabt_private {

template <typename Tag, typename Tag::Type kMember>
struct Opened {
  friend typename Tag::Type Get(Tag) { return kMember; }
};

// Thread::frames_
struct ThreadFrames {
  using Type = std::vector<wabt::interp::Frame> wabt::interp::Thread::*;
  friend Type Get(ThreadFrames);
};
template struct Opened<ThreadFrames, &wabt::interp::Thread::frames_>;

// Thread::values_: the operand stack, with locals and arguments.
struct ThreadValues {
  using Type = std::vector<wabt::interp::Value> wabt::interp::Thread::*;
  friend Type Get(ThreadValues);
};
template struct Opened<ThreadValues, &wabt::interp::Thread::values_>;

// Thread::refs_: which of the values are references.
struct ThreadRefs {
  using Type = std::vector<wabt::interp::u32> wabt::interp::Thread::*;
  friend Type Get(ThreadRefs);
};
template struct Opened<ThreadRefs, &wabt::interp::Thread::refs_>;

// Thread::StepInternal: one instruction.
struct ThreadStep {
  using Type = wabt::interp::RunResult (wabt::interp::Thread::*)(
      wabt::interp::Trap::Ptr*);
  friend Type Get(ThreadStep);
};
template struct Opened<ThreadStep, &wabt::interp::Thread::StepInternal>;

// Thread::PushCall of a function defined by a module.
struct ThreadPushCall {
  using Type = wabt::interp::RunResult (wabt::interp::Thread::*)(
      const wabt::interp::DefinedFunc&, wabt::interp::Trap::Ptr*);
  friend Type Get(ThreadPushCall);
};
template struct Opened<ThreadPushCall, &wabt::interp::Thread::PushCall>;

struct ThreadPushValues {
  using Type = void (wabt::interp::Thread::*)(const wabt::interp::ValueTypes&,
                                              const wabt::interp::Values&);
  friend Type Get(ThreadPushValues);
};
template struct Opened<ThreadPushValues, &wabt::interp::Thread::PushValues>;

struct ThreadPopValues {
  using Type = void (wabt::interp::Thread::*)(const wabt::interp::ValueTypes&,
                                              wabt::interp::Values*);
  friend Type Get(ThreadPopValues);
};
template struct Opened<ThreadPopValues, &wabt::interp::Thread::PopValues>;

// Istream::data_: the decoded instructions.
struct IstreamData {
  using Type = wabt::interp::Buffer wabt::interp::Istream::*;
  friend Type Get(IstreamData);
};
template struct Opened<IstreamData, &wabt::interp::Istream::data_>;

// Instance::funcs_
struct InstanceFuncs {
  using Type = wabt::interp::RefVec wabt::interp::Instance::*;
  friend Type Get(InstanceFuncs);
};
template struct Opened<InstanceFuncs, &wabt::interp::Instance::funcs_>;

// Instance::tables_
struct InstanceTables {
  using Type = wabt::interp::RefVec wabt::interp::Instance::*;
  friend Type Get(InstanceTables);
};
template struct Opened<InstanceTables, &wabt::interp::Instance::tables_>;

// Store::objects_
struct StoreObjects {
  using Type = wabt::interp::Store::ObjectList wabt::interp::Store::*;
  friend Type Get(StoreObjects);
};
template struct Opened<StoreObjects, &wabt::interp::Store::objects_>;

}  // namespace callgate::reference::wabt_private

#endif  // CALLGATE_RUNTIME_REFERENCE_WABT_PRIVATE_H_
