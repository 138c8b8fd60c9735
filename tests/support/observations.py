"""What the probes of the audit observe of a server without fault, and the same with something changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from audited import HEADERS
from pki import PKI

from asgi_tls.audit.probes.groups import Groups
from asgi_tls.audit.probes.handshakes import Trust
from asgi_tls.audit.probes.http import Answer, Plain
from asgi_tls.audit.probes.observed import Hellos, Observed, ServedChain, Version
from asgi_tls.audit.probes.target import parse_target
from asgi_tls.audit.report.report import judge
from asgi_tls.handshake.hello import VERSION_NAMES

CHAIN = PKI("Judged").leaf("site.example")
TLS12 = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)
TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


def versions(**suites: tuple[str, ...]) -> dict[str, Version]:
    """The versions that are offered, such as `TLSv1_2`, with their suites."""
    named = {name.replace("_", "."): each for name, each in suites.items()}
    return {
        name: Version(offered=name in named, answer="hello" if name in named else "closed", suites=named.get(name, ()))
        for name in VERSION_NAMES.values()
    }


def seen(**changes: Any) -> Observed:
    """A server without fault, and what is changed of it."""
    served = ServedChain(
        certificates=(CHAIN.certificate, *CHAIN.issuers),
        sent=2,
        staple=None,
        staple_state="absent",
        trust=Trust(trusted=True),
    )
    good: dict[str, Any] = {
        "target": parse_target("https://site.example"),
        "address": "127.0.0.1",
        "at": datetime.now(UTC),
        "versions": versions(TLSv1_2=TLS12, TLSv1_3=TLS13),
        "groups": Groups(names=("X25519MLKEM768", "X25519", "P-256", "P-384"), preference="server"),
        "hellos": Hellos(secure_renegotiation=True, extended_master_secret=True, downgrade_marked=True),
        "chains": (served,),
        "answer": Answer(status=200, fields=tuple(HEADERS.items())),
        "plain_http": Plain(answer=Answer(status=308, fields=(("Location", "https://site.example/"),))),
    }
    return Observed(**{**good, **changes})


def found(observed: Observed, **how: Any) -> tuple[set[str], str]:
    """The findings and the grade."""
    report = judge(observed, **how)
    return {finding.id for finding in report.findings}, report.grade


def answer(**headers: str | None) -> dict[str, Any]:
    """The response of HTTPS with these headers changed, `None` for one that is left out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {name: value for name, value in {**HEADERS, **named}.items() if value is not None}
    return {"answer": Answer(status=200, fields=tuple(fields.items()))}
