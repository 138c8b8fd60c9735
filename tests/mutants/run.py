"""`make mutants`: change the package in one small place at a time, and see whether a test notices (mutmut).

    python tests/mutants/run.py [ROOM…] [--tenths 10] [--share 90] [--processes 2]

Each room is tested by its quick test files, in a directory of its own below `.mutants/`. A mutant that was killed is
not run again while its function stays the same. Wording is not mutated: a line that begins with a text, assigns a
sentence, names a fix, or raises.

Survivors that need no test are in `survivors.toml`, each with its reason. New survivors are named. The exit status is
1 if less than that share of a room's mutants was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[2]
KEPT: Final = REPOSITORY / ".mutants"
SURVIVORS: Final = Path(__file__).with_name("survivors.toml")

_WORDING: Final = (r'^\s*f?"[^"]* ', r'= f?"[^"]* [^"]* ', r"\bfix=", r"^\s*raise [\w.]+\(")
_OF_A_PROTOCOL: Final = r"^    def load\(self, purpose: "
"""Every method of a runtime protocol counts, so no source would have those of mutmut's."""
_ELSEWHERE: Final = (
    "tests/certificate/test_certificate.py::TestLetsEncrypt::test_no_permission",
    "tests/certificate/test_certificate_errors.py::test_a_key_that_only_another_may_read",
)
"""Tests whose processes work in another directory, where mutmut does not find its settings."""
_KILLED: Final = frozenset({1, 3, -11, 24, -24, 36, 152, 255})
"""Exit statuses: a test failed, pytest or the process broke, or the time was over."""


@dataclass(frozen=True)
class Room:
    """Modules below `asgi_tls/`, and the quick tests that hold them, below `tests/`."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


def below(directory: str, pattern: str, names: str) -> tuple[str, ...]:
    """The files of these names, such as `renewal/test_state.py` of `test_{}.py`."""
    return tuple(f"{directory}/{pattern.format(name)}" for name in names.split())


ROOMS: Final = {
    "profile": Room(("profile.py",), ("test_profile.py",)),
    "hostnames": Room(("hostnames.py",), ("test_hostnames.py",)),
    "hsts": Room(("middleware/hsts.py",), ("middleware/test_header_settings.py",)),
    "redirect": Room(("middleware/redirect.py",), below("middleware", "test_{}.py", "acme header_settings redirect")),
    "tickets": Room(("tickets.py",), ("test_tickets.py",)),
    "stapling": Room(
        below("stapling", "{}.py", "ocsp schedule"),
        below("stapling", "test_{}.py", "ocsp schedule"),
    ),
    "acme-schedule": Room(
        below("renewal/acme", "{}.py", "schedule records"),
        below("renewal/acme", "test_{}.py", "schedule records"),
    ),
    "renewal": Room(
        below("renewal", "{}.py", "expiry names stamps state"),
        below("renewal", "test_{}.py", "expiry names stamps state"),
    ),
    "inventory": Room(("renewal/inventory.py",), ("renewal/test_inventory.py",)),
    "chain": Room(
        below("certificate", "{}.py", "chain validation"),
        below("certificate", "test_{}.py", "bundles certificate certificate_errors odd_certificates"),
    ),
    "certificate": Room(
        below("certificate", "{}.py", "by_name by_openssl directory distinguished keyfile loaded material password")
        + below("certificate", "{}.py", "pem private_key self_signed sources trust"),
        below("certificate", "test_{}.py", "bundles by_name certificate certificate_errors conversion directory")
        + below("certificate", "test_{}.py", "distinguished keyfile odd_certificates pem self_signed sources trust")
        + ("context/test_certified.py",),
    ),
    "context": Room(
        below("context", "{}.py", "certified client_context policy proof server_context"),
        (
            *below("context", "test_{}.py", "certified client_ca_names client_context many_names policy proof"),
            *below("context", "test_{}.py", "server_context without_libssl"),
            "certificate/test_trust.py",
            "handshake/test_challenge.py",
        ),
    ),
}


@dataclass(frozen=True, order=True)
class Change:
    """A mutant: what a function has instead of what."""

    function: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.function}\n    - {self.was}\n    + {self.now}"


class FailedError(Exception):
    """mutmut could not work: its tests fail without any mutant, for instance."""


def main() -> int:
    """The exit status: 1 if too many mutants live in a room."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("--share", type=float, default=90, help="percent of the mutants that tests must kill")
    parser.add_argument("--tenths", type=int, default=10, help="how many of ten mutants to run, the same each time")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if unknown := set(arguments.rooms) - set(ROOMS):
        parser.error(f"no room is named {', '.join(sorted(unknown))}; there are {', '.join(ROOMS)}")
    is_known = listed()
    enough = True
    for name in arguments.rooms or ROOMS:
        try:
            results = run(name, ROOMS[name], arguments.processes, arguments.tenths)
        except FailedError as error:
            print(error, flush=True)
            enough = False
            continue
        lived = sorted(change for change, killed in results if not killed)
        share = 100 * (len(results) - len(lived)) / max(len(results), 1)
        new = [change for change in lived if not is_known(change)]
        print(f"{name:16} {share:5.1f} % of {len(results)} mutants killed, {len(new)} new survivors", flush=True)
        for change in new:
            print(f"  {change}", flush=True)
        enough = enough and share >= arguments.share
    return 0 if enough else 1


def listed() -> Callable[[Change], bool]:
    """Whether a survivor is known: `now` of a row is what a function has, `pattern` is found in what many have."""
    with SURVIVORS.open("rb") as file:
        rows = tomllib.load(file)["survivor"]
    changes = {Change(row["function"], row["was"], row["now"]) for row in rows if "now" in row}
    patterns = [re.compile(row["pattern"]) for row in rows if "pattern" in row]
    return lambda change: change in changes or any(pattern.search(change.now) for pattern in patterns)


def run(name: str, room: Room, processes: int, tenths: int) -> list[tuple[Change, bool]]:
    """Each mutant of a room, and whether a test killed it."""
    work = KEPT / name
    stage(work, room)
    digits = "".join(random.Random(0).sample("0123456789", tenths))
    chosen = [f"*[{digits}]"] if tenths < 10 else []
    with (work / "said").open("w", encoding="utf-8") as said:
        done = subprocess.run(
            [Path(sys.executable).with_name("mutmut"), "run", "--max-children", str(processes), *chosen],
            cwd=work,
            env={**os.environ, "PYTHONPATH": str(work / "mutants/src")},
            stdout=said,
            stderr=said,
            check=False,
        )
    if done.returncode != 0:
        raise FailedError(f"{name}: mutmut failed, see {work / 'said'}")
    return [result for each in room.modules for result in results_of(work, Path("src/asgi_tls", each))]


def stage(work: Path, room: Room) -> None:
    """A copy of package, tests and settings, in which mutmut works. The tests take `src` for an installation."""
    (work / "mutants/src").mkdir(parents=True, exist_ok=True)  # Python remembers a path that it did not find
    for copied in ("asgi_tls", "demo_app", "tests", "docs"):
        to = work / {"asgi_tls": "src/asgi_tls", "demo_app": "src/asgi_tls/_demo_app"}.get(copied, copied)
        shutil.copytree(
            REPOSITORY / copied, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "system")
        )
    settings = {
        "source_paths": ["src"],
        "only_mutate": [f"src/asgi_tls/{each}" for each in room.modules],
        "also_copy": ["docs"],
        "pytest_add_cli_args_test_selection": [
            *("-m", "not system", *(f"--deselect={each}" for each in _ELSEWHERE)),
            *(f"tests/{each}" for each in room.tests),
        ],
        "do_not_mutate_patterns": [*_WORDING, _OF_A_PROTOCOL],
        "process_isolation": "forkserver",
        "use_git_change_detection": False,
        "on_dependency_change": "ignore",
        "timeout_constant": 10.0,
        "timeout_multiplier": 6.0,
    }
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    settings_file = work / "pyproject.toml"
    ours = f"\n[tool.mutmut]\n{lines}\n"
    if settings_file.exists() and not settings_file.read_text(encoding="utf-8").endswith(ours):
        shutil.rmtree(work / "mutants")  # its numbers may mean other mutants
        (work / "mutants/src").mkdir(parents=True)
    settings_file.write_text(project + ours, encoding="utf-8")
    for meta in (work / "mutants").rglob("*.meta"):  # new tests may kill what lived
        stored = json.loads(meta.read_bytes())
        codes = stored["exit_code_by_key"]
        stored["exit_code_by_key"] = {key: code if code in _KILLED else None for key, code in codes.items()}
        meta.write_text(json.dumps(stored), encoding="utf-8")


def results_of(work: Path, module: Path) -> Iterator[tuple[Change, bool]]:
    """What mutmut stored about one module."""
    meta = work / "mutants" / f"{module}.meta"
    if not meta.exists():
        return
    codes: dict[str, int | None] = json.loads(meta.read_bytes())["exit_code_by_key"]
    spans: dict[str, Any] = json.loads((work / "mutants" / f"{module}.spans").read_bytes())["spans"]
    lines = (work / "mutants" / module).read_text(encoding="utf-8").splitlines()

    def source(function: str) -> list[str]:
        first, last = spans[function]
        return [line.strip() for line in lines[first - 1 : last] if "def x" not in line]

    for key, code in codes.items():
        if code is None:  # outside of the sample
            continue
        mutant = key.rpartition(".")[2]
        function = mutant.partition("__mutmut_")[0]
        changed = list(difflib.ndiff(source(f"{function}__mutmut_orig"), source(mutant)))
        was, now = (" ".join(line[2:] for line in changed if line.startswith(sign)) for sign in ("- ", "+ "))
        plain = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        yield Change(f"{module.relative_to('src').with_suffix('')}:{plain}", was, now), code in _KILLED


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
