#!/usr/bin/env python3
"""The comparison compares: a smoke run of each engine, and what must end one.

usage: compare_test.py CALLGATE

Where node or a clang for wasm32 is missing, what needs them is skipped and the
reason is in the test's XML.
"""

import importlib.machinery
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).absolute().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import kernel_set
import report
import runners

CALLGATE = ""


def missing_tool():
    """Why nothing can be compared here, or None."""
    for tool in ("node", "clang", "wasm-ld", "wat2wasm"):
        if not shutil.which(tool):
            return f"{tool} is not installed (deploy/install-packages build quickstart bench)"
    return None


def compare(*words):
    return subprocess.run(
        [sys.executable, str(HERE / "compare"), *words], capture_output=True, text=True, check=False
    )


def load_compare():
    """The script as a module: its name has no suffix."""
    loader = importlib.machinery.SourceFileLoader("compare", str(HERE / "compare"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", loader))
    loader.exec_module(module)
    return module


class KernelSetTest(unittest.TestCase):
    def test_the_kernels_are_described(self):
        kernels = kernel_set.all_kernels()
        self.assertGreaterEqual(len(kernels), 14)
        self.assertEqual({k.group for k in kernels}, set(kernel_set.GROUPS))

    def test_wrong_first_lines_are_refused(self):
        bench = "// bench: group=compute n=1 checksum=2"
        quick = "// quick: n=3 checksum=4"
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "k.c"
            source.write_text(f"{bench}\n{quick}\n")
            self.assertEqual(kernel_set.parse(source).expected(quick=True), 4)
            for lines, said in (
                ("// a kernel", "it does not begin with"),
                (bench, "it does not begin with"),
                (f"{bench} n=2\n{quick}", "`n=2` is none of .*, or is there twice"),
                (f"{bench} speed=9\n{quick}", "`speed=9` is none of group, n, checksum, imports"),
                (f"{bench.replace(' n=1', '')}\n{quick}", "lack or misspell 'n'"),
                (f"{bench.replace('=2', '=two')}\n{quick}", "lack or misspell"),
                (f"{bench.replace('compute', 'slow')}\n{quick}", "group slow is none of"),
            ):
                source.write_text(lines)
                with self.assertRaisesRegex(kernel_set.KernelError, said):
                    kernel_set.parse(source)


def one_kernel(group):
    return kernel_set.Kernel("k", pathlib.Path("k.c"), group, 1, 0, 1, 0, ())


def sample(ns):
    return runners.Sample(min_ns=ns, median_ns=ns, result=0)


class ReportTest(unittest.TestCase):
    def test_ratios_are_of_minima_and_of_rounds(self):
        kernel = one_kernel("compute")
        results = report.Results([kernel], [report.V8, "x"])
        # The second round was disturbed, on both sides alike.
        for v8, x in ((10, 20), (40, 60), (10, 30)):
            results.add(kernel, report.V8, sample(v8))
            results.add(kernel, "x", sample(x))
        self.assertEqual(results.ratio(kernel, "x", report.V8), 2)
        self.assertEqual(results.paired(kernel, "x", report.V8), 2)
        self.assertIsNone(results.ratio(kernel, "y", report.V8))
        self.assertIn("| k | compute | 10 ns / 10 ns | 20 ns / 30 ns | 300 % |", results.times_table())
        self.assertIn("| **compute: geomean** | **2.00** |", results.ratio_table())

    def test_a_target_is_met_missed_or_not_measured(self):
        kernel = one_kernel("compute")
        results = report.Results([kernel], [report.V8, "x"])
        results.add(kernel, report.V8, sample(100))
        results.add(kernel, "x", sample(105))
        results.add(kernel, "fuel", sample(150))
        text = report.target_table(report.target_rows(results, "x", "fuel", "h", "p", None))
        self.assertIn("| execution: compute kernels, geomean against V8 | ≤ 1.05 | 1.05 | met |", text)
        self.assertIn("| fuel on against off, geomean | ≤ 1.07 | 1.43 | **missed** |", text)
        self.assertIn("| guest calls host, hook set | ≤ 2 | – | not measured |", text)

    def test_geomean(self):
        self.assertAlmostEqual(report.geomean([2, 8]), 4)
        self.assertIsNone(report.geomean([]))

    def test_the_marked_part_is_replaced(self):
        module = load_compare()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "R.md"
            path.write_text(f"a\n{module.BEGIN}\nold\n{module.END}\nz\n")
            module.put_into(path, "new\n")
            module.put_into(path, "newer\n")
            self.assertEqual(path.read_text(), f"a\n{module.BEGIN}\n\nnewer\n\n{module.END}\nz\n")
            path.write_text("no marks\n")
            with self.assertRaises(SystemExit):
                module.put_into(path, "new\n")


class OutsideRunnerTest(unittest.TestCase):
    """What other engines print, by scripts in their place."""

    def run_fake(self, make, prints):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "engine"
            path.write_text(f"#!/bin/sh\n{prints}\n")
            path.chmod(0o755)
            runner = make(str(path))
            runner.idle_module = "idle.wasm"
            return runner.run(one_kernel("compute"), "k.wasm", 1, 2)

    def test_results_are_found(self):
        self.assertEqual(self.run_fake(runners.wasm3, "echo 'Result: 4294967295' >&2").result, -1)
        self.assertEqual(self.run_fake(runners.iwasm, "echo 0xffffffff:i32").result, -1)

    def test_no_result_is_an_error(self):
        with self.assertRaisesRegex(runners.RunError, "printed no result: hello"):
            self.run_fake(runners.wasm3, "echo hello")


@unittest.skipIf(missing_tool(), missing_tool())
class CompareTest(unittest.TestCase):
    def test_a_smoke_run_of_each_engine(self):
        for engine, column in (("reference", "reference, fuel"), ("native", "baseline, fuel")):
            done = compare("--callgate", CALLGATE, "--engine", engine, "--quick",
                           "--kernels", "fib_recursive,host_calls")
            self.assertEqual(done.returncode, 0, done.stderr)
            for part in ("| fib_recursive | calls |", "| host_calls | host |", f"| {column} |",
                         "| **host: geomean** |", "A smoke run"):
                self.assertIn(part, done.stdout)
            self.assertEqual("| execution: call-heavy kernels" in done.stdout, engine == "native")

    def test_what_ends_a_run(self):
        with tempfile.TemporaryDirectory() as folder:
            liar = pathlib.Path(folder) / "callgate"
            liar.write_text(
                "#!/bin/sh\necho '{\"call_ns\":{\"min\":1,\"median\":1},\"compile_ms\":1,"
                "\"instantiate_us\":1,\"result\":\"7\"}'\n"
            )
            liar.chmod(0o755)
            for words, said in (
                (["--callgate", str(liar)], r"run\(12\) is 7, and should be 144"),
                (["--callgate", "/no/such"], "--callgate /no/such is not there"),
                (["--callgate", CALLGATE, "--kernels", "fob"], "there is no kernel fob"),
                (["--callgate", CALLGATE, "--results", "R.md"], "--quick measures nothing"),
            ):
                done = compare("--engine", "reference", "--quick", "--kernels", "fib_recursive", *words)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr, said)


class XmlResult(unittest.TextTestResult):
    """Tells Bazel each case, so that a skip is counted as one."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.suite = xml.etree.ElementTree.Element("testsuite", name="compare_test")
        self.cases = {}

    def startTest(self, test):
        super().startTest(test)
        self.cases[test] = xml.etree.ElementTree.SubElement(
            self.suite, "testcase", classname=type(test).__name__, name=test._testMethodName
        )

    def note(self, test, kind, message):
        case = self.cases.get(test)
        if case is None:  # It failed before a test began.
            case = xml.etree.ElementTree.SubElement(self.suite, "testcase", name=str(test))
        xml.etree.ElementTree.SubElement(case, kind, message=message)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "failure", str(err[1]))

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "error", str(err[1]))

    def stopTestRun(self):
        super().stopTestRun()
        path = os.environ.get("XML_OUTPUT_FILE")
        if path:
            xml.etree.ElementTree.ElementTree(self.suite).write(path, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    CALLGATE = str(pathlib.Path(sys.argv.pop(1)).absolute())
    unittest.main(testRunner=unittest.TextTestRunner(resultclass=XmlResult, verbosity=2))
