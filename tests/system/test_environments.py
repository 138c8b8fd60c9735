"""The oldest packages that pyproject.toml allows, the other Pythons of this machine, and newer OpenSSLs: the policy
holds there too. `make matrix` runs all quick tests in more of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from environments import Environment, environments

pytestmark = [pytest.mark.system, pytest.mark.long]

# What the chosen tests need beside the package and the servers.
TOOLS = ["fastapi", "h2", "httpx<1", "hypothesis", "psutil", "pytest>=8.2", "pytest-xdist>=3.6", "tlslite-ng>=0.8.2"]
SERVERS = "uvicorn,hypercorn,gunicorn"
POLICY = [
    "tests/context/test_client_context.py",
    "tests/context/test_groups.py",
    "tests/context/test_server_context.py",
    "tests/servers/test_policy.py",
]
# What differs with OpenSSL 3.5, and a libssl that is out of reach, as where it is static.
NEWER = [*POLICY, "tests/context/test_proof.py", "tests/context/test_resumption.py", "tests/cli/test_start_again.py"]
# What each of the oldest packages is used for: click, rich, secure and starlette, httpx, watchfiles, …
FLOORS = [
    *POLICY,
    "tests/cli/test_check.py",
    "tests/cli/test_commands.py",
    "tests/cli/test_export.py",
    "tests/cli/test_suggestions.py",
    "tests/listeners/test_dispatch.py",
    "tests/middleware/test_headers.py",
    "tests/middleware/test_redirect.py",
    "tests/renewal/test_parent.py",
    "tests/stapling/test_fetch.py",
]
FOUND = {each.name: each for each in environments()}
NEWEST_OPENSSL = ["trixie-3.13", "sid-3.15"]
# It takes minutes to build one: `make matrix` does, and keeps it.
WITHOUT_GIL = [name for name, each in FOUND.items() if name.startswith("free-threaded") and Path(each.python).exists()]
THREADS = ["tests/_openssl", "tests/context/test_threads.py", "tests/context/test_resumption.py"]


def passes(environment: Environment, extras: str | None, *tests: str) -> None:
    environment.prepare(*(() if extras is None else (extras, *TOOLS)))
    # One profile is enough of the servers' table: the others run with the newest versions.
    done = environment.pytest("-k", "not granian and (not policy or modern)", *tests)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_the_floors() -> None:
    passes(FOUND["floors"], f"{SERVERS},prometheus,redis,reload,stapling", *FLOORS)


@pytest.mark.parametrize("name", [name for name in FOUND if name.startswith("pyenv")])
def test_another_python(name: str) -> None:
    passes(FOUND[name], SERVERS, *POLICY)


@pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap needs root")
@pytest.mark.parametrize("name", NEWEST_OPENSSL)
def test_a_newer_openssl(name: str) -> None:
    passes(FOUND[name], SERVERS, *NEWER)


@pytest.mark.parametrize("name", WITHOUT_GIL)
def test_threads_without_a_gil(name: str) -> None:
    passes(FOUND[name], None, *(FOUND[name].tests or THREADS))
