"""The quick tests under every Python that a developer's machine may have: `make matrix`, or with names after it.

    python tests/matrix/run.py [--list] [--update] [NAME…]

The Pythons of this machine and of pyenv, those of Debian trixie and sid (by debootstrap: needs root), CPythons with a
static libssl, as uv's are, and without a GIL (built once), and this Python with the oldest and with the newest packages
that pyproject.toml allows. What is built is kept in the user's cache, and so is what came of each. `--update` writes
the table in docs/platforms.md, of the last run of each.

The exit status is 1 where a test fails that `KNOWN` does not name.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from environments import CACHE, ROOT, Environment, FailedError, environments

PAGE = ROOT / "docs" / "platforms.md"
BEGIN, END = "<!-- made by `make matrix` -->", "<!-- end -->"

# Why a test may fail: patterns of the environment, and of the test's name and output, and the reason.
KNOWN: tuple[tuple[str, str, str], ...] = (
    ("", r"No module named 'asgi_tls.middleware'", "the environment is in root's home, which `nobody` may not enter"),
    (
        "floors",
        r"asgi-tls\[acme|No module named '(acme|josepy)'|renewal\.acme\.test_manager",
        "certbot's `acme` needs a newer cryptography",
    ),
    (
        "floors",
        r"CryptographyDeprecationWarning|test_quic|http_3",
        "the HTTP/3 client of aioquic 0.9, which hypercorn 0.17 needs, warns, and waits for ever",
    ),
    ("floors", r"test_over_a_websocket", "Starlette 0.40 answers 500 where a WebSocket is refused"),
    ("floors", r"test_clients_that_do_not_answer_close_notify.*gunicorn", "gunicorn 25.0 waits 30 s for idle clients"),
    ("floors", r"workers_of_another_user", "this Python is in root's home, and their user cannot import from it"),
    ("free-threaded", r"No module named 'aioquic'|aioquic", "aioquic has no wheel without a GIL"),
    ("static", r"all_that_was_there", "this OpenSSL has no legacy provider, which the test looks for"),
    ("static", r"tests\.stapling\.|libssl cannot be reached", "there is no stapling"),
    (
        "static",
        r"Starting again with OPENSSL_CONF|Without libssl|test_a_start_warns_once",
        "the start says more, as it should there",
    ),
    (
        "static",
        r"undefined symbol|aiofastnet|None == 'libssl'"
        r"|libssl cannot be called|This Python cannot apply|Error: This Python cannot apply",
        "the test calls libssl itself, or has a policy of its own in Python code without OPENSSL_CONF",
    ),
    (
        "static",
        r"test_resumption|test_tickets|keys_of_tickets|test_client_ca_names|no_application_protocol|NO_APPLICATION_PROTOCOL|\.group|group=None"
        r"|test_groups|cannot reach libssl|session_reused|'resumed'|UNKNOWN_CA|DECRYPTION_|acme-tls|ALPN that nobody"
        r"|None == 'X25519'|X25519MLKEM768'|'group': None",
        "what it looks for needs libssl: ticket keys, names of CAs, the alert of ALPN, the group, the order in TLS 1.2",
    ),
)

# Why an environment cannot be made, likewise.
NOT_MADE: tuple[tuple[str, str, str], ...] = (
    ("free-threaded", r"Failed to fetch", "the archive does not have the source that it lists"),
)

LOOK = """
import dataclasses, json, platform, ssl
from asgi_tls import _openssl
can = dataclasses.asdict(_openssl.capabilities())
print(json.dumps({"python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION.split()[1], "capabilities": can}))
"""


@dataclass
class Outcome:
    """What the tests of one environment came to."""

    name: str
    python: str = ""
    openssl: str = ""
    capabilities: dict[str, Any] = field(default_factory=dict)
    passed: int = 0
    skipped: int = 0
    failed: list[tuple[str, str | None]] = field(default_factory=list)
    problem: str | None = None
    """Why there were no tests."""

    @property
    def good(self) -> bool:
        return (self.problem is None or reason(NOT_MADE, self.name, self.problem) is not None) and all(
            why for _, why in self.failed
        )


def test(environment: Environment, arguments: Sequence[str]) -> Outcome:
    """Install and run the quick tests."""
    outcome = Outcome(environment.name)
    try:
        environment.prepare()
        report = json.loads(environment.step(*environment.inside("-P", "-c", LOOK)))
    except FailedError as error:
        outcome.problem = str(error)
        return outcome
    outcome.python, outcome.openssl, outcome.capabilities = report["python"], report["openssl"], report["capabilities"]
    results = environment.directory / "results.xml"
    results.unlink(missing_ok=True)
    done = environment.pytest(f"--junit-xml={results}", *(arguments or environment.tests))
    (environment.directory / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if not results.exists():
        outcome.problem = (done.stdout + done.stderr)[-2000:]
        return outcome
    for case in ElementTree.parse(results).iter("testcase"):
        kinds = {child.tag for child in case}
        name = f"{case.get('classname')}::{case.get('name')}"
        if kinds & {"failure", "error"}:
            text = " ".join(child.get("message", "") + (child.text or "") for child in case)
            outcome.failed.append((name, reason(KNOWN, environment.name, name + text)))
        elif "skipped" in kinds:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    return outcome


def reason(known: Sequence[tuple[str, str, str]], name: str, output: str) -> str | None:
    return next((why for where, what, why in known if re.search(where, name) and re.search(what, output)), None)


def table(outcomes: Sequence[Outcome]) -> str:
    """In Markdown."""
    lines = [
        "| Python | OpenSSL | groups, suites | order | stapling, tickets | quick tests |",
        "|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        if each.problem is not None:
            continue
        can = each.capabilities
        how, order = can["groups"] or "OPENSSL_CONF", can["group_order"] or "OPENSSL_CONF"
        tests = f"{each.passed} passed" + (f", {each.skipped} skipped" if each.skipped else "")
        tests += f", {len(each.failed)} failed" if each.failed else ""
        name = f"{each.python} ({each.name})"
        lines.append(f"| {name} | {each.openssl} | {how} | {order} | {can['stapling'] or 'no'} | {tests} |")
    for each in outcomes:
        reasons = Counter(why or "not known" for _, why in each.failed)
        lines += [f"\n{each.name}: {count} failed: {why}." for why, count in reasons.items()]
        if each.problem is not None:
            lines.append(f"\n{each.name}: no tests: {reason(NOT_MADE, each.name, each.problem) or 'not known'}.")
    return "\n".join(lines)


def kept(environment: Environment) -> Path:
    """Where the outcome of its last run is."""
    return CACHE / "outcomes" / f"{environment.name}.json"


def keep(environment: Environment, outcome: Outcome) -> None:
    kept(environment).parent.mkdir(parents=True, exist_ok=True)
    kept(environment).write_text(json.dumps(asdict(outcome)), encoding="utf-8")


def update() -> None:
    paths = [kept(each) for each in environments()]
    outcomes = [Outcome(**json.loads(path.read_text(encoding="utf-8"))) for path in paths if path.exists()]
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(outcomes)}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true", help="print the names of the environments")
    parser.add_argument("--update", action="store_true", help="write the table in docs/platforms.md")
    parser.add_argument("--tests", action="append", default=[], metavar="PATH", help="these tests only")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    every = {each.name: each for each in environments()}
    if options.list:
        print(*every, sep="\n")
        return 0
    outcomes = []
    for name in options.names or every:
        print(f"== {name}", flush=True)
        outcome = test(every[name], options.tests)
        keep(every[name], outcome)
        outcomes.append(outcome)
        if outcome.problem is not None:
            print(outcome.problem)
        else:
            counts = f"{outcome.passed} passed, {outcome.skipped} skipped, {len(outcome.failed)} failed"
            print(f"Python {outcome.python}, OpenSSL {outcome.openssl}: {counts}")
        for failed, why in outcome.failed:
            print(f"FAILED {failed}: {why or 'NOT KNOWN'}", flush=True)
    if options.update:
        update()
    return 0 if all(each.good for each in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
