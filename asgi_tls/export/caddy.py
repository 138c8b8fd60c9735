"""A profile as a whole Caddyfile. Caddy staples and rotates ticket keys by itself, and has no early data over TCP."""

from __future__ import annotations

from typing import Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.export.document import (
    QUOTING,
    Export,
    Target,
    block,
    check_paths,
    client_certificates_end,
    unknown_groups,
)
from asgi_tls.export.site import CHALLENGES_COMMENT, REMOVED, Site
from asgi_tls.export.versions import CADDY, CADDY_MLKEM, CADDY_TRUST_POOL, Version, text_of
from asgi_tls.middleware.acme import CHALLENGE_PATH
from asgi_tls.profile import TLS12_CIPHERS, TLS13_CIPHERSUITES, TLSProfile

# Go's names of the groups that Caddy lets one choose.
_CURVES: Final = {"X25519": "x25519", "P-256": "secp256r1", "P-384": "secp384r1", "P-521": "secp521r1"}
_MLKEM: Final = {"X25519MLKEM768": "x25519mlkem768"}
# Go has no CCM (crypto/tls, CipherSuites), and always offers these three in TLS 1.3.
_CCM: Final = "CCM"
_GO_CIPHERSUITES: Final = frozenset(name for name in TLS13_CIPHERSUITES if _CCM not in name)
_VERSIONS: Final = {"TLSv1.2": "tls1.2", "TLSv1.3": "tls1.3"}

_quoted: Final = QUOTING[CADDY.name]


def caddyfile(profile: TLSProfile, site: Site, version: Version) -> Export:
    """The configuration for a version of Caddy. Without a certificate, Caddy obtains its own by ACME.

    Raises ConfigurationError for a profile that Caddy cannot serve at all, and for a path that it cannot quote.
    """
    check_paths(CADDY, site)
    if site.certificate is None and any(host.startswith("*") for host in site.hosts):
        raise ConfigurationError(
            "Caddy obtains a certificate for a wildcard only by a DNS challenge", fix="Give --certificate and --key."
        )
    known = {**_CURVES, **_MLKEM} if version >= CADDY_MLKEM else _CURVES
    curves = [known[name] for name in profile.groups if name in known]
    ciphers = [TLS12_CIPHERS[name][0] for name in profile.ciphers if _CCM not in name]
    if not curves or (profile.maximum_version == "TLSv1.2" and not ciphers):
        raise ConfigurationError(
            f"Caddy {text_of(version)} knows none of the profile's {'suites' if curves else 'groups'}",
            fix="Choose suites without CCM by --tls-ciphers."
            if curves
            else f"Choose from {', '.join(known)} by --tls-groups.",
        )
    lost = unknown_groups(f"Caddy {text_of(version)}", profile, known, CADDY_MLKEM)
    lost += [*_lost(profile, version), *client_certificates_end(site)]
    if site.client_ca is not None and version < CADDY_TRUST_POOL:
        lost.append(
            f"All CAs in {site.client_ca} but the first: Caddy reads the others from {text_of(CADDY_TRUST_POOL)} on."
        )
    lines = [
        *block("", _options(site)),
        "",
        *block("(policy)", _policy(profile, site, version, curves, ciphers)),
        "",
        *block("(application)", _to_application(site)),
        "",
        *block(_addresses("https", site), _secure(site)),
        "",
        *block(_addresses("http", site), _plain(site)),
        "",
        "# For other names. Without a certificate for the name there is no handshake; a client that sends no name may",
        "# get one, by the same policy, where the certificate is for the address.",
        *block("http://", [*_bind(site), "respond 400"]),
        *block("https://", [*_bind(site), *block("tls", ["import policy"]), "respond 421"]),
    ]
    return Target(CADDY, version, profile, site).export(
        lines, lost,
        check="caddy validate --adapter caddyfile --config THIS_FILE",
        reload="nothing to do" if site.certificate is None
        else "caddy reload --force --adapter caddyfile --config THIS_FILE",
    )  # fmt: skip


def _lost(profile: TLSProfile, version: Version) -> list[str]:
    lost = []
    if any(name in _MLKEM for name in profile.groups) and version >= CADDY_MLKEM:
        lost.append(
            "X25519MLKEM768 if Caddy was built with tlsmlkem=0, as Debian's is (see `caddy build-info`): start it with "
            "GODEBUG=tlsmlkem=1 in its environment."
        )
    if ccm := [name for name in profile.ciphers if _CCM in name]:
        lost.append(f"The suites {', '.join(ccm)}: Go has no CCM.")
    if profile.speaks("TLSv1.3") and frozenset(profile.ciphersuites) != _GO_CIPHERSUITES:
        lost.append(f"The choice of TLS 1.3 suites: Go always offers {', '.join(sorted(_GO_CIPHERSUITES))}.")
    lost.append("The order of groups and of suites: Go has its own.")
    lost.append("The single HSTS field: if the application sends two, Caddy passes on both.")
    return lost


def _options(site: Site) -> list[str]:
    return [
        f"http_port {site.http_port}",
        f"https_port {site.https_port}",
        "# The redirects stand below." if site.certificate is None else "# Certificates and redirects stand below.",
        f"auto_https {'disable_redirects' if site.certificate is None else 'off'}",
        *block("servers", ["protocols h1 h2"]),
    ]


def _policy(
    profile: TLSProfile, site: Site, version: Version, curves: list[str], ciphers: list[str]
) -> list[str]:  # fmt: skip
    tls = [f"protocols {_VERSIONS[profile.minimum_version]} {_VERSIONS[profile.maximum_version]}"]
    if profile.speaks("TLSv1.2") and ciphers:
        tls.append(f"ciphers {' '.join(ciphers)}")
    tls.append(f"curves {' '.join(curves)}")
    if site.client_ca is not None:
        mode = "require_and_verify" if site.client_auth == "required" else "verify_if_given"
        pool = "trust_pool file" if version >= CADDY_TRUST_POOL else "trusted_ca_cert_file"
        tls += block("client_auth", [f"mode {mode}", f"{pool} {_quoted(site.client_ca)}"])
    return tls


def _secure(site: Site) -> list[str]:
    files = "" if site.certificate is None else "".join(f" {_quoted(path)}" for path in site.files("Caddy"))
    # One directive each: Caddy adds the fields of one directive only if none of them is there.
    headers = [f"header ?{name.title()} {_quoted(value)}" for name, value in site.headers.items()]
    lines = [*_bind(site), *block(f"tls{files}", ["import policy"])]
    if headers:
        lines += ["# Where the application sends none of its own, and on Caddy's error pages.", *headers]
        status = 'respond "{err.status_code} {err.status_text}" {err.status_code}'
        lines += block("handle_errors", [*headers, status])
    return [*lines, "import application"]


def _plain(site: Site) -> list[str]:
    return [
        *_bind(site),
        CHALLENGES_COMMENT,
        *block(f"handle {CHALLENGE_PATH}*", ["header -Strict-Transport-Security", "import application"]),
        *block("handle", [f"redir https://{{host}}{site.port_suffix}{{uri}} 308"]),
    ]


def _to_application(site: Site) -> list[str]:
    upstream = _quoted(f"unix/{site.upstream.path}") if site.upstream.path else site.upstream.authority
    return block(
        f"reverse_proxy {upstream}",
        [
            "# Caddy sets X-Forwarded-For, -Proto and -Host itself: what the client sent there is not passed on.",
            *(f"header_up -{name}" for name in REMOVED),
            "# Python's servers close idle connections after some seconds, and a request may arrive just then.",
            *block("transport http", ["keepalive off"]),
        ],
    )


def _addresses(scheme: str, site: Site) -> str:
    return ", ".join(f"{scheme}://{host}" for host in site.hosts)


def _bind(site: Site) -> list[str]:
    return [f"bind {site.address}"] if site.address else []
