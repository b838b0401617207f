"""Runs one kernel once in one engine, each in a process of its own.

A runner's `run` returns a Sample, and raises RunError with what the engine said.
Times are of one call: whatever a process does before and after is not in them,
except where an engine can only be timed from outside (OutsideRunner).
"""

import dataclasses
import json
import pathlib
import re
import subprocess
import time

NODE_RUNNER = pathlib.Path(__file__).absolute().parent / "node_runner.js"

# TurboFan alone, for all functions, before the first call. The first flag is
# what the comparison is about; a node that does not know the others has no such
# feature to turn off.
NODE_FLAG = "--no-liftoff"
NODE_FLAGS_IF_KNOWN = ["--no-wasm-tier-up", "--no-wasm-dynamic-tiering", "--no-wasm-lazy-compilation"]

TIMEOUT_S = 300


class RunError(Exception):
    """An engine did not do what was asked; the message says what it said."""


@dataclasses.dataclass(frozen=True)
class Sample:
    min_ns: float
    median_ns: float
    result: int
    batch: int = 1
    fuel: object = None  # where it was counted
    compile_ms: object = None
    load_us: object = None
    instantiate_us: object = None
    code_bytes: object = None


def execute(command):
    """The process's stdout and stderr, which must end well."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise RunError(f"{command[0]} cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise RunError(f"`{' '.join(command)}` took more than {TIMEOUT_S} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise RunError(f"`{' '.join(command)}` ended with {done.returncode}: {said}")
    return done.stdout, done.stderr


def signed(value):
    """As a signed 32-bit number, which checksums are."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def sample_of(text):
    report = json.loads(text)
    call = report["call_ns"] or {"min": 0.0, "median": 0.0}
    if report.get("stable") is False:
        raise RunError("the result changes from call to call")
    return Sample(
        min_ns=call["min"],
        median_ns=call["median"],
        result=signed(int(report["result"] or 0)),
        batch=report.get("batch", 1),
        fuel=report["fuel_used"] if report.get("fuel") else None,
        compile_ms=report["compile_ms"],
        load_us=report.get("load_us"),
        instantiate_us=report["instantiate_us"],
        code_bytes=report.get("code_bytes"),
    )


class NodeRunner:
    """V8, TurboFan only."""

    def __init__(self, node):
        self.node = node
        self.flags = [NODE_FLAG]
        for flag in NODE_FLAGS_IF_KNOWN:
            try:
                execute([node, NODE_FLAG, flag, "-e", "0"])
                self.flags.append(flag)
            except RunError:
                pass

    def version(self):
        return execute([self.node, "-p", "`${process.version}, V8 ${process.versions.v8}`"])[0].strip()

    def run(self, kernel, module, n, repeat):
        out, _ = execute([self.node, *self.flags, str(NODE_RUNNER), str(module), str(n), str(repeat)])
        return sample_of(out)


class CallgateRunner:
    """callgate bench with one choice of level, fuel and hook."""

    def __init__(self, callgate, engine, level, fuel, hook, policy):
        self.command = [callgate, "bench", "--json", "--engine", engine]
        if level:
            self.command += ["--level", level]
        self.command += ["--fuel", "on" if fuel else "off", "--hook", hook]
        if hook == "policy":
            self.command += ["--policy", str(policy)]

    def run(self, kernel, module, n, repeat):
        command = self.command + ["--invoke", "run", f"--arg={n}", "--repeat", str(repeat), str(module)]
        for imported in kernel.imports:
            command += ["--stub", ".".join(imported)]
        return sample_of(execute(command)[0])

    def compile(self, module):
        """A Sample of compiling alone."""
        return sample_of(execute(self.command + [str(module)])[0])


class OutsideRunner:
    """An engine whose command line runs an export and prints the result.

    It is timed as a whole process, less what a process takes for a function
    that does nothing; so its short runs are worth little.
    """

    def __init__(self, command, pattern, base):
        self.command = command  # MODULE and N stand for themselves
        self.pattern = re.compile(pattern)
        self.base = base

    def timed(self, module, n):
        words = [str({"MODULE": module, "N": n}.get(word, word)) for word in self.command]
        before = time.monotonic_ns()
        out, err = execute(words)
        took = time.monotonic_ns() - before
        found = self.pattern.search(out + err)
        if not found:
            raise RunError(f"`{' '.join(words)}` printed no result: {(out + err).strip()}")
        return took, signed(int(found.group(1), self.base))

    def run(self, kernel, module, n, repeat):
        startup = min(self.timed(self.idle_module, 7)[0] for _ in range(2))
        times = []
        for _ in range(repeat):
            took, result = self.timed(module, n)
            times.append(max(took - startup, 1))
        times.sort()
        return Sample(min_ns=times[0], median_ns=times[len(times) // 2], result=result)

    # The module of a kernel that only returns; set once it is built.
    idle_module = None


def wasm3(path):
    return OutsideRunner([path, "--func", "run", "MODULE", "N"], r"Result: (-?\d+)", 10)


def iwasm(path):
    return OutsideRunner([path, "--function", "run", "MODULE", "N"], r"0x([0-9a-f]+):i32", 16)
