"""Which versions the exports are written for, and what changed when: each threshold once, with its reason and source.

A version is (major, minor, patch). A number that is not given counts as 0: a feature that came within a series is not
assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from asgi_tls.errors import ConfigurationError

Version = tuple[int, int, int]

_VERSION: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:[-+~].*|[a-z])?")


@dataclass(frozen=True, kw_only=True)
class Program:
    """What an export is written for. `newest` is a whole series; `checked` are releases that ran it."""

    name: str
    title: str
    oldest: Version
    newest: tuple[int, int]
    checked: tuple[str, ...]

    @property
    def supported(self) -> str:
        """The range in words."""
        return f"{text_of(self.oldest)} to {self.newest[0]}.{self.newest[1]}"


# The releases under `checked` are Debian 12's, then those of Debian 13 and of Debian's next release.
NGINX: Final = Program(
    name="nginx", title="nginx", oldest=(1, 18, 0), newest=(1, 30), checked=("1.22.1", "1.26.3", "1.30.6")
)
HAPROXY: Final = Program(
    name="haproxy", title="HAProxy", oldest=(2, 4, 0), newest=(3, 2), checked=("2.6.12", "3.0.11", "3.2.26")
)
CADDY: Final = Program(name="caddy", title="Caddy", oldest=(2, 6, 0), newest=(2, 11), checked=("2.6.2", "2.11.4"))
OPENSSL: Final = Program(
    name="openssl", title="OpenSSL", oldest=(1, 1, 1), newest=(4, 0), checked=("3.0.19", "3.5.9", "3.6.5", "4.0.3")
)
PROGRAMS: Final = {program.name: program for program in (NGINX, HAPROXY, CADDY, OPENSSL)}

# Assumed where the program's OpenSSL is not known: one group that it does not know would make it refuse the whole file.
ASSUMED_OPENSSL: Final[Version] = (3, 0, 0)

# OpenSSL CHANGES 3.5: the groups with ML-KEM, and tuples of groups (A/B/C), whose order a server keeps.
OPENSSL_MLKEM: Final[Version] = (3, 5, 0)
OPENSSL_TUPLES: Final = OPENSSL_MLKEM
# nginx CHANGES 1.19.4: ssl_conf_command, the only way to TLS 1.3 suites, and ssl_reject_handshake for unknown names.
NGINX_CONF_COMMAND: Final[Version] = (1, 19, 4)
# nginx CHANGES 1.25.1: `http2 on;`, and the parameter of `listen` deprecated.
NGINX_HTTP2_DIRECTIVE: Final[Version] = (1, 25, 1)
# nginx CHANGES 1.23.2: ticket keys in the shared cache rotate. CHANGES 1.30.6: until then one of them was
# left uninitialised (CVE-2026-97629). Other series have fixes of their own, whose numbers are not known here.
NGINX_ROTATING_TICKETS: Final[tuple[Version, Version]] = ((1, 30, 6), (1, 31, 0))
# HAProxy's changelog 2.8-dev1: ocsp-update, in a crt-list alone.
HAPROXY_OCSP_UPDATE: Final[Version] = (2, 8, 0)
# HAProxy's changelog 3.0-dev8 and dev12: crt-store, where a key has a path of its own, and ocsp-update in it.
HAPROXY_CRT_STORE: Final[Version] = (3, 0, 0)
# Caddy's release notes 2.8.0: trust_pool in client_auth; trusted_ca_cert_file, deprecated from then on, reads the first
# certificate of a file alone (ran with 2.6.2).
CADDY_TRUST_POOL: Final[Version] = (2, 8, 0)
# Caddy's release notes 2.10.0: x25519mlkem768 among the curves.
CADDY_MLKEM: Final[Version] = (2, 10, 0)


def parse_version(program: Program, text: str, *, option: str = "--version") -> Version:
    """Read a version such as 1.22, 1.22.1 or v2.11.4, one that the exports are written for, given by `option`.

    Raises ConfigurationError.
    """
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(
            f"{option} {text!r} is not a version of {program.title}",
            fix=f"Give one from {program.supported}, as in 1.22 or 1.22.1.",
        )
    version = (int(match[1]), int(match[2]), int(match[3] or 0))
    if version[:2] < program.oldest[:2] or (match[3] is not None and version < program.oldest):
        raise ConfigurationError(
            f"{program.title} {text} is too old", fix=f"Update it: exports are written for {program.supported}."
        )
    if version[:2] > program.newest:
        raise ConfigurationError(
            f"{program.title} {text} is newer than this asgi-tls knows",
            fix=f"Exports are written for {program.supported}: give the newest of these, and let the program check it.",
        )
    return max(version, program.oldest)


def nearest(program: Program, text: str) -> Version:
    """The version of an installed program; of one newer than is known here, the newest series that is.

    Raises ConfigurationError for one that is too old.
    """
    match = _VERSION.fullmatch(text.strip())
    if match is not None and (int(match[1]), int(match[2])) > program.newest:
        return (*program.newest, 0)
    return parse_version(program, text)


def newest(program: Program) -> Version:
    """The newest release that was checked."""
    return parse_version(program, program.checked[-1])


def text_of(version: Version) -> str:
    """1.22.1, and 1.22 for a whole series."""
    return ".".join(str(part) for part in (version if version[2] else version[:2]))
