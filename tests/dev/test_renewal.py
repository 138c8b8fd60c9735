"""A development certificate made again, and every other certificate left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from files import Files
from odd_certificates import V4, Odd

from asgi_tls import PEMFiles
from asgi_tls.dev.ca import LocalCA
from asgi_tls.dev.renewal import is_development, renew

NAMES = ["localhost", "*.app.example", "127.0.0.1", "::1"]


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture
def ca(tmp_path: Path) -> LocalCA:
    return LocalCA(tmp_path / "home")


@pytest.mark.parametrize("names", [NAMES, NAMES[1:], NAMES[3:]], ids=["name", "wildcard", "address"])
def test_it_is_made_again_in_its_place_for_the_same_names(ca: LocalCA, names: list[str]) -> None:
    first = ca.issue(names)
    before = der(first.certfile)
    renewed = renew(before, ca=ca)
    assert renewed is not None
    assert renewed.created
    assert (renewed.certfile, renewed.keyfile) == (first.certfile, first.keyfile)
    assert der(renewed.certfile) != before
    # Loading proves that the key belongs to it.
    assert PEMFiles(renewed.certfile, renewed.keyfile).load().subject_alt_names == tuple(names)
    assert is_development(der(renewed.certfile), ca=ca)


def test_one_that_does_not_lie_there_is_left_alone(ca: LocalCA, files: Files, tmp_path: Path) -> None:
    first = ca.issue(NAMES)
    before = der(first.certfile)
    assert renew(before, ca=ca) is not None
    # What was served before is no longer the one that lies there.
    after = first.certfile.read_bytes()
    assert renew(before, ca=ca) is None
    elsewhere = ca.issue(NAMES, directory=tmp_path / "elsewhere")
    for other in (der(elsewhere.certfile), der(Path(files.ecdsa.certfile)), b"no certificate"):
        assert renew(other, ca=ca) is None
    assert first.certfile.read_bytes() == after


def test_a_development_certificate_is_known_by_its_ca(ca: LocalCA, files: Files, tmp_path: Path) -> None:
    mine = der(ca.issue(NAMES, directory=tmp_path / "elsewhere").certfile)
    other = LocalCA(tmp_path / "of another user")
    assert is_development(mine, ca=ca)
    assert not is_development(mine, ca=other)
    assert not is_development(der(other.issue(NAMES).certfile), ca=ca)
    assert not is_development(der(Path(files.ecdsa.certfile)), ca=ca)
    assert not is_development(b"no certificate", ca=ca)
    assert not is_development(Odd().pair(version=V4).der, ca=ca)  # which cryptography does not parse


def test_a_damaged_file_there_is_passed_by(ca: LocalCA) -> None:
    kept = ca.issue(["localhost"])
    damaged = ca.issue(["damaged.example"])
    damaged.certfile.write_text("nothing")
    assert renew(der(kept.certfile), ca=ca) is not None
