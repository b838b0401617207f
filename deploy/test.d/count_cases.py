#!/usr/bin/env python3
"""Counts the test cases of one `bazel test`, from its build event file.

usage: count_cases.py EVENTS.json

Prints one line for every case that failed or was skipped (skips of one reason
together), then `N passed, N failed, N skipped`. Exits 1 if anything failed.

A target is no unit to count: one gtest binary holds hundreds of cases. So every
case of every test.xml counts, and a target that has no case of its own to blame
(it did not build, crashed, timed out) counts as one failure. The event file
names exactly this run's outputs; bazel-testlogs also keeps those of targets that
no longer exist.
"""

import collections
import json
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree


def cases(path):
    """Yields (name, outcome, reason) of one test.xml."""
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        name = ".".join(filter(None, [case.get("classname"), case.get("name")]))
        failure = case.find("failure")
        if failure is None:
            failure = case.find("error")
        skipped = case.find("skipped")
        if failure is not None:
            yield name, "failed", (failure.get("message") or "").split("\n")[0]
        elif skipped is not None:
            # GTEST_SKIP's message begins with the file and line, on a line of its own.
            lines = [line for line in (skipped.get("message") or "").split("\n") if line.strip()]
            yield name, "skipped", lines[-1] if lines else ""
        elif case.get("status") == "notrun":
            yield name, "skipped", "disabled"
        else:
            yield name, "passed", ""


def main(events_path):
    results = {}  # (label, run, shard) -> testResult of the last attempt
    targets = {}  # label -> whether it completed
    tests = set()  # labels of tests that the run wanted
    whole = False  # the run came to its own end
    with open(events_path, encoding="utf-8") as events:
        for line in events:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                break  # Bazel was killed while it wrote this line.
            whole = event.get("lastMessage", False)
            key = event["id"]
            if "testResult" in key:
                test = key["testResult"]
                place = (test["label"], test.get("run", 1), test.get("shard", 1))
                attempt = test.get("attempt", 1)
                if place not in results or attempt >= results[place][0]:
                    results[place] = (attempt, event.get("testResult", {}))
            elif "targetConfigured" in key:
                if "_test rule" in event.get("configured", {}).get("targetKind", ""):
                    tests.add(key["targetConfigured"]["label"])
            elif "targetCompleted" in key:
                label = key["targetCompleted"]["label"]
                targets[label] = event.get("completed", {}).get("success", False)

    count = collections.Counter()
    skips = collections.Counter()
    for (label, _, _), (_, result) in sorted(results.items()):
        found = collections.Counter()
        for output in result.get("testActionOutput", []):
            if output.get("name") != "test.xml":
                continue
            path = urllib.request.url2pathname(urllib.parse.urlparse(output["uri"]).path)
            try:
                for name, outcome, reason in cases(path):
                    found[outcome] += 1
                    if outcome == "failed":
                        print(f"failed: {label} {name}: {reason}")
                    elif outcome == "skipped":
                        skips[(label, reason)] += 1
            except (OSError, xml.etree.ElementTree.ParseError) as error:
                found["failed"] += 1
                print(f"failed: {label}: its test.xml cannot be read: {error}")
        if result.get("status") != "PASSED" and not found["failed"]:
            found["failed"] += 1
            print(f"failed: {label}: {result.get('status', 'no status')}")
        if not sum(found.values()):
            found["failed"] += 1
            print(f"failed: {label}: it has no test case")
        count += found

    ran = {label for label, _, _ in results}
    for label in sorted((tests | set(targets)) - ran):
        if not targets.get(label, False):
            count["failed"] += 1
            print(f"failed: {label}: does not build")

    if not whole:
        count["failed"] += 1
        print(f"failed: {events_path} breaks off: bazel did not come to its end")

    for (label, reason), number in sorted(skips.items()):
        print(f"skipped: {label}: {number} × {reason}")
    if not results and not count["failed"]:
        count["failed"] += 1
        print("failed: there was no test to run")
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
