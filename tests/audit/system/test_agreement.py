"""The audit, sslyze and testssl.sh look at the same servers, and say the same of versions, suites, chain and HSTS."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from audited import HEADERS, examine, nginx, s_server
from demo import demo_served
from launch import Launch
from pki import PKI, Pair
from sslyze_command import sslyze

from asgi_tls import PEMFiles
from asgi_tls.audit.report.json import as_json

pytestmark = pytest.mark.system

VERSIONS = ("SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")


@dataclass(frozen=True)
class View:
    """What one program saw. `suites` are IANA's names by version; `order` is None where the program does not tell."""

    suites: dict[str, set[str]]
    complete: bool
    in_order: bool
    hsts: int | None
    order: dict[str, list[str]] | None = None


def ours(port: int, pki: PKI, directory: Path, path: str = "/") -> View:
    seen = as_json(examine(port, pki, directory, path=path))
    (certificate,) = seen["certificates"]
    suites = {version: list(seen["protocols"][version]["suites"]) for version in VERSIONS}
    return View(
        suites={version: set(names) for version, names in suites.items()},
        complete=certificate["trusted"],
        in_order=certificate["chain_in_order"],
        hsts=seen["http"]["hsts_max_age"],
        order={version: names for version, names in suites.items() if names},
    )


def by_sslyze(port: int, directory: Path) -> View:
    report = directory / "sslyze.json"
    scans = ["--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--certinfo", "--http_headers"]
    trusted = f"--certinfo_ca_file={directory / 'audit-ca.pem'}"
    command = sslyze(f"--json_out={report}", *scans, trusted, f"localhost:{port}")
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    found: dict[str, Any] = json.loads(report.read_text())["server_scan_results"][0]["scan_result"]
    (deployment,) = found["certificate_info"]["result"]["certificate_deployments"]
    header = found["http_headers"]["result"]["strict_transport_security_header"]
    names = ("ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
    return View(
        suites={
            version: {
                each["cipher_suite"]["name"]
                for each in found[f"{name}_cipher_suites"]["result"]["accepted_cipher_suites"]
            }
            for version, name in zip(VERSIONS, names, strict=True)
        },
        complete=deployment["verified_certificate_chain"] is not None,
        in_order=deployment["received_chain_has_valid_order"],
        hsts=None if header is None else header["max_age"],
    )


def by_testssl(port: int, directory: Path) -> View:
    """For servers whose own order of suites decides: only then it lists them without trying each of hundreds."""
    report = directory / "testssl.json"
    scans = ["--protocols", "--server-preference", "--server-defaults", "--headers"]
    command = ["testssl", "--color", "0", "--quiet", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1"]
    command += ["--add-ca", str(directory / "audit-ca.pem"), *scans, "--jsonfile", str(report), f"localhost:{port}"]
    subprocess.run(command, check=False, capture_output=True, timeout=400)
    found = {each["id"]: each["finding"] for each in json.loads(report.read_text())}
    assert found["cipher_order"] == "server"
    names = ("SSLv3", "TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3")
    iana = iana_names()
    order = {
        version: [iana[each] for each in found.get(f"cipherorder_{name}", "").split()]
        for version, name in zip(VERSIONS, names, strict=True)
    }
    offered = {
        version: found[name.replace("TLSv1", "TLS1")].startswith("offered")
        for version, name in zip(VERSIONS, names, strict=True)
    }
    assert {version: bool(suites) for version, suites in order.items()} == offered
    age = re.search(r"(\d+) seconds|=(\d+)", found.get("HSTS_time", ""))
    return View(
        suites={version: set(suites) for version, suites in order.items()},
        complete=found["cert_chain_of_trust"] == "passed.",
        in_order=found["certs_list_ordering_problem"] == "no",
        hsts=None if age is None else int(age[1] or age[2]),
        order={version: suites for version, suites in order.items() if suites},
    )


def iana_names() -> dict[str, str]:
    command = ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = (line.split() for line in lines)
    return {row[4]: row[2] for row in rows}


@contextmanager
def weak(pki: PKI, directory: Path) -> Iterator[tuple[int, str]]:
    ciphers = "ECDHE+AES:AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0"
    with s_server(directory, pki.leaf(key="rsa").alone(), "-serverpref", ciphers=ciphers) as port:
        yield port, "/index"


@contextmanager
def good(pki: PKI, directory: Path) -> Iterator[tuple[int, str]]:
    with nginx(directory, pki.leaf(), more='ssl_prefer_server_ciphers on; location / { return 200 "ok"; }') as port:
        yield port, "/"


@contextmanager
def shuffled(pki: PKI, directory: Path) -> Iterator[tuple[int, str]]:
    upper = pki.ca("Upper", issuer=pki.root, path_length=1)
    leaf = pki.leaf(issuer=pki.ca("Lower", issuer=upper, path_length=0))
    headers = tuple({**HEADERS, "Strict-Transport-Security": "max-age=300"}.items())
    with nginx(directory, Pair(leaf.certificate, leaf.key, leaf.issuers[::-1]), headers=headers) as port:
        yield port, "/"


@contextmanager
def demo(pki: PKI, directory: Path) -> Iterator[tuple[int, str]]:
    pair = PEMFiles(*pki.leaf("localhost").write(directory))
    with demo_served(Launch("uvicorn", "asyncio"), pair) as server:
        yield server.port, "/"


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI("Audit")


@pytest.mark.parametrize("server", [weak, good, shuffled, demo])
def test_sslyze(pki: PKI, tmp_path: Path, server: Any) -> None:
    with server(pki, tmp_path) as (port, path):
        own, other = ours(port, pki, tmp_path, path), by_sslyze(port, tmp_path)
    assert own.suites == other.suites
    assert (own.complete, own.in_order) == (other.complete, other.in_order)
    if server is not weak:  # s_server has an answer for one path alone
        assert own.hsts == other.hsts


@pytest.mark.parametrize("server", [weak, good])
def test_testssl(pki: PKI, tmp_path: Path, server: Any) -> None:
    with server(pki, tmp_path) as (port, path):
        own, other = ours(port, pki, tmp_path, path), by_testssl(port, tmp_path)
    assert own.suites == other.suites
    assert own.order == other.order
    assert (own.complete, own.in_order) == (other.complete, other.in_order)
    if server is not weak:
        assert own.hsts == other.hsts
