"""Every setting, in one table: what `--tls-…` options and `ASGI_TLS_…` variables there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asgi_tls.profile import PROFILES
from asgi_tls.server import CHOICES

PREFIX: Final = "ASGI_TLS_"


@dataclass(frozen=True)
class Setting:
    """One setting: `name` as in ASGI_TLS_NAME and --tls-name; `multiple` may be given more than once."""

    name: str
    metavar: str
    help: str
    choices: tuple[str, ...] = ()
    is_flag: bool = False
    multiple: bool = False

    @property
    def option(self) -> str:
        return "--tls-" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


SETTINGS: Final = (
    Setting("profile", "NAME", "Versions, suites and groups to offer.", choices=tuple(PROFILES)),
    Setting("groups", "LIST", "Key exchange groups, the most wanted first: X25519:P-256:P-384."),
    Setting("ciphersuites", "LIST", "TLS 1.3 suites: TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256."),
    Setting("ciphers", "LIST", "TLS 1.2 suites: ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384."),
    Setting(
        "certificate",
        "NAME=CERT,KEY",
        "A certificate for one more host name, for *.example.org or for default; for the same name again, "
        "with another kind of key. Repeatable.",
        multiple=True,
    ),
    Setting("client_ca", "FILE", "Ask clients for a certificate of a CA in this PEM file."),
    Setting("client_auth", "HOW", "Whether clients must have a certificate.", choices=CHOICES["client_auth"]),
    Setting("client_crl", "FILE", "Refuse clients that the CRLs in this PEM file revoke; each client CA needs one."),
    Setting("directory", "DIR", "More key pairs, each served for its names; taken up and dropped while serving."),
    Setting("reload_interval", "SECONDS", "How often the files of certificates are looked at; 5 by default."),
    Setting("ticket_secret_file", "FILE", "32 random bytes or more; hosts with the same share session tickets."),
    Setting("ticket_rotation", "SECONDS", "How often the keys of session tickets change; 43200 (12 h) by default."),
    Setting("handshake_timeout", "SECONDS", "How long a client may take for its handshake; 10 by default."),
    Setting(
        "plain_http",
        "HOW",
        "What plain HTTP on the TLS port gets: 308 to https where a certificate covers the host, or always 400.",
        choices=CHOICES["plain_http"],
    ),
    Setting(
        "stapling",
        "HOW",
        "OCSP responses: where the certificate names a responder (auto), not at all, or never without a good one.",
        choices=CHOICES["stapling"],
    ),
    Setting("log_json", "", "Log every handshake and event as one JSON object a line, on stderr.", is_flag=True),
    Setting("metrics", "HOST:PORT", "Serve metrics for Prometheus there, in plain HTTP."),
    Setting("guard", "", "Block addresses whose handshakes keep failing for five minutes.", is_flag=True),
    Setting("guard_redis", "URL", "Count them for a whole fleet in this Redis as well. Turns the guard on."),
    Setting("guard_allow", "NETWORK", "Never block this address or network. Repeatable.", multiple=True),
    Setting("redirect_port", "PORT", "Listen in plain HTTP as well, and redirect to https."),
    Setting("redirect_webroot", "DIR", "Serve ACME challenges (HTTP-01) from this directory on that port."),
    Setting("allow_unsupported", "", "Log what this platform cannot enforce, and serve without it.", is_flag=True),
)

# Of the environment alone: the servers' own options name the certificate where there is a command line.
FILES: Final = (
    Setting("certfile", "FILE", "The certificate with its chain, PEM."),
    Setting("keyfile", "FILE", "Its key, PEM; without it, the key is in the certificate's file."),
    Setting("keyfile_password_file", "FILE", "A file with the password of the key."),
    Setting("ticket_secret", "TEXT", "The ticket secret itself: every user of the machine sees a command line."),
)

# Read elsewhere: where the local CA lives, and what `asgi-tls cert --pkcs12` encrypts with.
OTHERS: Final = frozenset({"ASGI_TLS_HOME", "ASGI_TLS_PKCS12_PASSWORD"})
