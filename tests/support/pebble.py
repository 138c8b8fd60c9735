"""pebble, Let's Encrypt's test server, with the DNS server that it validates by: a CA of the tests' own on loopback.

with pebble(tmp_path, authz_reuse=0) as ca:
    ca.url, ca.ca_file                  # where its directory is, and the CA of its HTTPS port
    ca.http_port, ca.tls_port           # where it looks for http-01 and tls-alpn-01: serve there
    ca.stop(); ca.start()               # it forgets every account and order, and keeps its ports
    ca.pause(); ca.go_on()              # it accepts connections meanwhile, and says nothing
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments import CACHE, ROOT
from pki import PKI
from ports import free_ports
from servers import await_port

from asgi_tls.files import locked

PROGRAMS = CACHE / "pebble" / "usr" / "bin"
NAME = "www.example.test"
"""Every name resolves to 127.0.0.1, unless `dns` says otherwise; this one has no meaning."""
USUAL: Mapping[str, int] = {"default": 90 * 86400}
"""The profiles: what a certificate of each lives, in seconds. pebble takes any of them if a client asks for none."""
SHORT: Mapping[str, int] = {"seconds": 20}
KID, HMAC = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
"""The external account that it knows where `external_account` is required."""


@dataclass
class Pebble:
    """A running pebble and its DNS server."""

    directory: Path
    environment: Mapping[str, str]
    host: str
    port: int
    management: int
    http_port: int
    tls_port: int
    dns_port: int
    dns_management: int
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}/dir"

    @property
    def ca_file(self) -> Path:
        """The CA that signed the certificate of its HTTPS port; not what signs the certificates that it issues."""
        return self.directory / "ca.pem"

    @property
    def log(self) -> str:
        return (self.directory / "pebble.log").read_text(encoding="utf-8")

    @property
    def orders(self) -> int:
        """How many orders clients have made, in all its lives."""
        return self.log.count("Added order ")

    @property
    def issued(self) -> list[str]:
        """The serial numbers of the certificates that it has issued, in hexadecimal."""
        return re.findall(r"Issued certificate serial (\w+)", self.log)

    @property
    def replaced(self) -> int:
        """How many orders said which certificate they replace."""
        return self.log.count(" is a replacement of ")

    def start(self) -> None:
        config = self.directory / "pebble.json"
        with (self.directory / "pebble.log").open("ab") as log:
            process = subprocess.Popen(
                [PROGRAMS / "pebble", "-config", config, "-dnsserver", f"127.0.0.1:{self.dns_port}"],
                stdout=log, stderr=log, env={**os.environ, **self.environment},
            )  # fmt: skip
        self._running.append(process)
        await_port(self.port, timeout=60, host=self.host)
        await_port(self.management, timeout=60, host=self.host)

    def stop(self) -> None:
        while self._running:
            process = self._running.pop()
            process.kill()
            process.wait()

    def pause(self) -> None:
        self._running[-1].send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._running[-1].send_signal(signal.SIGCONT)

    def root(self) -> bytes:
        """The root of the certificates that it issues, PEM. It makes another at each start."""
        return self._managed("roots/0")

    def status(self, serial: int) -> str:
        """Valid or Revoked."""
        return str(json.loads(self._managed(f"cert-status-by-serial/{serial:x}"))["Status"])

    def answer_renewal_info(self, certificate_pem: bytes, answer: str | Mapping[str, Any]) -> None:
        """What it says from now on when it is asked about this certificate (RFC 9773): an object, or any text."""
        first = certificate_pem.decode().partition("-----END CERTIFICATE-----")
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self._managed("set-renewal-info/", {"Certificate": first[0] + first[1] + "\n", "ARIResponse": text})

    def dns(self, action: str, **what: Any) -> None:
        """Change its DNS: `dns("set-txt", host="_acme-challenge.example.test.", value="…")`, add-a, add-caa, set-cname,
        set-servfail, clear-txt, …
        """
        url = f"http://127.0.0.1:{self.dns_management}/{action}"
        with urllib.request.urlopen(url, json.dumps(what).encode(), timeout=60) as answer:
            assert answer.status == 200

    def _managed(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        trusting = ssl.create_default_context(cafile=self.ca_file)
        url = f"https://{self.host}:{self.management}/{path}"
        with urllib.request.urlopen(url, data, context=trusting, timeout=60) as answer:
            return bytes(answer.read())


@contextlib.contextmanager
def pebble(
    directory: Path,
    *,
    nonce_reject: int = 0,
    authz_reuse: int = 0,
    sleep: bool = False,
    external_account: bool = False,
    profiles: Mapping[str, int] = USUAL,
    blocked: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    host: str = "localhost",
) -> Iterator[Pebble]:
    """Run both until the block is left. `nonce_reject` and `authz_reuse` are per cent; `sleep`: it validates late.
    Another `host` is an address of this machine that others can reach.
    """
    install()
    directory = directory / "pebble"
    directory.mkdir(parents=True)
    pki = PKI("pebble")
    certificate, key = pki.leaf(*dict.fromkeys(("localhost", "127.0.0.1", host))).write(directory)
    (directory / "ca.pem").write_bytes(pki.root_pem)
    switches = {
        "PEBBLE_VA_NOSLEEP": "0" if sleep else "1",
        "PEBBLE_VA_SLEEPTIME": "3",
        "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
        "PEBBLE_AUTHZREUSE": str(authz_reuse),
        **(environment or {}),
    }
    ca = Pebble(directory, switches, host, *free_ports(6))
    settings = {
        "listenAddress": f"{host}:{ca.port}",
        "managementListenAddress": f"{host}:{ca.management}",
        "certificate": str(certificate),
        "privateKey": str(key),
        "httpPort": ca.http_port,
        "tlsPort": ca.tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": external_account,
        "externalAccountMACKeys": {KID: HMAC} if external_account else {},
        "domainBlocklist": list(blocked),
        "retryAfter": {"authz": 1, "order": 1},
        "keyAlgorithm": "ecdsa",
        "profiles": {
            name: {"description": f"{seconds} s", "validityPeriod": seconds} for name, seconds in profiles.items()
        },
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": settings}))
    with _dns(ca):
        try:
            ca.start()
            yield ca
        finally:
            ca.stop()


@contextlib.contextmanager
def _dns(ca: Pebble) -> Iterator[None]:
    with (ca.directory / "dns.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAMS / "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
             "-dnsserver", f"127.0.0.1:{ca.dns_port}", "-management", f"127.0.0.1:{ca.dns_management}",
             "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await_port(ca.dns_management, timeout=60)
        yield
    finally:
        process.kill()
        process.wait()


def install() -> None:
    """Fetch the programs where they are missing, as `make test-system` does."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "pebble.lock"):
        subprocess.run([ROOT / "tests" / "system" / "install-pebble", CACHE / "pebble"], check=True)
