"""The cost of thousands of certificates: at the start, while idle, at a renewal, and for each name.

    python -m bench.many [--pairs N] [--workers N] [--idle SECONDS]

`asgi-tls uvicorn --tls-directory` serves pairs of one CA, each in a directory of its own as certbot keeps them. For
comparison, 10 pairs are measured as well. CPU is that of all processes of the server.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

FEW, MANY = 10, 2000
REQUESTS = 200
RENEWALS = 5
START_LIMIT = 600.0
_HERE = Path(__file__).parent
_DAY = timedelta(days=1)


class Authority:
    """A root, and leaves of it with P-256 keys: some 150 us each."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._now = datetime.now(UTC)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self._root = self._sign("Bench CA", self._key, constraints)

    @property
    def pem(self) -> str:
        return self._root.public_bytes(Encoding.PEM).decode("ascii")

    def write(self, directory: Path, host: str) -> bytes:
        """A new pair for `host` and all names below it, renamed into place; the certificate in DER."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host), x509.DNSName(f"*.{host}")])
        leaf = self._sign(host, key, names)
        directory.mkdir(exist_ok=True)
        texts = {
            "privkey.pem": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "fullchain.pem": leaf.public_bytes(Encoding.PEM),
        }
        for name, text in texts.items():
            new = directory / f".{name}"
            new.write_bytes(text)
            new.chmod(0o600)
            new.replace(directory / name)
        return leaf.public_bytes(Encoding.DER)

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> x509.Certificate:
        subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, "Bench CA"))
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        builder = builder.not_valid_before(self._now - _DAY).not_valid_after(self._now + 89 * _DAY)
        return builder.sign(self._key, hashes.SHA256())


@dataclass
class Figures:
    """What a server with `pairs` pairs costs: seconds, shares of a core, milliseconds, MiB."""

    pairs: int
    start_s: float
    start_cpu_s: float
    idle_share: float
    renewal_ms: float
    renewal_wall_ms: float
    known_ms: float
    unknown_ms: float
    handshake_ms: float
    refused_ms: float
    memory_mib: float


class Server:
    """`asgi-tls uvicorn` and its children."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, authority: Authority) -> None:
        self.port = port
        self._process = psutil.Process(process.pid)
        self._context = ssl.create_default_context(cadata=authority.pem)

    def served(self, host: str) -> bytes | None:
        """The certificate that a client gets for a name."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=60) as raw,
            self._context.wrap_socket(raw, server_hostname=host) as secure,
        ):
            return secure.getpeercert(binary_form=True)

    def refused(self, host: str) -> None:
        """Ask for a name that is not served."""
        with contextlib.suppress(ssl.SSLError):
            self.served(host)

    def plain(self, host: str) -> bytes:
        """The first line that a plain HTTP request to the TLS port gets."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode("ascii"))
            return raw.recv(4096).partition(b"\r\n")[0]

    def cpu(self) -> float:
        """Seconds of all processes."""
        times = [one.cpu_times() for one in self._all()]
        return float(sum(one.user + one.system for one in times))

    def memory(self) -> float:
        """MiB of all processes; what they share is counted once in each."""
        return float(sum(one.memory_info().rss for one in self._all())) / (1 << 20)

    def cost(self, action: Callable[[], object], times: int = REQUESTS) -> float:
        """CPU milliseconds of each."""
        action()
        before = self.cpu()
        for _ in range(times):
            action()
        return (self.cpu() - before) / times * 1000

    def _all(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


def measure(pairs: int, workers: int, idle: float) -> Figures:
    """One server, from its start to its end."""
    with tempfile.TemporaryDirectory() as name:
        directory, authority = Path(name), Authority()
        for number in range(pairs):
            authority.write(directory / f"h{number}", f"h{number}.example.com")
        started = time.monotonic()
        with _serving(directory, workers, authority) as server:
            start_s, start_cpu_s = time.monotonic() - started, server.cpu()
            time.sleep(8)  # until everything that the start began is done
            before = server.cpu()
            time.sleep(idle)
            share = (server.cpu() - before) / idle
            renewal_ms, wall_ms = _renewals(server, directory, authority, pairs, share)
            return Figures(
                pairs=pairs,
                start_s=start_s,
                start_cpu_s=start_cpu_s,
                idle_share=share,
                renewal_ms=renewal_ms,
                renewal_wall_ms=wall_ms,
                known_ms=server.cost(lambda: server.plain(f"h{pairs - 1}.example.com")),
                unknown_ms=server.cost(lambda: server.plain("nobody.example.net")),
                handshake_ms=server.cost(lambda: server.served(f"h{pairs - 1}.example.com")),
                refused_ms=server.cost(lambda: server.refused("nobody.example.net")),
                memory_mib=server.memory(),
            )


def _renewals(
    server: Server, directory: Path, authority: Authority, pairs: int, idle_share: float
) -> tuple[float, float]:
    """CPU milliseconds of a renewed pair in all processes, less what they use anyway; seconds until it is served."""
    host = f"h{pairs // 2}.example.com"
    asking = server.cost(lambda: server.served(host), 20) / 1000
    used = waited = 0.0
    for _ in range(RENEWALS):
        time.sleep(1)
        before, started, asked = server.cpu(), time.monotonic(), 0
        new = authority.write(directory / f"h{pairs // 2}", host)
        while True:
            time.sleep(0.1)
            asked += 1
            if server.served(host) == new:
                break
            if time.monotonic() - started > 60:
                raise RuntimeError("the renewed pair is not served")
        taken = time.monotonic() - started
        time.sleep(2)  # the other workers, and whatever follows
        used += server.cpu() - before - asked * asking - (taken + 2) * idle_share
        waited += taken
    return used / RENEWALS * 1000, waited / RENEWALS * 1000


@contextlib.contextmanager
def _serving(directory: Path, workers: int, authority: Authority) -> Iterator[Server]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    command = [sys.executable, "-m", "asgi_tls", "uvicorn", "hello_app:app", "--port", str(port), "--no-access-log"]
    command += ["--lifespan", "off", "--workers", str(workers), "--tls-directory", str(directory)]
    with subprocess.Popen(
        command, cwd=_HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ}
    ) as process:
        try:
            server = Server(process, port, authority)
            deadline = time.monotonic() + START_LIMIT
            while True:
                with contextlib.suppress(OSError):
                    server.served("h0.example.com")
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{' '.join(command)} does not serve")
                time.sleep(0.05)
            yield server
        finally:
            process.terminate()
            process.wait(60)


def run(pairs: int = MANY, workers: int = 1, idle: float = 60.0) -> list[Figures]:
    """Print the figures for few and many pairs, and their ratios."""
    few, many = measure(FEW, workers, idle), measure(pairs, workers, idle)
    print(f"{'pairs':36}{few.pairs:10}{many.pairs:10}   workers: {workers}")
    rows = [
        ("start, until a name is served, s", "start_s", 1.0, "under 10"),
        ("  CPU s until then, all processes", "start_cpu_s", 1.0, ""),
        ("idle, % of a core", "idle_share", 100.0, "under 1 for each worker"),
        ("one renewed pair, CPU ms", "renewal_ms", 1.0, "under 50 for each worker"),
        ("one renewed pair, ms until served", "renewal_wall_ms", 1.0, ""),
        ("memory, MiB", "memory_mib", 1.0, ""),
        ("plain HTTP, known host, CPU ms", "known_ms", 1.0, ""),
        ("plain HTTP, unknown host, CPU ms", "unknown_ms", 1.0, ""),
        ("handshake, known name, CPU ms", "handshake_ms", 1.0, ""),
        ("handshake, unknown name, CPU ms", "refused_ms", 1.0, ""),
    ]
    for text, name, factor, aim in rows:
        one, other = getattr(few, name) * factor, getattr(many, name) * factor
        print(f"{text:36}{one:10.2f}{other:10.2f}   x{other / one if one > 0 else float('nan'):6.2f}   {aim}")
    return [few, many]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=MANY)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to measure the idle server")
    options = parser.parse_args()
    run(options.pairs, options.workers, options.idle)


if __name__ == "__main__":
    main()
