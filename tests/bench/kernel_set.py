"""The kernels: what their first lines say of them, and their modules.

A source in kernels/ begins with two lines (`;;` in the text format):

    // bench: group=G n=N checksum=C [imports=M.N,…]
    // quick: n=N checksum=C

`run(N)` must return C, a signed 32-bit number; the quick pair is for engines that
interpret. Imports are functions that do nothing and return zeros.
"""

import dataclasses
import pathlib
import re
import subprocess

FOLDER = pathlib.Path(__file__).absolute().parent / "kernels"

# How a group is reported. `entry` is the host calling a guest: its call is too
# short to be timed alone, so both sides time many of them together.
GROUPS = ("compute", "calls", "host", "entry")

CLANG_FLAGS = [
    "--target=wasm32",
    "-O2",
    "-std=c11",
    "-nostdlib",
    "-ffreestanding",
    # A loop that copies stays a loop: there is no memcpy to call.
    "-fno-builtin",
    "-Wall",
    "-Wextra",
    "-Werror",
]
LINK_FLAGS = ["-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=65536"]


class KernelError(Exception):
    """A kernel that cannot be read or built; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    name: str
    source: pathlib.Path
    group: str
    n: int
    checksum: int
    quick_n: int
    quick_checksum: int
    imports: tuple  # of (module, name)

    def argument(self, quick):
        return self.quick_n if quick else self.n

    def expected(self, quick):
        return self.quick_checksum if quick else self.checksum


def facts_of(source, line, what, keys):
    """The KEY=VALUE words of one of the two lines."""
    match = re.fullmatch(rf"(?://|;;) {what}: (.*)", line)
    if not match:
        raise KernelError(f"{source}: it does not begin with `// bench: …` and `// quick: …`")
    facts = {}
    for word in match.group(1).split():
        key, equals, value = word.partition("=")
        if not equals or key not in keys or key in facts:
            raise KernelError(f"{source}: `{word}` is none of {', '.join(keys)}, or is there twice")
        facts[key] = value
    return facts


def parse(source):
    """The kernel that one source file describes."""
    lines = [*source.read_text(encoding="utf-8").split("\n", 2), ""]
    bench = facts_of(source, lines[0], "bench", ("group", "n", "checksum", "imports"))
    quick = facts_of(source, lines[1], "quick", ("n", "checksum"))
    try:
        kernel = Kernel(
            name=source.stem,
            source=source,
            group=bench["group"],
            n=int(bench["n"]),
            checksum=int(bench["checksum"]),
            quick_n=int(quick["n"]),
            quick_checksum=int(quick["checksum"]),
            imports=tuple(
                tuple(each.split(".", 1)) for each in bench.get("imports", "").split(",") if each
            ),
        )
    except (KeyError, ValueError) as error:
        raise KernelError(f"{source}: its first lines lack or misspell {error}") from error
    if kernel.group not in GROUPS:
        raise KernelError(f"{source}: group {kernel.group} is none of {', '.join(GROUPS)}")
    return kernel


def all_kernels(folder=FOLDER):
    """Every kernel, by group and then by name."""
    sources = [each for each in folder.iterdir() if each.suffix in (".c", ".wat")]
    return sorted(map(parse, sources), key=lambda k: (GROUPS.index(k.group), k.name))


def run_tool(command, what):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KernelError(f"{what} does not build: {done.stderr.strip()}")


def build(kernel, into, clang, wat2wasm):
    """Compiles the kernel; returns the path of its module."""
    module = pathlib.Path(into) / f"{kernel.name}.wasm"
    if kernel.source.suffix == ".c":
        command = [clang, *CLANG_FLAGS, *LINK_FLAGS, str(kernel.source), "-o", str(module)]
    else:
        command = [wat2wasm, str(kernel.source), "-o", str(module)]
    run_tool(command, kernel.source)
    return module


def build_together(kernels, into, clang):
    """One module of all kernels in C, to compile; returns its path."""
    objects = []
    for kernel in kernels:
        if kernel.source.suffix != ".c":
            continue
        name = f"run_{kernel.name}"
        objects.append(str(pathlib.Path(into) / f"{kernel.name}.o"))
        run_tool(
            [clang, *CLANG_FLAGS, f"-Drun={name}", f'-DKERNEL_EXPORT="{name}"', "-c",
             str(kernel.source), "-o", objects[-1]],
            kernel.source,
        )
    module = pathlib.Path(into) / "all_kernels.wasm"
    run_tool([clang, *CLANG_FLAGS, *LINK_FLAGS, *objects, "-o", str(module)], "the module of all kernels")
    return module


def code_section_bytes(module):
    """The size of a module's code section, 0 without one."""
    data = pathlib.Path(module).read_bytes()
    at = 8
    while at < len(data):
        section = data[at]
        at += 1
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if section == 10:
            return size
        at += size
    return 0
