"""Findings about the certificate, its chain and its staple."""

from __future__ import annotations

from typing import Final

from asgi_tls.audit.findings.kinds import Kind, rfc

KINDS: Final = {
    "not-trusted": Kind(
        severity="critical", cap="T", reference=rfc(5280, "6"),
        title="The certificate is not trusted",
        cause="Its chain leads to no CA that this client knows, or lacks the certificate that would lead there.",
        fix="Serve the CA's full chain. For a CA of your own, give its certificate with --cafile.",
    ),
    "self-signed": Kind(
        severity="critical", cap="T", reference=rfc(5280, "6"),
        title="The certificate is self-signed",
        cause="It vouches for itself, so clients refuse it.",
        fix="Use certbot for a public name, `asgi-tls cert NAME` for development; or name this file with --cafile.",
    ),
    "chain-incomplete": Kind(
        severity="high", cap="B", reference=rfc(8446, "4.4.2"),
        title="The server sends its own certificate alone",
        cause="Clients that do not have the intermediate at hand refuse it: curl, Python, Java, phones. Browsers that "
        "remember it hide the mistake.",
        fix="Serve fullchain.pem, not cert.pem. For a private CA, give its certificate with --cafile.",
    ),
    "chain-order": Kind(
        severity="medium", cap="A", reference=rfc(5246, "7.4.2"),
        title="The chain is in the wrong order",
        cause="In TLS 1.2 each certificate must be followed by its issuer; some clients insist.",
        fix="Put the server's own certificate first, then each one's issuer.",
    ),
    "chain-unrelated": Kind(
        severity="low", reference=rfc(8446, "4.4.2"),
        title="The chain holds certificates that belong to no link",
        cause="They cost bytes in each handshake, and confuse some clients.",
        fix="Send the server's certificate and its issuers, nothing else, each once.",
    ),
    "chain-root": Kind(
        severity="info", reference=rfc(8446, "4.4.2"),
        title="The chain ends with the root",
        cause="Clients use their own copy of the root.",
        fix="Leave it out: it saves a kilobyte in each handshake.",
    ),
    "no-san": Kind(
        severity="critical", cap="M", reference=rfc(9525, "2"),
        title="The certificate names no host",
        cause="It has no subjectAltName, and clients have ignored the common name for years.",
        fix="Have it issued with its names in subjectAltName.",
    ),
    "name-mismatch": Kind(
        severity="critical", cap="M", reference=rfc(9525, "6"),
        title="The certificate is for other names",
        cause="Clients that asked for this name refuse it.",
        fix="Have a certificate issued that covers the name, or serve the right one for it.",
    ),
    "expired": Kind(
        severity="critical", cap="T", reference=rfc(5280, "4.1.2.5"),
        title="The certificate has expired",
        cause="Every client refuses it.", fix="Renew it, and let the renewal run by itself.",
    ),
    "not-yet-valid": Kind(
        severity="critical", cap="T", reference=rfc(5280, "4.1.2.5"),
        title="The certificate is not valid yet",
        cause="Every client refuses it until then.", fix="Check the clock of the CA and of this machine.",
    ),
    "intermediate-expired": Kind(
        severity="critical", cap="T", reference=rfc(5280, "6.1.3"),
        title="A certificate of the chain is out of date",
        cause="Clients that build their path through it refuse the server.",
        fix="Serve the current chain of the CA.",
    ),
    "expiring": Kind(
        severity="low", reference="https://letsencrypt.org/docs/integration-guide/",
        title="The certificate is due for renewal",
        cause="Less than a third of its lifetime is left, where renewal should have happened.",
        fix="Look at why the renewal does not run.",
    ),
    "expiring-soon": Kind(
        severity="high", cap="A-", reference="https://letsencrypt.org/docs/integration-guide/",
        title="The certificate is about to expire",
        cause="Less than a tenth of its lifetime is left.", fix="Renew it now.",
    ),
    "lifetime-long": Kind(
        severity="low", reference="https://support.apple.com/103769",
        title="The certificate is valid for more than 825 days",
        cause="Apple's clients refuse that, from private CAs too.",
        fix="Have it issued for less: public CAs give 200 days at most.",
    ),
    "key-weak": Kind(
        severity="critical", cap="F", reference=rfc(9325, "4.5"),
        title="The key is too weak, or of a kind that clients refuse",
        cause="RSA needs 2048 bits; of curves, TLS clients accept P-256 and P-384.",
        fix="Make a new key (ECDSA P-256) and have a certificate issued for it.",
    ),
    "key-unusual": Kind(
        severity="low", reference="https://cabforum.org/working-groups/server/baseline-requirements/",
        title="No common browser accepts this kind of key",
        cause="Ed25519, Ed448 and P-521 are in the standard, and not in browsers.", fix="Use ECDSA P-256.",
    ),
    "signature-weak": Kind(
        severity="critical", cap="F", reference=rfc(9155),
        title="A certificate is signed with a broken digest",
        cause="MD5 and SHA-1 collide, so signatures can be forged; clients refuse them.",
        fix="Have it issued anew with SHA-256.",
    ),
    "usage": Kind(
        severity="high", cap="T", reference=rfc(5280, "4.2.1.12"),
        title="The certificate is not for TLS servers",
        cause="extendedKeyUsage lacks serverAuth, so clients refuse it.",
        fix="Have it issued for servers (serverAuth).",
    ),
    "usage-signature": Kind(
        severity="medium", cap="A", reference=rfc(8446, "4.4.2.2"),
        title="The certificate may not sign handshakes",
        cause="keyUsage lacks digitalSignature, which TLS 1.3 and ECDHE need.",
        fix="Have it issued with digitalSignature.",
    ),
    "leaf-is-ca": Kind(
        severity="medium", cap="A", reference=rfc(5280, "4.2.1.9"),
        title="The server's certificate is a CA's",
        cause="Whoever trusts it trusts every certificate that its key signs.",
        fix="Issue a server certificate from it: `asgi-tls cert NAME` does.",
    ),
    "certificate-unreadable": Kind(
        severity="high", cap="F", reference=rfc(5280, "4.1"),
        title="A certificate does not parse",
        cause="What the server sent is no X.509 certificate by the letter.", fix="Have it issued anew.",
    ),
    "staple-revoked": Kind(
        severity="critical", cap="F", reference=rfc(6960, "2.2"),
        title="The certificate is revoked",
        cause="The CA's own answer, stapled by the server, says so.", fix="Replace the key and the certificate.",
    ),
    "staple-stale": Kind(
        severity="high", cap="A-", reference=rfc(6960, "3.2"),
        title="The stapled OCSP response is out of date",
        cause="Clients that look at it refuse the connection.",
        fix="Let the server fetch it again in time; check that it reaches the responder.",
    ),
    "staple-invalid": Kind(
        severity="medium", cap="A", reference=rfc(6960, "3.2"),
        title="The stapled OCSP response says nothing of this certificate",
        cause="It does not parse, is for another certificate, or the responder does not know this one.",
        fix="Fetch it again for the certificate that is served.",
    ),
    "must-staple": Kind(
        severity="high", cap="B", reference=rfc(7633),
        title="The certificate demands stapling, and nothing is stapled",
        cause="It carries the must-staple extension: clients that honour it refuse the connection.",
        fix="Switch stapling on, or have the certificate issued without must-staple.",
    ),
    "staple-absent": Kind(
        severity="info", reference=rfc(6066, "8"),
        title="No OCSP response is stapled",
        cause="The CA has a responder, and clients would have to ask it themselves.", fix="Switch stapling on.",
    ),
    "staple-unknown": Kind(
        severity="info", reference=rfc(6066, "8"),
        title="Stapling could not be looked at",
        cause="The server speaks TLS 1.3 only, and this Python does not let libssl be reached.",
        fix="Run the audit with a Python that links OpenSSL dynamically.",
    ),
}  # fmt: skip
