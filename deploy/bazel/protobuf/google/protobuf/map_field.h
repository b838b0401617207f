// In front of Debian's header of the same name. Under ThreadSanitizer that one
// gives its class two more members, which Debian's compiled libprotobuf does not
// have: the two would disagree about where a map lies in a message.

#ifndef CALLGATE_DEPLOY_BAZEL_PROTOBUF_GOOGLE_PROTOBUF_MAP_FIELD_H_
#define CALLGATE_DEPLOY_BAZEL_PROTOBUF_GOOGLE_PROTOBUF_MAP_FIELD_H_

// The C++ library has seen the sanitizer before it is hidden.
#include <cstddef>

#pragma GCC system_header
#pragma push_macro("__SANITIZE_THREAD__")
#undef __SANITIZE_THREAD__
#include_next "google/protobuf/map_field.h"
#pragma pop_macro("__SANITIZE_THREAD__")

#endif  // CALLGATE_DEPLOY_BAZEL_PROTOBUF_GOOGLE_PROTOBUF_MAP_FIELD_H_
