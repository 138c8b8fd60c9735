"""Versions, suites, groups and handshakes, judged without a network."""

from __future__ import annotations

from typing import Any

import pytest
from observations import TLS12, TLS13, found, seen, versions

from asgi_tls.audit.judges.protocol import weakness
from asgi_tls.audit.probes.groups import Groups
from asgi_tls.audit.probes.handshakes import Resumption
from asgi_tls.audit.probes.observed import Hellos, Refusals
from asgi_tls.audit.probes.suites import NAMES


def groups(*names: str) -> dict[str, Any]:
    return {"groups": Groups(names=names, preference="server")}


def suite(name: str) -> dict[str, Any]:
    return {"versions": versions(TLSv1_2=(name,), TLSv1_3=TLS13)}


@pytest.mark.parametrize(
    ("changes", "expected", "grade"),
    [
        ({"versions": versions(SSLv3=(), TLSv1_2=TLS12, TLSv1_3=TLS13)}, {"protocol-sslv3"}, "F"),
        ({"versions": versions(TLSv1_1=(), TLSv1_3=TLS13)}, {"protocol-tls11"}, "B"),
        ({"versions": versions(TLSv1_2=TLS12)}, {"protocol-no-tls13"}, "A-"),
        ({"versions": versions(TLSv1_3=TLS13)}, set(), "A+"),
        ({"hellos": None}, set(), "A+"),
        ({"hellos": Hellos(compression=True)}, {"compression"}, "C"),
        ({"hellos": Hellos(secure_renegotiation=False)}, {"renegotiation"}, "C"),
        ({"hellos": Hellos(extended_master_secret=False)}, {"extended-master-secret"}, "A+"),
        ({"hellos": Hellos(downgrade_marked=False)}, {"downgrade-unmarked"}, "A"),
        ({"dh_bits": 512}, {"dh-broken"}, "F"),
        ({"dh_bits": 1024}, {"dh-weak"}, "B"),
        ({"dh_bits": 2048}, set(), "A+"),
        (suite("TLS_RSA_WITH_RC4_128_SHA"), {"suite-rc4"}, "C"),
        (suite("TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"), {"suite-64-bit-block"}, "B"),
        (suite("TLS_RSA_WITH_DES_CBC_SHA"), {"suite-des"}, "F"),
        (suite("TLS_RSA_EXPORT_WITH_RC4_40_MD5"), {"suite-export"}, "F"),
        ({"old_groups": ("secp192r1", "secp224r1")}, {"group-weak", "group-extra"}, "B"),
        (groups("X25519", "P-521", "X448", "ffdhe2048"), {"group-extra", "group-no-pq"}, "A+"),
        ({"hybrid_tolerated": True}, set(), "A+"),
        ({"hybrid_tolerated": False}, {"hybrid-refused"}, "A"),
        ({"groups": Groups()}, {"group-no-pq"}, "A+"),
        ({"resumption": {"TLSv1.3": Resumption(resumed=1, tried=2)}}, {"resumption-partial"}, "A+"),
        ({"resumption": {"TLSv1.2": Resumption(resumed=0, tried=2)}}, {"resumption-none"}, "A+"),
        ({"refusals": Refusals(refused=4, without_alert=1)}, {"alert-missing"}, "A+"),
        ({"refusals": Refusals(refused=4, unanswered=1)}, {"unanswered"}, "A+"),
    ],
)
def test_findings_and_grade(changes: dict[str, Any], expected: set[str], grade: str) -> None:
    assert found(seen(**changes)) == (expected, grade)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("TLS_RSA_WITH_NULL_SHA", "null"),
        ("TLS_ECDH_anon_WITH_AES_128_CBC_SHA", "anonymous"),
        ("TLS_RSA_EXPORT_WITH_RC4_40_MD5", "export"),
        ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", "rc4"),
        ("TLS_DHE_RSA_WITH_DES_CBC_SHA", "des"),
        ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "64-bit-block"),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", "static"),
        ("TLS_DH_RSA_WITH_AES_256_GCM_SHA384", "static"),
        ("TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256", "static"),
        ("TLS_DHE_RSA_WITH_SEED_CBC_SHA", "cbc"),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "cbc"),
        ("TLS_AES_128_CCM_8_SHA256", "short-tag"),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8", "short-tag"),
        ("TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", None),
        ("TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256", None),
        ("TLS_AES_128_CCM_SHA256", None),
    ],
)
def test_what_is_wrong_with_a_suite(name: str, found: str | None) -> None:
    assert name in NAMES.values()
    assert weakness(name) == found


def test_the_sound_suites_have_forward_secrecy_and_authenticated_encryption() -> None:
    from asgi_tls.profile import TLS12_CIPHERS, TLS13_CIPHERSUITES

    sound = {name for name in NAMES.values() if weakness(name) is None}
    assert {*TLS13_CIPHERSUITES, *(iana for iana, _ in TLS12_CIPHERS.values())} <= sound
    assert all("DHE_" in name or name.startswith(("TLS_AES", "TLS_CHACHA20")) for name in sound)
