"""Findings about suites, groups, resumption and application protocols."""

from __future__ import annotations

from typing import Final

from asgi_tls.audit.findings.kinds import MOZILLA, Kind, rfc

_SUITES: Final = "Serve with `--tls-profile intermediate`, or take these suites out of the cipher list."

KINDS: Final = {
    "suite-null": Kind(
        severity="critical", cap="F", reference=rfc(9325, "4.1"),
        title="Suites without encryption are accepted",
        cause="With a NULL suite, everything is sent in the clear.", fix=_SUITES,
    ),
    "suite-anonymous": Kind(
        severity="critical", cap="F", reference=rfc(9325, "4.1"),
        title="Suites without a certificate are accepted",
        cause="With an anonymous suite, nobody knows whom they talk to.", fix=_SUITES,
    ),
    "suite-export": Kind(
        severity="critical", cap="F", reference=rfc(9325, "4.1"),
        title="Export suites are accepted",
        cause="Their 40 or 56 bits were weak on purpose (FREAK, Logjam).", fix=_SUITES,
    ),
    "suite-des": Kind(
        severity="critical", cap="F", reference=rfc(9325, "4.1"),
        title="DES or RC2 is accepted",
        cause="56 bits are searched in a day.", fix=_SUITES,
    ),
    "suite-rc4": Kind(
        severity="high", cap="C", reference=rfc(7465),
        title="RC4 is accepted",
        cause="Its biases give away what is sent often; RFC 7465 forbids it.", fix=_SUITES,
    ),
    "suite-64-bit-block": Kind(
        severity="medium", cap="B", reference=rfc(9325, "4.1"),
        title="A cipher with 64-bit blocks is accepted",
        cause="3DES and IDEA give away plaintext after some gigabytes (Sweet32).", fix=_SUITES,
    ),
    "suite-static": Kind(
        severity="medium", cap="B", reference=rfc(9325, "4.1"),
        title="Suites without forward secrecy are accepted",
        cause="Whoever gets the server's key one day can read what was recorded before.", fix=_SUITES,
    ),
    "suite-cbc": Kind(
        severity="low", cap="A", reference=rfc(9325, "4.2"),
        title="CBC suites are accepted",
        cause="Encryption in CBC mode has led from one padding oracle to the next (Lucky 13).", fix=_SUITES,
    ),
    "suite-short-tag": Kind(
        severity="low", cap="A", reference=rfc(9325, "4.2"),
        title="Suites with a shortened tag are accepted",
        cause="CCM_8 checks 64 bits where 128 are usual.", fix=_SUITES,
    ),
    "dh-broken": Kind(
        severity="critical", cap="F", reference=rfc(9325, "4.1"),
        title="Diffie-Hellman with less than 1024 bits",
        cause="512 and 768 bits are broken in practice (Logjam).",
        fix="Take the DHE suites out; ECDHE does better. Or make parameters of 2048 bits or more.",
    ),
    "dh-weak": Kind(
        severity="high", cap="B", reference=rfc(9325, "4.1"),
        title="Diffie-Hellman with less than 2048 bits",
        cause="1024 bits are within reach of states.",
        fix="Take the DHE suites out; ECDHE does better. Or make parameters of 2048 bits or more.",
    ),
    "group-weak": Kind(
        severity="high", cap="B", reference=rfc(8422, "5.1.1"),
        title="Elliptic curves with less than 112 bits of security are accepted",
        cause="Curves under 224 bits were given up by RFC 8422.",
        fix="Set the groups: `--tls-groups X25519:P-256:P-384`.",
    ),
    "group-no-pq": Kind(
        severity="info", reference=MOZILLA,
        title="No post-quantum group",
        cause="What is recorded today may be read by a quantum computer one day. X25519MLKEM768 prevents that.",
        fix="Use OpenSSL 3.5 or later with Mozilla's groups.",
    ),
    "resumption-none": Kind(
        severity="low", reference=rfc(8446, "2.2"),
        title="Sessions are not resumed",
        cause="Each connection costs a full handshake.",
        fix="Switch tickets on; where several workers or hosts answer, give them ticket keys in common.",
    ),
    "resumption-partial": Kind(
        severity="low", reference=rfc(8446, "2.2"),
        title="Sessions are resumed only now and then",
        cause="Workers or hosts that answer for one name have ticket keys of their own.",
        fix="Give them ticket keys in common.",
    ),
    "alpn-none": Kind(
        severity="info", reference=rfc(7301),
        title="No application protocol is negotiated",
        cause="The server ignores ALPN, so HTTP/2 is out of reach, and cross-protocol attacks (ALPACA) are easier.",
        fix="Let the server announce http/1.1, and h2 where it speaks it.",
    ),
    "client-certificate": Kind(
        severity="info", reference=rfc(8446, "4.3.2"),
        title="A client certificate is asked for",
        cause="What lies behind it was not seen, where the server insists on one.",
        fix="Nothing, if that is meant.",
    ),
}  # fmt: skip
