"""The oldest servers that pyproject.toml allows, and the other Pythons of this machine: the policy holds there too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# What the chosen tests need besides the package.
TEST_TOOLS = ["pytest>=8.2", "hypothesis", "httpx", "pytest-xdist>=3.6"]
# One profile is enough of the servers' table: the others run with the newest versions.
TESTS = [
    "tests/context/test_server_context.py",
    "tests/context/test_client_context.py",
    "tests/servers/test_policy.py",
    "-k",
    "not policy or modern",
]


def in_environment(python: str, directory: Path, requirements: Sequence[str], tests: Sequence[str]) -> str:
    """Install into a new virtual environment and run tests there; what pytest printed."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def step(*command: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    step(python, "-m", "venv", str(directory))
    inside = str(directory / "bin" / "python")
    step(inside, "-m", "pip", "install", "--quiet", str(ROOT), *requirements, *TEST_TOOLS)
    return step(inside, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-m", "not system", *tests)


def floors() -> list[str]:
    """Each `name[extra]>=version` of the core and of the servers' extras, pinned to that version."""
    extras = PROJECT["optional-dependencies"]
    declared = [*PROJECT["dependencies"], *extras["uvicorn"], *extras["hypercorn"], *extras["gunicorn"]]
    pinned = [re.sub(r">=", "==", line) for line in declared]
    assert all("==" in line for line in pinned)
    return pinned


def other_pythons() -> list[str]:
    """CPython 3.12 and later beside the one that runs the tests, as far as this machine has them."""
    roots = [Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/*/bin")]
    found: dict[str, str] = {}
    for root in roots:
        for path in sorted(root.glob("python3.[0-9]*")):
            if (name := path.name) not in found and re.fullmatch(r"python3\.1[2-9]", name):
                found[name] = str(path)
    found.pop(f"python3.{sys.version_info.minor}", None)
    return [path for _, path in sorted(found.items())]


def test_the_floors_of_the_servers(tmp_path: Path) -> None:
    assert " passed" in in_environment(sys.executable, tmp_path / "venv", floors(), TESTS)


@pytest.mark.parametrize("python", other_pythons(), ids=lambda path: Path(path).name)
def test_another_python(tmp_path: Path, python: str) -> None:
    servers = [f"{ROOT}[uvicorn,hypercorn,gunicorn]"]
    assert " passed" in in_environment(python, tmp_path / "venv", servers, TESTS)
