// The release that this source is.

#ifndef CALLGATE_SERVER_VERSION_H_
#define CALLGATE_SERVER_VERSION_H_

namespace callgate {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace callgate

#endif  // CALLGATE_SERVER_VERSION_H_
