"""The subset of rules_cc that Bazel 4 needs, as wrappers of its native rules.

Debian bookworm's bazel-rules-cc (0.0.4) loads a symbol that its bazel-bootstrap
(4.2.3) does not have yet, so no C++ target can be loaded with that pair.
"""

# buildifier: disable=native-cc
def cc_binary(**kwargs):
    native.cc_binary(**kwargs)

# buildifier: disable=native-cc
def cc_import(**kwargs):
    native.cc_import(**kwargs)

# buildifier: disable=native-cc
def cc_library(**kwargs):
    native.cc_library(**kwargs)

# buildifier: disable=native-cc
def cc_proto_library(**kwargs):
    native.cc_proto_library(**kwargs)

# buildifier: disable=native-cc
def cc_test(**kwargs):
    native.cc_test(**kwargs)

# buildifier: disable=native-cc
def cc_toolchain(**kwargs):
    native.cc_toolchain(**kwargs)

# buildifier: disable=native-cc
def cc_toolchain_suite(**kwargs):
    native.cc_toolchain_suite(**kwargs)
