"""Every setting, in one table: the option, the variable and the key that set it, what it may be, and its default."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from asgi_tls.certificate import LetsEncrypt
from asgi_tls.certificate.by_name import DEFAULT
from asgi_tls.certificate.sources import OneOfSeveral
from asgi_tls.errors import ConfigurationError
from asgi_tls.events import NOTICES
from asgi_tls.files import expanded
from asgi_tls.hostnames import checked_name, checked_port
from asgi_tls.profile import INTERMEDIATE, PROFILES
from asgi_tls.renewal.acme.ca import ChallengeType, KeyType
from asgi_tls.server import CHOICES, ServerTLS

PREFIX: Final = "ASGI_TLS_"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a setting may be. `parse` makes its value of a text and of the directory that relative paths begin in; it
    raises ValueError, LookupError or ConfigurationError. `fix` is what to write instead.
    """

    parse: Callable[[str, Path], Any]
    fix: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()


def _choice(choices: Sequence[str], value: Callable[[str], Any] = str, metavar: str = "") -> Kind:
    listed = " or ".join(f'"{choice}"' for choice in choices)
    return Kind(
        parse=lambda text, _: value(text),
        fix=f"Choose {listed}.",
        metavar=metavar or "|".join(choices),
        choices=tuple(choices),
    )


def _flag(text: str, _: Path) -> bool:
    return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}[
        text.lower()
    ]


def _path(text: str, base: Path) -> str:
    return str(base / expanded(text))


def _named_pair(text: str, base: Path) -> tuple[str, OneOfSeveral]:
    name, _, files = text.partition("=")
    parts = [part.strip() for part in files.split(",")]
    if not name or len(parts) > 2 or not all(parts):
        raise ConfigurationError(f"{text!r} is not a pair", fix="Write NAME=fullchain.pem,privkey.pem.")
    name = name.strip()
    add_key = f"Write {text.strip()},KEY in {{certificate}}; KEY is the file with the key."
    pair = OneOfSeveral(*(_path(part, base) for part in parts), add_key=add_key, add_file="Check the path.")
    return name if name == DEFAULT else checked_name(name), pair


def _listed(text: str, _: Path) -> list[str]:
    parts = [part.strip() for part in text.replace(",", ":").split(":") if part.strip()]
    if not parts:
        raise ValueError(text)
    return parts


def _network(text: str, _: Path) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


def _metrics_address(text: str, _: Path) -> str:
    from asgi_tls.listeners.prometheus import parse_address

    parse_address(text)
    return text


FLAG: Final = Kind(parse=_flag, fix="Set it to 1 or 0.")
TEXT: Final = Kind(parse=lambda text, _: text, metavar="TEXT")
TEXT_NAME: Final = Kind(parse=lambda text, _: checked_name(text), metavar="NAME")
LIST: Final = Kind(parse=_listed, fix="Name one at least, with colons between several.", metavar="LIST")
FILE: Final = Kind(parse=_path, metavar="FILE")
DIRECTORY: Final = Kind(parse=_path, metavar="DIR")
STORAGE: Final = Kind(parse=lambda text, base: text if "://" in text else _path(text, base), metavar="DIR|URL")
SECONDS: Final = Kind(
    parse=lambda text, _: float(text), fix="Set it to a number of seconds, for example 10.", metavar="SECONDS"
)
PORT: Final = Kind(
    parse=lambda text, _: checked_port("the port", text), fix="Set it to a port from 1 to 65535.", metavar="PORT"
)
NAMED_PAIR: Final = Kind(parse=_named_pair, metavar="NAME=CERT,KEY")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting. `name` is that of `--tls-name`, ASGI_TLS_NAME and the key `name` in a file.

    `multiple` may be given more than once. Without `on_command_line` it has no option of ours, without `in_file` no
    key. `default` is its value where it is not set, as text.
    """

    name: str
    kind: Kind
    help: str
    default: str | None = None
    multiple: bool = False
    on_command_line: bool = True
    in_file: bool = True

    @property
    def option(self) -> str:
        return "--tls-" + self.key

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def key(self) -> str:
        return self.name.replace("_", "-")


def _of(name: str, kind: Kind, text: str, **more: Any) -> Setting:
    """A setting whose default is that of ServerTLS, where it has one of that name."""
    field = ServerTLS.__dataclass_fields__.get(name)
    if field is not None and isinstance(field.default, str | float) and not isinstance(field.default, bool):
        more.setdefault("default", f"{field.default:g}" if isinstance(field.default, float) else field.default)
    return Setting(name=name, kind=kind, help=text, **more)


GROUPS: Final[dict[str, tuple[Setting, ...]]] = {
    "Policy": (
        _of(
            "profile",
            _choice(tuple(PROFILES), PROFILES.__getitem__),
            "TLS versions, cipher suites and groups to offer.",
            default=INTERMEDIATE.name,
        ),
        _of("groups", LIST, "Key exchange groups in order of preference, as in X25519:P-256."),
        _of("ciphersuites", LIST, "TLS 1.3 cipher suites, with colons between them."),
        _of("ciphers", LIST, "TLS 1.2 cipher suites, with colons between them."),
        _of("allow_unsupported", FLAG, "Start where this platform cannot enforce the policy, and log what is missing."),
    ),
    "Certificates": (
        _of("certfile", FILE, "The certificate with its chain, PEM.", on_command_line=False),
        _of("keyfile", FILE, "Its private key, PEM; without it, the key is read from CERTFILE.", on_command_line=False),
        _of("keyfile_password_file", FILE, "A file whose first line is the password of the private key."),
        _of(
            "letsencrypt",
            Kind(parse=lambda text, _: LetsEncrypt(text), metavar="NAME"),
            "Serve the certificate that certbot keeps under this name in /etc/letsencrypt/live.",
        ),
        _of(
            "certificate",
            NAMED_PAIR,
            "A certificate for one more host name, for *.example.org or for default; the same name again adds another "
            "key type. Repeatable.",
            multiple=True,
        ),
        _of(
            "directory",
            DIRECTORY,
            "A directory of key pairs, each served for its names. Pairs may come and go while the server runs.",
        ),
        _of("reload_interval", SECONDS, "How often the certificate files are checked for changes."),
        _of(
            "stapling",
            _choice(CHOICES["stapling"]),
            "OCSP stapling: auto staples where the certificate names a responder, required refuses to serve without a "
            "good response.",
        ),
    ),
    "Automatic HTTPS": (
        _of(
            "acme",
            TEXT_NAME,
            "Order a certificate for this host name by ACME, and renew it for as long as the server runs. Repeatable: "
            "all names are in one certificate.",
            multiple=True,
        ),
        _of(
            "acme_directory",
            Kind(parse=TEXT.parse, metavar="NAME|URL"),
            "The CA: letsencrypt, letsencrypt-staging, zerossl, google, or the URL of an ACME directory.",
            default="letsencrypt",
        ),
        _of("acme_ca_file", FILE, "The CA, PEM, that the URL of an internal ACME directory is trusted by."),
        _of(
            "acme_fallback",
            Kind(parse=TEXT.parse, metavar="NAME|URL"),
            "Another CA, tried after three failures in a row. Repeatable.",
            multiple=True,
        ),
        _of(
            "acme_challenge",
            _choice(get_args(ChallengeType), metavar="TYPE"),
            "How the CA validates the names: http-01 on port 80 (see --tls-redirect-port), tls-alpn-01 on port 443, "
            "dns-01 by DNS records. Repeatable; they are tried in turn.",
            default="those that the ports allow",
            multiple=True,
        ),
        _of(
            "acme_dns",
            Kind(parse=TEXT.parse, metavar="COMMAND"),
            "What sets TXT records for dns-01: COMMAND present|clean NAME VALUE, or lexicon:PROVIDER.",
        ),
        _of(
            "acme_storage",
            STORAGE,
            "Keep the account and the certificates in this directory, or in the Redis at this URL; it must outlive the "
            "server.",
            default="acme in $STATE_DIRECTORY, or in the user's directory for data",
        ),
        _of("acme_profile", Kind(parse=TEXT.parse, metavar="NAME"), "One of the CA's profiles of certificates."),
        _of("acme_key", _choice(get_args(KeyType)), "The type of the certificate's key.", default="ecdsa"),
        _of(
            "acme_contact",
            Kind(parse=TEXT.parse, metavar="EMAIL"),
            "An e-mail address for the CA. Repeatable.",
            multiple=True,
        ),
        _of("acme_eab_kid", Kind(parse=TEXT.parse, metavar="ID"), "The key ID of an external account with the CA."),
        _of("acme_eab_key_file", FILE, "A file with the HMAC key of that account, in base64url."),
    ),
    "Client certificates": (
        _of("client_ca", FILE, "Ask clients for a certificate of a CA in this PEM file."),
        _of(
            "client_auth",
            _choice(CHOICES["client_auth"]),
            "Whether clients must have a certificate; required where --tls-client-ca is set.",
        ),
        _of("client_crl", FILE, "Refuse clients that the CRLs in this PEM file revoke; each client CA needs one."),
    ),
    "Connections": (
        _of("handshake_timeout", SECONDS, "How long a client may take for the TLS handshake."),
        _of(
            "plain_http",
            _choice(CHOICES["plain_http"]),
            "The answer to plain HTTP on the TLS port: 308 to https where a certificate covers the host, or 400.",
        ),
        _of("ticket_secret_file", FILE, "32 random bytes or more. Hosts that share them resume each other's sessions."),
        _of(
            "ticket_secret",
            TEXT,
            "The ticket secret itself. Only as a variable: other users of the machine can read a command line.",
            on_command_line=False,
            in_file=False,
        ),
        _of("ticket_rotation", SECONDS, "How often the keys of session tickets change."),
    ),
    "Redirect from plain HTTP": (
        _of("redirect_port", PORT, "Listen on this port in plain HTTP as well, and redirect to https."),
        _of("redirect_webroot", DIRECTORY, "Serve ACME challenges (HTTP-01) from this directory on that port."),
        _of("public_port", PORT, "The HTTPS port that clients connect to, where it is not the one of this server."),
    ),
    "Monitoring": (
        _of("log_json", FLAG, "Log every handshake and event as one JSON object per line, on stderr."),
        _of(
            "metrics",
            Kind(parse=_metrics_address, metavar="HOST:PORT"),
            "Serve Prometheus metrics there, in plain HTTP.",
        ),
        _of("guard", FLAG, "Block addresses whose handshakes keep failing for five minutes."),
        _of(
            "guard_redis",
            Kind(parse=TEXT.parse, metavar="URL"),
            "Share the blocks of a fleet in this Redis. Turns the guard on.",
        ),
        _of(
            "guard_allow",
            Kind(parse=_network, fix="Write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32.", metavar="NETWORK"),
            "Never block this address or network. Repeatable.",
            multiple=True,
        ),
        _of(
            "quiet",
            _choice(tuple(NOTICES), {code: code for code in NOTICES}.__getitem__, "CODE"),
            "Do not log the start-up warning with this code, which is in parentheses at its end. Repeatable.",
            multiple=True,
        ),
    ),
    "Where settings come from": (
        _of(
            "config",
            FILE,
            "Read settings from this TOML file, and from no other.",
            default="asgi-tls.toml, or [tool.asgi-tls] in pyproject.toml",
            in_file=False,
        ),
    ),
}  # fmt: skip

SETTINGS: Final = tuple(setting for group in GROUPS.values() for setting in group)
BY_NAME: Final = {setting.name: setting for setting in SETTINGS}

OTHERS: Final = frozenset({"ASGI_TLS_HOME", "ASGI_TLS_OPENSSL_CONF", "ASGI_TLS_PKCS12_PASSWORD"})
"""Variables that are read elsewhere: where the local CA is kept, what a command passes to itself when it restarts
(`cli/start_again.py`), and the password for `asgi-tls cert --pkcs12`."""
