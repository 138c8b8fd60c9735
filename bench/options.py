"""What the options of `asgi-tls uvicorn` add to a handshake: listeners, stapling, automatic HTTPS."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import proxies
from pki import PKI
from responder import Responder
from staples import asking

from asgi_tls import ACME, PEMFiles
from asgi_tls.renewal.acme.schedule import Record, succeeded, to_json
from bench.figures import Samples
from bench.servers import PYTHON, Server, Setting, certified, without_files
from bench.tables import Measurement, Pace, Table
from bench.traffic import MICROSECONDS, in_turns, way

_DIRECTORY = "https://127.0.0.1:1/directory"  # nothing is due, so nobody is asked
_DAY = 86_400.0
_LOOPS = ("asyncio", "uvloop")
_VARIANTS = ("metrics", "a JSON line for each handshake", "stapling", "automatic HTTPS")


def _run(pace: Pace) -> Mapping[str, Samples]:
    # With this variable metrics are in files, for several processes; one process counts in memory.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    with contextlib.ExitStack() as stack:
        setting, storage = stack.enter_context(certified()), stack.enter_context(tempfile.TemporaryDirectory())
        responder = stack.enter_context(Responder(PKI("Bench")))
        stapled = PEMFiles(*responder.leaf().write(setting.directory / "stapled"))
        setting.ca.write_bytes(setting.ca.read_bytes() + responder.pki.root_pem)
        _store(Path(storage), setting)
        servers: dict[str, Server] = {}
        for loop in _LOOPS:
            contestant = next(each for each in PYTHON if each.name == f"asgi-tls uvicorn, {loop}")
            listen = f"--tls-metrics=127.0.0.1:{proxies.two_ports()[0]}"
            acme = ("--tls-acme=localhost", f"--tls-acme-directory={_DIRECTORY}", f"--tls-acme-storage={storage}")
            ways = {
                "": contestant.start(setting),
                "metrics": contestant.start(replace(setting, options=(listen,))),
                "a JSON line for each handshake": contestant.start(replace(setting, options=("--tls-log-json",))),
                "stapling": contestant.start(replace(setting, pair=stapled, options=("--tls-stapling=required",))),
                "automatic HTTPS": without_files(loop, replace(setting, options=acme)),
            }
            servers |= {_name(loop, variant): stack.enter_context(start) for variant, start in ways.items()}
        client = asking(ca=setting.ca.read_text(encoding="ascii"))
        for server in servers.values():
            way(server, client, "handshake", pace.count)()  # warm up
        return {"options": in_turns(servers, client, "handshake", _BASES, pace, 2)}


def _name(loop: str, variant: str) -> str:
    return ", ".join(part for part in (loop, variant) if part)


def _store(storage: Path, setting: Setting) -> None:
    """As an order would have."""
    source, now = ACME("localhost", directory=_DIRECTORY, storage=storage), time.time()
    source.storage.check()
    source.path.touch(mode=0o600)
    source.path.write_bytes(b"".join(Path(str(path)).read_bytes() for path in setting.pair.paths))
    record = succeeded(
        Record(), now, 0.5, certificate_id=None, ca=_DIRECTORY, not_before=now, not_after=now + 90 * _DAY
    )
    source.path.with_suffix(".json").touch(mode=0o600)
    source.path.with_suffix(".json").write_bytes(to_json(record))


_BASES = {_name(loop, variant): loop for loop in _LOOPS for variant in _VARIANTS}

OPTIONS = Measurement(
    "options",
    (
        Table(
            "options", "Options",
            "New connections, as above, to `asgi-tls uvicorn` with one option more. The client asks for an OCSP "
            "response, which only the server with stapling has.",
            {"cpu": MICROSECONDS}, first="event loop and option",
            bases=_BASES,
        ),
    ),
    _run,
)  # fmt: skip
