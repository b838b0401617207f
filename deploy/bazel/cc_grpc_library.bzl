"""cc_grpc_library: the C++ service stubs (and gMock stubs) of a proto_library."""

load("@rules_proto//proto:defs.bzl", "ProtoInfo")

_SUFFIXES = [".grpc.pb.cc", ".grpc.pb.h", "_mock.grpc.pb.h"]

def _generate_impl(ctx):
    proto = ctx.attr.proto[ProtoInfo]

    # The stubs go next to the *.pb.h that cc_proto_library makes of the same source.
    stems = [src.short_path[len(ctx.label.package) + 1:-len(".proto")] for src in proto.direct_sources]
    outs = [ctx.actions.declare_file(stem + suffix) for stem in stems for suffix in _SUFFIXES]

    args = ctx.actions.args()
    args.add(ctx.executable._plugin, format = "--plugin=protoc-gen-grpc=%s")
    args.add(ctx.bin_dir.path, format = "--grpc_out=generate_mock_code=true:%s")
    args.add_all(proto.transitive_proto_path, format_each = "-I%s")
    args.add_all(proto.direct_sources)
    ctx.actions.run(
        executable = ctx.executable._protoc,
        arguments = [args],
        inputs = proto.transitive_sources,
        tools = [ctx.executable._plugin],
        outputs = outs,
        mnemonic = "GrpcCpp",
        progress_message = "Generating gRPC stubs for %s" % ctx.attr.proto.label,
    )
    return [
        DefaultInfo(files = depset(outs)),
        OutputGroupInfo(
            srcs = depset([out for out in outs if out.extension == "cc"]),
            hdrs = depset([out for out in outs if out.extension == "h"]),
        ),
    ]

_generate = rule(
    implementation = _generate_impl,
    attrs = {
        "proto": attr.label(mandatory = True, providers = [ProtoInfo]),
        "_plugin": attr.label(
            default = "@com_github_grpc_grpc//:grpc_cpp_plugin",
            allow_single_file = True,
            cfg = "exec",
            executable = True,
        ),
        "_protoc": attr.label(
            default = "@com_google_protobuf//:protoc",
            allow_single_file = True,
            cfg = "exec",
            executable = True,
        ),
    },
)

def cc_grpc_library(name, proto, cc_proto, **kwargs):
    """Declares a cc_library with the service stubs of `proto`.

    Args:
      name: the cc_library.
      proto: a proto_library with services, in the same package, without strip_import_prefix.
      cc_proto: its cc_proto_library.
      **kwargs: passed on to the cc_library.
    """
    _generate(
        name = name + "_stubs",
        proto = proto,
    )
    [
        native.filegroup(
            name = "%s_%s" % (name, group),
            srcs = [name + "_stubs"],
            output_group = group,
        )
        for group in ["srcs", "hdrs"]
    ]
    native.cc_library(
        name = name,
        srcs = [name + "_srcs"],
        hdrs = [name + "_hdrs"],
        deps = [
            cc_proto,
            "@com_github_grpc_grpc//:grpc++",
        ],
        **kwargs
    )
