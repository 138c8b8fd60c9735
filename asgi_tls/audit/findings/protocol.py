"""Findings about versions and their handshakes."""

from __future__ import annotations

from typing import Final

from asgi_tls.audit.findings.kinds import Kind, rfc

_PROFILE: Final = "Serve with `--tls-profile intermediate`"

KINDS: Final = {
    "protocol-sslv3": Kind(
        severity="critical", cap="F", reference=rfc(7568),
        title="SSL 3.0 is spoken",
        cause="SSL 3.0 is broken by design (POODLE), and its use is forbidden.",
        fix=f"Raise the minimum version to TLS 1.2. {_PROFILE}.",
    ),
    "protocol-tls10": Kind(
        severity="high", cap="B", reference=rfc(8996),
        title="TLS 1.0 is spoken",
        cause="TLS 1.0 rests on MD5, SHA-1 and CBC; RFC 8996 forbids it, and browsers dropped it in 2020.",
        fix=f"Raise the minimum version to TLS 1.2. {_PROFILE}.",
    ),
    "protocol-tls11": Kind(
        severity="high", cap="B", reference=rfc(8996),
        title="TLS 1.1 is spoken",
        cause="TLS 1.1 rests on SHA-1 and CBC; RFC 8996 forbids it, and browsers dropped it in 2020.",
        fix=f"Raise the minimum version to TLS 1.2. {_PROFILE}.",
    ),
    "protocol-outdated": Kind(
        severity="critical", cap="F", reference=rfc(9325, "3.1.1"),
        title="Neither TLS 1.2 nor TLS 1.3 is spoken",
        cause="Today's clients refuse everything below TLS 1.2.",
        fix=f"Use an OpenSSL of this decade. {_PROFILE}.",
    ),
    "protocol-no-tls13": Kind(
        severity="medium", cap="A-", reference=rfc(9325, "3.1.1"),
        title="TLS 1.3 is not spoken",
        cause="TLS 1.3 encrypts the certificate, needs one round trip less and has no weak suites.",
        fix="Raise the maximum version, or remove what lowers it.",
    ),
    "downgrade-unmarked": Kind(
        severity="medium", cap="A", reference=rfc(8446, "4.1.3"),
        title="A downgrade from TLS 1.3 would go unnoticed",
        cause="When TLS 1.2 is asked for, the server's random value lacks the mark by which clients see a downgrade.",
        fix="Update the TLS library; a middlebox that ends TLS may be the one that answers.",
    ),
    "compression": Kind(
        severity="high", cap="C", reference=rfc(9325, "3.3"),
        title="TLS compression is on",
        cause="Compressed length gives secrets away (CRIME).",
        fix="Switch compression off in the TLS library.",
    ),
    "renegotiation": Kind(
        severity="high", cap="C", reference=rfc(5746),
        title="Secure renegotiation is not supported",
        cause="Without RFC 5746 an attacker can put words before those of a client.",
        fix="Update the TLS library.",
    ),
    "extended-master-secret": Kind(
        severity="low", reference=rfc(7627),
        title="The extended master secret is not supported",
        cause="TLS 1.2 sessions are not bound to their handshake (triple handshake attack).",
        fix="Update the TLS library, or switch the extension on again.",
    ),
    "unanswered": Kind(
        severity="low", reference=rfc(8446, "6.2"),
        title="Some hellos got no answer in time",
        cause="They were taken for refusals; on a slow way or with a busy server, something may be missing here.",
        fix="Repeat the audit with a longer --timeout. A server that keeps still should refuse with an alert.",
    ),
    "alert-missing": Kind(
        severity="low", reference=rfc(8446, "6.2"),
        title="Refused clients get no alert",
        cause="The server hangs up without a word, so its clients see `unexpected eof` instead of the reason. asyncio "
        "and uvloop drop the alert that OpenSSL made.",
        fix="Serve with asgi_tls, which delivers alerts.",
    ),
}  # fmt: skip
