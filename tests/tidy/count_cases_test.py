#!/usr/bin/env python3
"""deploy/test counts what ran, and nothing can fail without being counted."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

COUNT_CASES = ""

GTEST = """<?xml version="1.0"?>
<testsuites><testsuite name="S">
  <testcase name="Passes" status="run" result="completed" classname="S"/>
  <testcase name="Skips" status="run" result="skipped" classname="S">
    <skipped message="a_test.cc:7&#x0A;skipped: no corpus&#x0A;"/>
  </testcase>
  <testcase name="Disabled" status="notrun" result="suppressed" classname="S"/>
  %s
</testsuite></testsuites>
"""
FAILURE = '<testcase name="Fails" classname="S"><failure message="a.cc:1&#x0A;no"/></testcase>'


class CountCases(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.events = []

    def want(self, label):
        self.events.append(
            {
                "id": {"targetConfigured": {"label": label}},
                "configured": {"targetKind": "cc_test rule"},
            }
        )

    def complete(self, label, success=True):
        event = {"id": {"targetCompleted": {"label": label}}, "completed": {}}
        if success:
            event["completed"]["success"] = True
        self.events.append(event)

    def result(self, label, xml, status="PASSED", attempt=1):
        path = self.scratch / f"{len(self.events)}.xml"
        path.write_text(xml)
        self.events.append(
            {
                "id": {"testResult": {"label": label, "run": 1, "shard": 1, "attempt": attempt}},
                "testResult": {
                    "status": status,
                    "testActionOutput": [{"name": "test.xml", "uri": path.as_uri()}],
                },
            }
        )

    def count(self, ended=True):
        path = self.scratch / "events.json"
        events = self.events + ([{"id": {"buildFinished": {}}, "lastMessage": True}] if ended else [])
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        run = subprocess.run(
            [sys.executable, COUNT_CASES, str(path)], stdout=subprocess.PIPE, check=False, text=True
        )
        lines = run.stdout.splitlines()
        return lines[-1], run.returncode, lines[:-1]

    def test_counts_cases_and_not_targets(self):
        self.want("//a:t")
        self.complete("//a:t")
        self.result("//a:t", GTEST % "")
        last, code, lines = self.count()
        self.assertEqual(last, "1 passed, 0 failed, 2 skipped")
        self.assertEqual(code, 0)
        self.assertIn("skipped: //a:t: 1 × skipped: no corpus", lines)

    def test_names_what_failed(self):
        self.want("//a:t")
        self.complete("//a:t")
        self.result("//a:t", GTEST % FAILURE, "FAILED")
        last, code, lines = self.count()
        self.assertEqual(last, "1 passed, 1 failed, 2 skipped")
        self.assertEqual(code, 1)
        self.assertIn("failed: //a:t S.Fails: a.cc:1", lines)

    def test_a_crash_after_passing_cases_is_a_failure(self):
        self.want("//a:t")
        self.complete("//a:t")
        self.result("//a:t", GTEST % "", "FAILED")
        self.assertEqual(self.count()[0], "1 passed, 1 failed, 2 skipped")

    def test_a_target_that_does_not_build_is_a_failure(self):
        self.want("//a:t")
        self.want("//a:u")
        self.complete("//a:t", success=False)
        last, code, lines = self.count()
        self.assertEqual(last, "0 passed, 2 failed, 0 skipped")
        self.assertEqual(code, 1)
        self.assertIn("failed: //a:t: does not build", lines)

    def test_a_library_that_was_built_is_no_test(self):
        self.complete("//a:library")
        self.want("//a:t")
        self.complete("//a:t")
        self.result("//a:t", GTEST % "")
        self.assertEqual(self.count()[0], "1 passed, 0 failed, 2 skipped")

    def test_the_last_attempt_counts(self):
        self.want("//a:t")
        self.complete("//a:t")
        self.result("//a:t", GTEST % FAILURE, "FAILED", attempt=1)
        self.result("//a:t", GTEST % "", attempt=2)
        self.assertEqual(self.count()[0], "1 passed, 0 failed, 2 skipped")

    def test_unreadable_results_are_a_failure(self):
        self.want("//a:t")
        self.complete("//a:t")
        self.result("//a:t", "<testsuites><tests")
        self.assertEqual(self.count()[0], "0 passed, 1 failed, 0 skipped")

    def test_a_run_that_breaks_off_is_a_failure(self):
        self.want("//a:t")
        self.complete("//a:t")
        self.result("//a:t", GTEST % "")
        self.assertEqual(self.count(ended=False)[0], "1 passed, 1 failed, 2 skipped")

    def test_a_run_without_tests_is_a_failure(self):
        last, code, _ = self.count()
        self.assertEqual(last, "0 passed, 1 failed, 0 skipped")
        self.assertEqual(code, 1)


if __name__ == "__main__":
    COUNT_CASES = sys.argv.pop(1)
    unittest.main()
