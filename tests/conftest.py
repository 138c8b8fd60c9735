"""Keys and certificates are made once for each worker of the test run."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

# `python -m pytest` puts the checkout first, and with it a package that is not installed.
sys.path[:] = [each for each in sys.path if Path(each).resolve() != Path(__file__).parents[1]]

# ruff: noqa: E402 -- these import the installed package
from cryptography.x509.oid import ExtendedKeyUsageOID
from files import Files
from hypothesis import HealthCheck, settings
from pki import PKI

from asgi_tls import PEMFiles

# A busy machine is no reason to fail: neither a time for each example, nor one for making them.
settings.register_profile("asgi_tls", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("asgi_tls")

# A shell that starts the tests in the background has SIGINT ignored, which the programs under test would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """For localhost (ECDSA and RSA), www.example.com and *.example.org."""
    directory = tmp_path_factory.mktemp("pki")
    pki = PKI("Tests")
    ca = directory / "ca.pem"
    ca.write_bytes(pki.root_pem)

    def pair(name: str, *names: str, **how: Any) -> PEMFiles:
        return PEMFiles(*pki.leaf(*names, **how).write(directory / name))

    return Files(
        pki=pki,
        directory=directory,
        ca=ca,
        ecdsa=pair("ecdsa", "localhost", "127.0.0.1"),
        rsa=pair("rsa", "localhost", "127.0.0.1", key="rsa"),
        example=pair("example", "www.example.com"),
        wildcard=pair("wildcard", "*.example.org"),
        nameless_client=pair("nameless", "Alice", san=False, eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
        client=pair("client", "client.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests begin first, one at each worker: `--dist worksteal` hands every worker a row of neighbours."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [each for each in items if each.get_closest_marker("long")]
    short = [each for each in items if each not in long]
    share = -(-len(short) // workers)
    items[:] = [
        each
        for worker in range(workers)
        for each in (*long[worker::workers], *short[worker * share : (worker + 1) * share])
    ]


def pytest_collection_finish() -> None:
    """What has been imported and collected stays: it need not be looked through at each garbage collection."""
    if sys.version_info < (3, 14):  # there hypothesis looks for referrers among what would be frozen
        gc.collect()
        gc.freeze()
