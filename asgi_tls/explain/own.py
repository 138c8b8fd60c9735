"""What asgi_tls itself refuses besides files. The codes are those of asgi_tls.errors."""

from __future__ import annotations

from typing import Final

from asgi_tls.explain import commands
from asgi_tls.explain.trouble import Trouble

_PROFILES: Final = "docs/profiles.md; RFC 9325"

OWN: Final = (
    Trouble(
        code="error",
        title="Something that asgi_tls refuses on purpose",
        meaning="The root of all its errors. Each message names what is wrong, and ends with what to do.",
        causes=("see the message",),
        fixes=("follow its last sentence", "give the whole message to `asgi-tls explain`"),
        commands=(commands.DOCTOR,),
        reference="docs/errors.md",
        general=True,
    ),
    Trouble(
        code="certificate",
        title="Key material that must not be served",
        meaning="A certificate, its chain or its key did not pass the checks. Nothing was started or replaced.",
        causes=("see the message: it names the file",),
        fixes=("follow the message's last sentence", "try again with the command below"),
        commands=(commands.LOAD,),
        reference="docs/certificates.md",
        general=True,
    ),
    Trouble(
        code="profile",
        title="A profile that contradicts itself or the standard",
        meaning="Versions, suites and groups of a profile must fit together, and be no weaker than RFC 9325 allows.",
        causes=("an empty list, a suite twice, or values that exclude each other",),
        fixes=("start from MODERN or INTERMEDIATE, and change one thing (`dataclasses.replace`)",),
        commands=(commands.DOCTOR,),
        reference=_PROFILES,
        general=True,
    ),
    Trouble(
        code="profile-unknown-name",
        title="A cipher suite or group that nobody knows",
        meaning="The name is neither OpenSSL's nor IANA's.",
        causes=("a misspelt name", "a name from another library's list"),
        fixes=("take the name that the message proposes", "see the names that this OpenSSL has"),
        commands=("openssl ciphers -v ALL", commands.DOCTOR),
        reference=_PROFILES,
    ),
    Trouble(
        code="profile-wrong-list",
        title="A TLS 1.2 suite among the TLS 1.3 ones, or the reverse",
        meaning="The two versions have separate suites: TLS_… names belong to 1.3, ECDHE-… names to 1.2.",
        causes=("`--tls-ciphers` and `--tls-ciphersuites` were exchanged",),
        fixes=("TLS 1.3 suites go into `ciphersuites`, those of TLS 1.2 into `ciphers`",),
        commands=("openssl ciphers -s -v -tls1_3", "openssl ciphers -s -v -tls1_2"),
        reference=_PROFILES,
    ),
    Trouble(
        code="profile-weak-cipher",
        title="A suite without authenticated encryption or without forward secrecy",
        meaning="CBC suites and RSA key exchange are left out of every profile.",
        causes=("a list from an old tutorial, meant for clients that are gone",),
        fixes=("leave the suite out: every client since about 2014 has an ECDHE suite with GCM or ChaCha20",),
        commands=("openssl ciphers -v ECDHE+AESGCM:ECDHE+CHACHA20",),
        reference="RFC 9325 sections 4.1 and 4.2; docs/profiles.md",
    ),
    Trouble(
        code="profile-version",
        title="A version below TLS 1.2, or a minimum above the maximum",
        meaning="TLS 1.0 and 1.1 are forbidden, so no profile opens them.",
        causes=("settings for old devices", "minimum and maximum exchanged"),
        fixes=("minimum TLSv1.2 (intermediate) or TLSv1.3 (modern)", "keep old devices behind a proxy of their own"),
        commands=(commands.DOCTOR,),
        reference="RFC 8996; docs/profiles.md",
    ),
    Trouble(
        code="configuration",
        title="Settings that do not fit together",
        meaning="Nothing was started: going on would have meant to serve something else than what was asked for.",
        causes=(
            "an option of the server's own that ours replaces, or that would have no effect",
            "a misspelt ASGI_TLS_… variable, or one with a value that is none",
            "a port that is taken, or a file that cannot be written",
        ),
        fixes=("follow the message's last sentence", "see the options and the environment as the server gets them"),
        commands=("asgi-tls uvicorn --help", "env | grep ^ASGI_TLS_ | cut -d = -f 1"),
        reference="README.md",
        says=("would have no effect",),
    ),
    Trouble(
        code="unsupported",
        title="This Python, OpenSSL or server cannot keep what the settings promise",
        meaning="For example, groups cannot be chosen where libssl is linked statically and Python is before 3.15.",
        causes=(
            "a Python with a static or old OpenSSL",
            "a server's version that lacks what is asked of it",
        ),
        fixes=(
            "another Python (python.org, Debian, Docker's images), or a newer server",
            "`--tls-allow-unsupported` goes on without, and says what is lost",
        ),
        commands=(commands.DOCTOR,),
        reference="docs/profiles.md",
    ),
    Trouble(
        code="certificate-stapling",
        title="No good OCSP response, where stapling is required",
        meaning="With `--tls-stapling required` a certificate is served with a response that says good, or not at all.",
        causes=(
            "the CA's responder cannot be reached from this machine: a firewall, a proxy, no DNS",
            "the certificate names no responder: many CAs have stopped OCSP",
            "the certificate is revoked, or the responder does not know it yet",
        ),
        fixes=(
            "see what the responder says with the command below, and open the way to it",
            "`--tls-stapling auto` serves without a response until there is one",
        ),
        commands=("asgi-tls ocsp status fullchain.pem", "openssl x509 -in fullchain.pem -noout -ocsp_uri"),
        reference="docs/stapling.md; RFC 6066 section 8",
    ),
    Trouble(
        code="trust-store",
        title="A trust store could not be read or changed",
        meaning="The program that keeps the store failed. What it said is in the message; other stores were done.",
        causes=(
            "its program is not installed: certutil is in libnss3-tools, nss-tools or nss",
            "this user may not change the system's store",
            "a database of Firefox or Chromium that is locked, damaged or has a password",
        ),
        fixes=(
            "install what the message names, and run the command again: what is done is left as it is",
            "see the commands without running them: `asgi-tls ca install --dry-run`",
        ),
        commands=("asgi-tls ca install --dry-run", "asgi-tls ca path"),
        reference="docs/development.md",
    ),
    Trouble(
        code="unreachable",
        title="The server that was to be audited does not answer, or does not speak TLS",
        meaning="No handshake came about, with any version of TLS. Nothing was graded.",
        causes=(
            "nothing listens on that port, or a firewall drops the connection",
            "the port speaks plain HTTP, or a protocol with STARTTLS",
            "the server blocks this address after many failed handshakes",
        ),
        fixes=(
            "connect with the command below; give the port as in https://HOST:8443",
            "`--connect` audits a name at another address",
        ),
        commands=("curl -v https://HOST/", "openssl s_client -connect HOST:443 -servername HOST"),
        reference="docs/check.md",
        general=True,
    ),
)
