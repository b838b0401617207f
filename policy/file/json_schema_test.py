#!/usr/bin/python3
"""The JSON Schema takes the policies that ship and refuses typing errors.

usage: json_schema_test.py PROGRAM POLICY...

PROGRAM prints the schema.
"""

import copy
import json
import pathlib
import subprocess
import sys
import unittest

import jsonschema
import yaml


class Loader(yaml.SafeLoader):
    """YAML as editors read it: a date is text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

SCHEMA = {}
POLICIES = {}

MINIMAL = {
    "api_version": "callgate.policy/v1",
    "kind": "Policy",
    "metadata": {"name": "web"},
}


class JsonSchema(unittest.TestCase):
    def problems(self, policy):
        validator = jsonschema.Draft7Validator(SCHEMA)
        return [error.message for error in validator.iter_errors(policy)]

    def changed(self, **fields):
        return {**copy.deepcopy(MINIMAL), **fields}

    def test_is_a_schema(self):
        jsonschema.Draft7Validator.check_schema(SCHEMA)

    def test_takes_what_ships(self):
        self.assertGreaterEqual(len(POLICIES), 5)
        for name, policy in POLICIES.items():
            with self.subTest(name):
                self.assertEqual(self.problems(policy), [])

    def test_takes_a_minimal_policy(self):
        self.assertEqual(self.problems(MINIMAL), [])

    def test_refuses_what_the_loader_refuses(self):
        rows = [
            ("unknown field", self.changed(import_="x")),
            ("unknown nested field", self.changed(budgets={"fuel_per_cal": 1})),
            ("another version", self.changed(api_version="callgate.policy/v2")),
            ("no name", self.changed(metadata={})),
            ("an unknown word", self.changed(imports=[{"import": "a.b", "action": "permit"}])),
            ("the schema's own word", self.changed(imports=[{"import": "a.b", "action": "ACTION_DENY"}])),
            ("no action", self.changed(imports=[{"import": "a.b"}])),
            ("a negative number", self.changed(budgets={"fuel_per_call": -1})),
            ("a number of 33 bits", self.changed(imports=[{"import": "a.b", "action": "deny", "guest_errno": 1 << 32}])),
            ("text for a number", self.changed(budgets={"fuel_per_call": "many"})),
            ("a duration without unit", self.changed(budgets={"wall_per_call": "5"})),
            ("a number for a duration", self.changed(budgets={"wall_per_call": 5})),
            ("a list for a map", self.changed(metadata=[{"name": "web"}])),
            ("a map for a list", self.changed(include={"name": "web"})),
            ("empty text", self.changed(include=[""])),
            ("a list of labels", self.changed(metadata={"name": "web", "labels": ["a"]})),
            (
                "two patterns",
                self.changed(temporal=[{"id": "a", "count": {"when": "true"}, "sum": {"when": "true"}}]),
            ),
        ]
        for name, policy in rows:
            with self.subTest(name):
                self.assertNotEqual(self.problems(policy), [])

    def test_takes_what_the_loader_takes(self):
        rows = [
            ("durations", self.changed(budgets={"wall_per_call": "1h30m"})),
            ("parts of seconds", self.changed(budgets={"wall_per_call": "0.5s"})),
            ("a whole number as a double", self.changed(rate_limits=[{"import": "a.b", "refill_per_second": 1, "burst": 2}])),
            ("words that look like numbers", self.changed(metadata={"name": "web", "labels": {"a": 1}})),
        ]
        for name, policy in rows:
            with self.subTest(name):
                self.assertEqual(self.problems(policy), [])

    def test_explains_fields_in_the_format_s_own_words(self):
        rule = SCHEMA["definitions"]["Rule"]
        self.assertTrue(rule["description"].startswith("A judgement over the calls of every import."))
        self.assertIn("As ImportRule.when", rule["properties"]["when"]["description"])
        actions = {word["const"]: word.get("description", "") for word in rule["properties"]["action"]["oneOf"]}
        self.assertEqual(len(actions), 8)
        self.assertIn("The Store ends", actions["kill_store"])


if __name__ == "__main__":
    SCHEMA = json.loads(subprocess.check_output([sys.argv[1]]))
    for policy in sys.argv[2:]:
        POLICIES[policy] = yaml.load(pathlib.Path(policy).read_text(), Loader)
    unittest.main(argv=sys.argv[:1])
