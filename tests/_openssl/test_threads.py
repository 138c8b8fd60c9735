"""Threads that shake hands at once, with nothing but `_openssl`: it runs on a free-threaded Python without a wheel of
cryptography too (`pytest --noconftest tests/_openssl`).
"""

from __future__ import annotations

import gc
import os
import ssl
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from memory import handshake

from asgi_tls import _openssl
from asgi_tls._openssl.client_hello import current

THREADS, ROUNDS = 4, 40
GROUPS = ("X25519", "P-384", "P-256")
# For localhost until 2126, by `openssl req -x509 -newkey ec`.
PAIR = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyTdMuXljfukqepiw
45z8g7baBAR/wUKW0CI+1Kk2ZEGhRANCAAS7fo99WUpxqoFN/qVI8MaLfz2tFFdY
VFYTyCIQnZhi/7tbmDvei04/7niXHOTGwRbSOdmJLJ0noFEYOLpMMGLw
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUYHoOmC+PH9K0k+qFGgMyuRgZ20EwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjEzMTc1M1oYDzIxMjYxMTAy
MTMxNzUzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS7fo99WUpxqoFN/qVI8MaLfz2tFFdYVFYTyCIQnZhi/7tbmDvei04/
7niXHOTGwRbSOdmJLJ0noFEYOLpMMGLwo2kwZzAdBgNVHQ4EFgQUTJ/qIda8LGGx
WHqnPiJ366bXdi0wHwYDVR0jBBgwFoAUTJ/qIda8LGGxWHqnPiJ366bXdi0wDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIhAPWb1g612G/mWd9YE7Frln8EjZghjB/cq+nkbW6nsekvAiA/GC0itkOm
M46me6lOo8qrk6SRNQLjc45jIop3+N3htw==
-----END CERTIFICATE-----
"""

if not _openssl.reachable():
    pytest.skip("needs libssl", allow_module_level=True)


class Observed(ssl.SSLObject):
    """The server's side, as the callback for the ClientHello wants it."""

    tls_group: str | None = None
    tls_widen: Callable[[], object] | None = None

    def do_handshake(self) -> None:
        current.handshake = self
        try:
            super().do_handshake()
        finally:
            current.handshake = None


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pair") / "localhost.pem"
    path.write_text(PAIR, encoding="ascii")
    return path


def server_of(pair: Path, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = Observed
    context.load_cert_chain(pair)
    _openssl.set_groups(context, GROUPS)
    _openssl.prefer_own_groups(context, GROUPS, client_auth=False)
    _openssl.set_protocols(context, protocols)
    return context


def client_of(pair: Path, version: ssl.TLSVersion, *protocols: str, groups: tuple[str, ...] = GROUPS) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pair))
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(list(protocols))
    _openssl.set_groups(context, groups)
    return context


def at_once(work: Callable[[int], object]) -> None:
    """In threads that begin together. Raises what one of them raises."""
    barrier = threading.Barrier(THREADS)

    def one(number: int) -> None:
        barrier.wait(60)
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        for each in [pool.submit(one, number) for number in range(THREADS)]:
            each.result()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_handshakes_beside_keys_that_rotate(pair: Path, version: ssl.TLSVersion) -> None:
    server, over, resumed = server_of(pair, "h2", "http/1.1"), threading.Event(), []
    _openssl.limit_sessions(server, 60, 100)

    def rotate() -> None:
        keys = [os.urandom(80)] * 2
        while not over.is_set():
            keys = [os.urandom(80), keys[0]]
            _openssl.set_ticket_keys(server, keys[0], keys[1:], threaded=True)
            _openssl.forget_sessions(server)
            over.wait(0.001)  # some a handshake, and the handshakes get on

    def visit(number: int) -> None:
        # The server's order counts, not the client's.
        mine = tuple(reversed(GROUPS[number % 3 :]))
        client, session = client_of(pair, version, "http/1.1", "h2", groups=mine), None
        for _ in range(ROUNDS):
            ends = handshake(server, client, session=session)
            session = ends.client.session
            assert ends.client.selected_alpn_protocol() == "h2"
            resumed.append(ends.client.session_reused)
            if version is ssl.TLSVersion.TLSv1_3 or not ends.client.session_reused:
                assert _openssl.negotiated_group(ends.client) == GROUPS[number % 3]

    _openssl.set_ticket_keys(server, os.urandom(80), [], threaded=True)
    rotating = threading.Thread(target=rotate)
    rotating.start()
    try:
        at_once(visit)
    finally:
        over.set()
        rotating.join()
    assert len(resumed) == THREADS * ROUNDS
    _openssl.set_ticket_keys(server, os.urandom(80), [], threaded=True)  # and once they stand still
    client = client_of(pair, version, "h2")
    first = handshake(server, client)
    assert handshake(server, client, session=first.client.session).client.session_reused


def test_contexts_that_are_made_at_once(pair: Path) -> None:
    """They share callbacks, which have to live although each thread may have made one of its own."""
    for turn in range(ROUNDS):
        protocol, made = f"turn-{turn}", [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)] * THREADS

        def make(number: int, protocol: str = protocol, made: list[ssl.SSLContext] = made) -> None:
            made[number] = server_of(pair, protocol)

        at_once(make)
        if not turn % 10:
            gc.collect()
        client = client_of(pair, ssl.TLSVersion.TLSv1_3, protocol)
        assert {handshake(each, client).client.selected_alpn_protocol() for each in made} == {protocol}


IMPORT_ALL = """
import importlib, pkgutil, sys, asgi_tls
missing = set()
for module in pkgutil.walk_packages(asgi_tls.__path__, "asgi_tls.", onerror=lambda name: None):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing.add(error.name.partition(".")[0])
assert "asgi_tls" not in missing, missing
print(sys._is_gil_enabled(), len([each for each in sys.modules if each.startswith("asgi_tls")]))
"""


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL")
def test_no_import_switches_the_gil_on() -> None:
    """Python warns of a module that does, and the warning is an error here."""
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", IMPORT_ALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    enabled, count = done.stdout.split()
    assert enabled == "False"
    assert int(count) > 20
