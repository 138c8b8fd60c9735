"""The tables of findings, the order of grades, and a server without fault."""

from __future__ import annotations

from observations import TLS13, answer, found, seen, versions

from asgi_tls import INTERMEDIATE, MODERN
from asgi_tls.audit.judges.findings import GRADES, KINDS, SEVERITIES, Finding
from asgi_tls.audit.judges.grade import is_worse
from asgi_tls.audit.probes.groups import Groups


def test_nothing_is_wrong() -> None:
    assert found(seen(), profile=INTERMEDIATE) == (set(), "A+")


def test_drift() -> None:
    assert found(seen(), profile=MODERN)[0] == {"profile-versions"}
    wide = {"groups": Groups(names=("X25519", "P-256", "P-384", "P-521"), preference=None)}
    assert found(seen(**wide), profile=INTERMEDIATE)[0] == {"profile-groups", "profile-lacks", "group-no-pq"}
    dhe = versions(TLSv1_2=("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",), TLSv1_3=TLS13[1:])
    assert found(seen(versions=dhe), profile=INTERMEDIATE)[0] == {"profile-suites", "profile-lacks"}
    short = answer(Strict_Transport_Security="max-age=31536000")
    assert found(seen(**short), profile=INTERMEDIATE)[0] == {"profile-hsts"}


def test_the_table_of_findings() -> None:
    for name, kind in KINDS.items():
        assert name == name.lower()
        assert kind.severity in SEVERITIES
        assert kind.cap is None or kind.severity != "info"
        assert kind.reference.startswith("https://")
        assert kind.title[-1] not in ".:"
        assert kind.cause.endswith(".")
        assert kind.fix.endswith(".")
        assert Finding(name).kind is kind


def test_the_order_of_grades() -> None:
    assert GRADES == ("A+", "A", "A-", "B", "C", "F", "M", "T")
    assert is_worse("T", "A")
    assert not is_worse("A", "A")
    assert not is_worse("A+", "A")
