"""Every way to start a server, in one table."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from servers import Server, asgi_tls, serve

from asgi_tls import PEMFiles
from asgi_tls.servers.settings import SETTINGS

_FLAGS = {setting.name for setting in SETTINGS if setting.is_flag}


@dataclass(frozen=True)
class Launch:
    """One server, event loop or worker kind, and number of workers."""

    server: Literal["uvicorn", "hypercorn", "gunicorn"]
    kind: str
    workers: int = 1

    def __str__(self) -> str:
        return f"{self.server}-{self.kind}-{self.workers}"

    @property
    def speaks_asgi(self) -> bool:
        """Whether the application can tell its connection."""
        return self.server != "gunicorn" or self.kind == "asgi"

    def command(self, pair: PEMFiles | None, settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment: options where the server has our command, variables elsewhere."""
        files = [] if pair is None else [str(pair.certfile), str(pair.keyfile)]
        options = [
            f"--tls-{name.replace('_', '-')}" + ("" if name in _FLAGS else f"={value}")
            for name, value in settings.items()
        ]
        if self.server == "uvicorn":
            named = [f"--ssl-certfile={files[0]}", f"--ssl-keyfile={files[1]}"] if files else []
            own = ["--port=0", f"--loop={self.kind}", f"--workers={self.workers}"]
            return asgi_tls("uvicorn", "facts_app:app", *own, *named, *options), {}
        if self.server == "hypercorn":
            named = [f"--certfile={files[0]}", f"--keyfile={files[1]}"] if files else []
            own = ["--bind=127.0.0.1:0", f"--worker-class={self.kind}", f"--workers={self.workers}"]
            return asgi_tls("hypercorn", "facts_app:app", *own, *named, *options), {}
        named = [f"--certfile={files[0]}", f"--keyfile={files[1]}"] if files else []
        app = "facts_app:app" if self.speaks_asgi else "facts_app:wsgi"
        own = ["--bind=127.0.0.1:0", f"--worker-class={self.kind}", f"--workers={self.workers}"]
        command = [sys.executable, "-m", "gunicorn", "-c", "python:asgi_tls.servers.gunicorn", *own, *named, app]
        return command, {f"ASGI_TLS_{name.upper()}": value for name, value in settings.items()}

    def start(self, pair: PEMFiles | None, settings: Mapping[str, str]) -> AbstractContextManager[Server]:
        """Run it until the context manager is left."""
        command, env = self.command(pair, settings)
        ready, count = self.readiness()
        return serve(command, env=env, ready=ready, count=count)

    def readiness(self) -> tuple[str, int]:
        """What the server prints when it takes connections, and how often."""
        if self.server == "uvicorn":
            ready = "Application startup complete|Uvicorn running on"
            return ready, self.workers + 1
        if self.server == "hypercorn":
            return "Running on https", self.workers
        if self.kind == "asgi":
            return "ASGI server listening", self.workers
        return "Booting worker", self.workers


LAUNCHES: Sequence[Launch] = (
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop"),
    Launch("uvicorn", "asyncio", 2),
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio"),
    Launch("hypercorn", "uvloop"),
    Launch("hypercorn", "asyncio", 2),
    Launch("hypercorn", "uvloop", 2),
    Launch("gunicorn", "asgi", 2),
    Launch("gunicorn", "gthread"),
    Launch("gunicorn", "sync"),
)

# The whole table takes minutes: `make test` runs one or two of each kind, `make test-system` the others as well.
QUICK = {"uvicorn-asyncio-1", "uvicorn-uvloop-2", "hypercorn-uvloop-1", "hypercorn-asyncio-2", "gunicorn-asgi-2"}


def split(launches: Sequence[Launch], quick: Collection[str] = QUICK) -> list[Any]:
    """The same as parameters of a test, quick ones first, the rest marked for `make test-system`."""
    rest = [pytest.param(each, marks=pytest.mark.system) for each in launches if str(each) not in quick]
    return [each for each in launches if str(each) in quick] + rest
