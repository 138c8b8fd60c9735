"""Other Pythons and other packages: each an environment of its own, in which tests of this tree run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "matrix"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asgi-tls-matrix"
"""Where what takes minutes to build is kept."""


class FailedError(Exception):
    """A step of the preparation failed; the text ends with what it printed."""


@dataclass(frozen=True)
class Environment:
    """One row. `prefix` runs a command there, `built_by` makes it.

    The package is installed with `extras`, and beside it what the tests need, `tools`, and `pins`. Without extras not
    even what it requires is there. `tests` are the only ones that can run with these.
    """

    name: str
    python: str
    prefix: Sequence[str] = ()
    extras: str = "dev"
    tools: Sequence[str] = ()
    pins: Sequence[str] = ()
    built_by: Sequence[str] = ()
    tests: Sequence[str] = ()

    @property
    def directory(self) -> Path:
        """Its virtual environment."""
        return CACHE / "environments" / self.name

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *command], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def step(self, *command: str) -> str:
        done = self.run(*command)
        if done.returncode:
            raise FailedError((done.stdout + done.stderr)[-2000:])
        return done.stdout

    def inside(self, *arguments: str) -> list[str]:
        return [str(self.directory / "bin" / "python"), *arguments]

    def prepare(self, extras: str = "", *tools: str) -> None:
        """Build what it stands on, and install the package of this tree, with fewer extras and tools where given."""
        extras, tools = extras or self.extras, tools or tuple(self.tools)
        package = (f"{ROOT}[{extras}]", *self.pins) if extras else ()
        if self.built_by:
            built = subprocess.run(self.built_by, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if built.returncode:
                raise FailedError((built.stdout + built.stderr)[-2000:])
        if not (self.directory / "pyvenv.cfg").exists():
            self.step(self.python, "-m", "venv", str(self.directory))
        # What the tests import is compiled then; the rest takes as long again to compile.
        quiet = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
        self.step(*self.inside(*quiet, *package, *tools))
        self.step(*self.inside(*quiet, "--no-deps", "--force-reinstall", str(ROOT)))

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the tests that need no Debian packages."""
        fixed = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "worksteal", "-m", "not system")
        return self.run(*self.inside(*fixed, *arguments))


def environments() -> Iterator[Environment]:
    """All that this machine can have."""
    yield Environment("newest", sys.executable)
    yield Environment("floors", sys.executable, extras=",".join(_WITH_FLOORS), tools=_project("dev")[1:], pins=floors())
    for version, path in pyenv():
        yield Environment(f"pyenv-{version}", path)
    if os.geteuid() == 0:
        for suite, versions in {"trixie": ("3.13",), "sid": ("3.14", "3.15")}.items():
            root = CACHE / "debian" / suite
            for version in versions:
                yield Environment(
                    f"{suite}-{version}",
                    f"python{version}",
                    prefix=(str(SCRIPTS / "enter"), str(root)),
                    built_by=(str(SCRIPTS / "build-debian"), suite, str(root)),
                )
    # cryptography has no wheel for 3.13 without a GIL, aioquic, which hypercorn's extra needs, for no version.
    without_quic = [each for each in _project("dev")[1:] if not each.startswith("aioquic")]
    for version, extras, tools, only in (
        ("3.13", (), ("pytest", "pytest-xdist"), ("--noconftest", "tests/_openssl")),
        (
            "3.14",
            (*_BESIDE_SERVERS, "uvicorn", "gunicorn", "acme", "acme-dns"),
            ("fastapi", "hypercorn", *without_quic),
            (),
        ),
    ):
        root = CACHE / f"free-threaded-{version}"
        yield Environment(
            root.name,
            str(root / "python/bin/python3"),
            built_by=(str(SCRIPTS / "build-free-threaded-python"), version, str(root)),
            extras=",".join(extras),
            tools=tools,
            tests=only,
        )
    static = CACHE / "static"
    yield Environment(
        "static-3.13", str(static / "python/bin/python3"), built_by=(str(SCRIPTS / "build-static-python"), str(static))
    )


def pyenv() -> Iterator[tuple[str, str]]:
    """CPython 3.11 and later, but for the version that runs this, and for those without a GIL."""
    for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3")):
        version = path.parents[1].name
        if version.endswith("t"):
            continue
        major, minor = (int(part) for part in re.findall(r"\d+", version)[:2])
        if (major, minor) >= (3, 11) and (major, minor) != sys.version_info[:2]:
            yield f"{major}.{minor}", str(path)


_BESIDE_SERVERS = ("prometheus", "redis", "reload", "stapling")
# ACME's are left out: certbot's `acme` needs a newer cryptography than the rest does.
_WITH_FLOORS = (*_BESIDE_SERVERS, "uvicorn", "hypercorn", "gunicorn")


def _project(extra: str | None = None) -> list[str]:
    """What the package requires, or one of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required: list[str] = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return required


def floors() -> list[str]:
    """Each `name>=version` of the package and of its extras but ACME's, pinned to that version."""
    declared = [*_project(), *(line for extra in (*_WITH_FLOORS, "all") for line in _project(extra))]
    return [re.sub(r">=([^,;]+)[^;]*", r"==\1", line) for line in declared if not line.startswith("asgi-tls")]
