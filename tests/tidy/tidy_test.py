#!/usr/bin/env python3
"""Rules about the tree that the build itself cannot hold.

usage: tidy_test.py [PATH_OF_deploy/packages.txt]

The argument, made by Bazel, is a link into the tree: following it finds the tree
itself, whose files are too many to list one by one.

Each check walks the sources, collects what breaks its rule and names file and
line. Every check also proves on a small example that it can fail.
"""

import json
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path()

SOURCE_DIRS = ("proto", "server", "runtime", "policy", "tests", "deploy")
CODE = {".h", ".cc", ".c", ".proto", ".py", ".bzl", ".bazel", ".BUILD"}


def tree_files():
    for top in SOURCE_DIRS:
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file():
                yield path


def code_lines(suffixes):
    for path in tree_files():
        if path.suffix in suffixes:
            text = path.read_text(encoding="utf-8")
            for number, line in enumerate(text.splitlines(), 1):
                yield path.relative_to(ROOT).as_posix(), number, line


def includes_outside(pattern, folder, lines):
    """Includes that match `pattern` in a file that is not under `folder`."""
    include = re.compile(r'#\s*include\s*[<"](' + pattern + ")")
    return [
        f"{name}:{number}: {line.strip()}"
        for name, number, line in lines
        if include.match(line.strip()) and not name.startswith(folder)
    ]


def untyped_todos(lines):
    """Future work says what kind it is: TODO(perf): …"""
    todo = "TO" + "DO"  # In two, or this file would break its own rule.
    typed = re.compile(todo + r"\([a-z-]+\): \S")
    return [
        f"{name}:{number}: {line.strip()}"
        for name, number, line in lines
        if re.search(r"\b(" + todo + "|FIX" + r"ME|X{3})\b", line) and not typed.search(line)
    ]


METRIC = re.compile(r"\b(?:callgate|process)_[a-z0-9_]+\b")
RECORDED = re.compile(r"\b[a-z]+:callgate_[a-z0-9_]+:[a-z0-9]+\b|\bcallgate:[a-z0-9_]+:[a-z0-9]+\b")


def unknown_metrics(expression, names):
    """Metrics in a PromQL expression that the daemon does not have."""
    expression = RECORDED.sub("", expression)
    unknown = []
    for name in METRIC.findall(expression):
        stem = re.sub(r"_(bucket|sum|count)$", "", name)
        if name not in names and stem not in names:
            unknown.append(name)
    return unknown


def dashboard_expressions(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def rule_expressions(text):
    """The expr of each rule of a rules file, folded lines included."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        match = re.match(r"^(\s+)expr: (.*)$", line)
        if not match:
            continue
        indent, rest = len(match.group(1)), match.group(2)
        if rest != ">-":
            yield index + 1, rest
            continue
        folded = []
        for more in lines[index + 1:]:
            if more.strip() and len(more) - len(more.lstrip()) <= indent:
                break
            folded.append(more.strip())
        yield index + 1, " ".join(folded)


def declared_metrics(source):
    return set(re.findall(r'"((?:callgate|process)_[a-z0-9_]+)"', source))


def without_panel(names, expressions):
    """Metrics that no expression of a dashboard shows."""
    shown = set()
    for expression in expressions:
        for name in METRIC.findall(RECORDED.sub("", expression)):
            shown.add(name)
            shown.add(re.sub(r"_(bucket|sum|count)$", "", name))
    return sorted(set(names) - shown)


def untested_alerts(rules, tests):
    """Alerts that no test makes fire and stay silent."""
    found = []
    for alert in re.findall(r"- alert: (\S+)", rules):
        cases = re.split(r"- alertname: ", tests)[1:]
        fires = [c for c in cases if c.split()[0] == alert and "exp_alerts" in c]
        if not fires:
            found.append(alert)
    return found


def told_actions(source):
    """Actions of events that C++ source publishes."""
    calls = re.findall(
        r"\b(?:set_action|PublishLifecycle|PublishDaemonEvent)\(([^;]*?)\);", source
    )
    return {name for call in calls for name in re.findall(r'"([a-z]+_[a-z_]+)"', call)}


class Tidy(unittest.TestCase):
    def check(self, found):
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_only_runtime_native_includes_llvm(self):
        bad = [("runtime/store.cc", 3, '#include "llvm/IR/Module.h"')]
        self.assertTrue(includes_outside("llvm(-c)?/", "runtime/native/", bad))
        lines = code_lines({".h", ".cc"})
        self.check(includes_outside("llvm(-c)?/", "runtime/native/", lines))

    def test_only_runtime_reference_includes_the_interpreter(self):
        bad = [("runtime/store.cc", 3, '#include "wabt/interp/interp.h"')]
        self.assertTrue(includes_outside("(src|wabt)/interp/", "runtime/reference/", bad))
        lines = code_lines({".h", ".cc"})
        self.check(includes_outside("(src|wabt)/interp/", "runtime/reference/", lines))

    def test_the_runtime_knows_no_policies_and_no_network(self):
        wrong = "(policy|server|proto)/|grpcpp/|prometheus/|google/protobuf/"
        found = [
            entry
            for entry in includes_outside(wrong, "\0", code_lines({".h", ".cc"}))
            # Its tests may: a manifest is JSON, and protobuf reads that.
            if entry.startswith("runtime/") and "_test.cc:" not in entry
            # The compiler's answer crosses a process boundary as a message.
            and not re.match(r"runtime/native/.*google/protobuf/|runtime/native/.*runtime/native/\w+\.pb\.h", entry)
        ]
        self.check(found)

    def test_policies_see_one_side_of_the_runtime(self):
        allowed = re.compile(
            r'#\s*include "runtime/(call_hook|call_ring|probe|function_filter|fuel|host_function_spec|trap|value|check|extern_type)\.h"'
        )
        found = []
        for name, number, line in code_lines({".h", ".cc"}):
            if name.startswith("policy/") and re.match(r'#\s*include "runtime/', line):
                if not allowed.match(line):
                    found.append(f"{name}:{number}: {line}")
        self.check(found)

    def test_future_work_is_typed(self):
        marker = "TO" + "DO"
        self.assertTrue(untyped_todos([("a.cc", 1, f"// {marker}: later")]))
        self.assertFalse(untyped_todos([("a.cc", 1, f"// {marker}(perf): pool these")]))
        self.check(untyped_todos(code_lines(CODE)))

    def test_tests_do_not_sleep(self):
        sleep = re.compile(r"\b(SleepFor|sleep_for|sleep_until|usleep|nanosleep|time\.sleep|sleep)\s*\(")
        self.assertTrue(sleep.search("absl::SleepFor(absl::Seconds(1));"))
        found = [
            f"{name}:{number}: {line.strip()}"
            for name, number, line in code_lines({".cc", ".h", ".py"})
            if (name.startswith("tests/") or name.endswith("_test.cc"))
            and not name.startswith("tests/tidy/")
            and sleep.search(line)
        ]
        self.check(found)

    def test_headers_open_with_prose_and_a_guard(self):
        found = []
        for path in tree_files():
            # A guest's source is data of a test.
            if path.suffix != ".h" or "testdata" in path.parts:
                continue
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            guard = "CALLGATE_" + re.sub(r"[/.]", "_", name).upper() + "_"
            if not text.startswith("//"):
                found.append(f"{name}:1: does not say what it is")
            if f"#ifndef {guard}\n" not in text:
                found.append(f"{name}: has no guard {guard}")
        self.check(found)

    def test_no_file_is_named_for_nothing(self):
        vague = re.compile(r"(^|_)(util|utils|common|manager|helper|helpers|misc)(_|$|\.)")
        self.assertTrue(vague.search("string_util.h"))
        self.check(
            [
                path.relative_to(ROOT).as_posix()
                for path in tree_files()
                if vague.search(path.name)
            ]
        )

    def test_dashboard_and_rules_name_only_metrics_that_exist(self):
        names = declared_metrics((ROOT / "server/metrics/names.cc").read_text())
        self.assertIn("callgate_decisions_total", names)
        self.assertTrue(unknown_metrics("rate(callgate_no_such_total[5m])", names))
        self.assertFalse(unknown_metrics("tenant:callgate_denials:rate5m > 1", names))

        dashboard = json.loads((ROOT / "deploy/grafana/callgate.json").read_text())
        expressions = [
            (f"deploy/grafana/callgate.json: {title}", expression)
            for title, expression in dashboard_expressions(dashboard)
        ]
        self.assertGreater(len(expressions), 20)
        rules = "deploy/prometheus/callgate.rules.yml"
        of_rules = [
            (f"{rules}:{line}", expression)
            for line, expression in rule_expressions((ROOT / rules).read_text())
        ]
        self.assertGreater(len(of_rules), 10)
        self.check(
            [
                f"{place}: {name}"
                for place, expression in expressions + of_rules
                for name in unknown_metrics(expression, names)
            ]
        )

    def test_every_metric_has_a_panel(self):
        names = declared_metrics((ROOT / "server/metrics/names.cc").read_text())
        self.assertEqual(without_panel({"callgate_a_seconds", "callgate_b"},
                                       ["rate(callgate_a_seconds_bucket[5m])"]), ["callgate_b"])
        dashboard = json.loads((ROOT / "deploy/grafana/callgate.json").read_text())
        self.check(without_panel(names, [e for _, e in dashboard_expressions(dashboard)]))
        ids = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    def test_every_alert_is_made_to_fire(self):
        self.assertEqual(untested_alerts("- alert: A\n- alert: B\n",
                                         "- alertname: A\n exp_alerts:\n- alertname: B\n"), ["B"])
        folder = ROOT / "deploy/prometheus"
        self.check(untested_alerts((folder / "callgate.rules.yml").read_text(),
                                   (folder / "callgate.rules_test.yml").read_text()))

    def test_alerts_use_recorded_series_that_are_recorded(self):
        text = (ROOT / "deploy/prometheus/callgate.rules.yml").read_text()
        recorded = set(re.findall(r"- record: (\S+)", text))
        used = {name for _, expression in rule_expressions(text) for name in RECORDED.findall(expression)}
        self.assertTrue(used)
        self.check(sorted(used - recorded))

    def test_the_contract_lists_every_action_and_every_reason_of_a_gap(self):
        self.assertEqual(
            told_actions('e.set_action(f ? "a_b" : "c_d");\nPublishLifecycle(\n    "e_f", kX, "g");'),
            {"a_b", "c_d", "e_f"},
        )
        contract = (ROOT / "proto/callgate/v1/event_service.proto").read_text()
        words = set(re.findall(r"[a-z_]+", contract))
        actions = {
            name
            for path in tree_files()
            if path.suffix == ".cc"
            and not path.name.endswith("_test.cc")
            and path.is_relative_to(ROOT / "server")
            for name in told_actions(path.read_text(encoding="utf-8"))
        }
        self.assertGreater(len(actions), 10)
        observer = (ROOT / "server/events/event_observer.h").read_text()
        reasons = set(re.findall(r'kGap\w+\[\] = "(\w+)"|kDrop\w+\[\] = "(\w+)"', observer))
        reasons = {a or b for a, b in reasons} - {"closed"}  # nobody is left to tell
        self.assertGreater(len(reasons), 3)
        self.check(sorted((actions | reasons) - words))

    def test_packages_are_listed_once_and_explained(self):
        seen, found = set(), []
        groups = {"build", "quickstart", "test", "develop", "bench"}
        for number, line in enumerate((ROOT / "deploy/packages.txt").read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = re.match(r"^(\S+) (\S+)\s+# \S", line)
            if not match or match.group(1) not in groups or match.group(2) in seen:
                found.append(f"deploy/packages.txt:{number}: {line}")
            else:
                seen.add(match.group(2))
        self.assertGreater(len(seen), 10)
        self.check(found)


if __name__ == "__main__":
    anchor = sys.argv.pop(1) if len(sys.argv) > 1 else "deploy/packages.txt"
    ROOT = pathlib.Path(anchor).resolve().parent.parent
    if not (ROOT / "WORKSPACE").is_file():
        sys.exit(f"{ROOT} is not the tree")
    unittest.main()
