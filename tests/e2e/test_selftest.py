"""quorum selftest against the server itself: every statement that it can try holds."""

import json
import os
import subprocess

from conftest import BINARY

KEY = "the-key"


def selftest(url, *flags):
    done = subprocess.run([BINARY, "selftest", "--openai", url, "--json", *flags], capture_output=True, text=True, timeout=300,
                          env={name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"})
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def test_all_statements_hold(start_server, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(KEY + "\n")
    with start_server("--api-key-file", str(keys)) as server:
        _, report = selftest(server.url, "--key", KEY)
    statements = {statement["number"]: statement for statement in report["statements"]}
    assert len(statements) == len(report["statements"]) > 60
    # How soon the head of a stream comes depends on the machine that runs the tests.
    assert [s for s in statements.values() if s["result"] != "pass" and s["number"] != "65"] == []


def test_what_does_not_hold_is_said(start_server):
    with start_server("--tool-parser", "none") as server:
        code, report = selftest(server.url + "/v1")
    failed = {statement["number"] for statement in report["statements"] if statement["result"] == "fail"}
    assert code == 1 and {"20", "24", "28"} <= failed and "1" not in failed
    assert report["failed"] == len(failed)
    assert {s["number"]: s["detail"] for s in report["statements"]}["67"] == "no key was given"


def test_no_server():
    done = subprocess.run([BINARY, "selftest", "--openai", "http://127.0.0.1:9"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "127.0.0.1:9" in done.stderr
