"""New certificates: under load, for one name; and one of thousands.

A renewal writes new files, and asks until the new certificate is served.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import load
from patience import PATIENCE
from pki import PKI
from renewals import Site, renamed

from asgi_tls import PEMFiles
from bench.figures import Samples, turns
from bench.servers import CONTESTANTS, Server, Setting, without_files
from bench.tables import Column, Measurement, Pace, Table

_RENEWALS, _UNDER_LOAD = 3, 5
# Plain uvicorn serves new files after a restart; Caddy takes another command.
_CONTESTANTS = [each for each in CONTESTANTS if each.name.startswith("asgi-tls") or each.name in {
    "hypercorn", "gunicorn", "granian", "nginx and uvicorn",
}]  # fmt: skip


@dataclass(frozen=True)
class Renewing:
    """A server, and how the certificate of a name is renewed: `write` gives the new one in DER. `idle` is the share of
    a core that the server uses anyway."""

    server: Server
    client: ssl.SSLContext
    host: str
    write: Callable[[], bytes]
    idle: float = 0.0

    def served(self) -> bytes | None:
        """The certificate that a new client gets; None if it gets none."""
        with contextlib.suppress(OSError), load.connected(self.server.port, self.client, host=self.host) as secure:
            return secure.getpeercert(binary_form=True)
        return None

    def renew(self) -> tuple[float, int]:
        """The seconds until the new one is served, and how often it was asked for."""
        new, started, asked = self.write(), time.monotonic(), 0
        while True:
            asked += 1
            if self.served() == new:
                return time.monotonic() - started, asked
            if time.monotonic() - started > PATIENCE:
                raise RuntimeError("the new certificate is not served")
            time.sleep(0.05)

    def cost(self) -> dict[str, float]:
        """CPU of a renewal, without that of the handshakes that ask for it; and the seconds until it is served."""
        self.server.rest()
        asking = self.handshake(10)
        before, started = self.server.cpu(), time.monotonic()
        seconds, asked = self.renew()
        self.server.rest()
        anyway = asked * asking + self.idle * (time.monotonic() - started)
        return {"cpu": self.server.cpu() - before - anyway, "wall": seconds}

    def handshake(self, times: int) -> float:
        """CPU seconds of one."""
        self.served()
        before = self.server.cpu()
        for _ in range(times):
            self.served()
        return (self.server.cpu() - before) / times


def _write(site: Site, server: Server) -> bytes:
    """New files, and SIGHUP."""
    pair = site.next_pair()
    renamed(site, pair)
    os.kill(server.roots[0], signal.SIGHUP)
    return pair.der


def _under_load(renewing: Renewing) -> dict[str, float]:
    """What clients notice of some renewals: all that is lost, and the longest that one of them had to wait."""
    working = load.Load(renewing.server.port, renewing.client)
    with working.running():
        for _ in range(_UNDER_LOAD):
            renewing.renew()
            time.sleep(0.3)
    return {"lost": len(working.lost), "closed": working.closed, "longest": working.longest}


def _run_renewals(pace: Pace) -> Mapping[str, Samples]:
    found: dict[str, dict[str, list[float]]] = {}
    for contestant in pace.chosen(_CONTESTANTS):
        with tempfile.TemporaryDirectory() as name:
            site = Site(PKI("Bench"), Path(name) / "site")
            setting = Setting(Path(name), site.source)
            setting.ca.write_bytes(site.pki.root_pem)
            with contestant.start(setting) as server:
                renewing = Renewing(server, setting.client(), "localhost", partial(_write, site, server))
                samples = turns({contestant.name: renewing.cost}, _RENEWALS)
                samples[contestant.name] |= {key: [value] for key, value in _under_load(renewing).items()}
                found |= samples
    return {"renewal": found}


def _run_certificates(pace: Pace) -> Mapping[str, Samples]:
    return {"certificates": {f"{number:,}": _certificates(number, pace) for number in (10, pace.certificates)}}


def _certificates(number: int, pace: Pace) -> dict[str, list[float]]:
    """A directory of so many pairs, from the start of its server to its end."""
    with tempfile.TemporaryDirectory() as name, _directory(Path(name), number) as (setting, pki):
        host = f"h{number // 2}.example.com"

        def write() -> bytes:
            pair = pki.leaf(host)
            _replace(Path(name) / "sites" / host, pair.chain_pem, pair.key_pem)
            return pair.der

        with without_files("uvloop", setting) as server:
            server.rest(1)
            before = server.cpu()
            time.sleep(pace.idle_s)
            idle = (server.cpu() - before) / pace.idle_s
            renewing = Renewing(server, setting.client(), host, write, idle)
            return {
                "start": [server.start_cpu_s],
                "idle": [idle],
                "renewal": [renewing.cost()["cpu"] for _ in range(_RENEWALS)],
                "known": [renewing.handshake(pace.count) for _ in range(pace.rounds)],
                "unknown": [
                    replace(renewing, host="nobody.example.net").handshake(pace.count) for _ in range(pace.rounds)
                ],
                "plain": [_plain(server, pace.count) for _ in range(pace.rounds)],
                "memory": [server.memory()],
            }


def _plain(server: Server, times: int) -> float:
    """CPU seconds of a plain HTTP request to the TLS port, for a host that is not served."""
    before = server.cpu()
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: nobody.example.net\r\n\r\n")
            while raw.recv(4096):
                pass
    return (server.cpu() - before) / times


@contextlib.contextmanager
def _directory(place: Path, number: int) -> Iterator[tuple[Setting, PKI]]:
    """One pair for the names that the harness asks for, and the others, each in a directory of its own."""
    pki = PKI("Bench")
    localhost = place / "sites/localhost"
    pair = PEMFiles(localhost / "fullchain.pem", localhost / "privkey.pem")
    setting = Setting(place, pair, options=(f"--tls-directory={place / 'sites'}",))
    setting.ca.write_bytes(pki.root_pem)
    for host in ["localhost", *(f"h{each}.example.com" for each in range(1, number))]:
        made = pki.leaf(host)
        (place / "sites" / host).mkdir(parents=True)
        _replace(place / "sites" / host, made.chain_pem, made.key_pem)
    yield setting, pki


def _replace(directory: Path, chain: bytes, key: bytes) -> None:
    for name, text in (("privkey.pem", key), ("fullchain.pem", chain)):
        new = directory / f".{name}"
        new.write_bytes(text)
        new.chmod(0o600)
        new.replace(directory / name)


RENEWAL = Measurement(
    "renewal",
    (
        Table(
            "renewal", "Renewals under load",
            "New files and SIGHUP. CPU is that of a renewal without load, all processes together. Then one client "
            "makes new connections and another one requests on an open connection, as fast as they can, during "
            f"{_UNDER_LOAD} renewals: how many connections and requests failed, how many open connections the server "
            "closed between two requests, and the longest that one of them took.",
            {
                "cpu": Column("CPU, ms", 1, factor=1e3, compared=False),
                "wall": Column("until served, ms", factor=1e3, compared=False),
                "lost": Column("failed", compared=False),
                "closed": Column("closed", compared=False),
                "longest": Column("longest, ms", factor=1e3, compared=False),
            },
        ),
    ),
    _run_renewals,
)  # fmt: skip
CERTIFICATES = Measurement(
    "certificates",
    (
        Table(
            "certificates", "Thousands of certificates",
            "`asgi-tls uvicorn --tls-directory` on uvloop; each pair is in a directory of its own, as certbot has "
            "them. CPU of the start, while idle, of one renewed pair, which is noticed without SIGHUP, of a handshake "
            "for a name and for a name that is not served, and of a plain HTTP request for such a host.",
            {
                "start": Column("start, s", 2, compared=False),
                "memory": Column("memory, MiB", factor=1 / (1 << 20), compared=False),
                "idle": Column("idle, % of a core", 2, factor=100, compared=False),
                "renewal": Column("renewal, ms", 1, factor=1e3, compared=False),
                "known": Column("handshake, µs", factor=1e6, compared=False),
                "unknown": Column("unknown name, µs", factor=1e6, compared=False),
                "plain": Column("plain HTTP, µs", factor=1e6, compared=False),
            },
            first="certificates",
        ),
    ),
    _run_certificates,
)  # fmt: skip
