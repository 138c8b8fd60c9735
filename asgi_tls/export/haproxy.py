"""A profile as a whole haproxy.cfg."""

from __future__ import annotations

from typing import Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.export.document import (
    QUOTING,
    Export,
    Target,
    check_paths,
    client_certificates_end,
    groups_for,
    indented,
)
from asgi_tls.export.site import CHALLENGES_COMMENT, FORWARDED_COMMENT, REMOVED, SESSION_SECONDS, Site
from asgi_tls.export.versions import (
    ASSUMED_OPENSSL,
    HAPROXY,
    HAPROXY_CRT_STORE,
    HAPROXY_OCSP_UPDATE,
    Version,
    text_of,
)
from asgi_tls.middleware.acme import CHALLENGE_PATH
from asgi_tls.middleware.fields import HSTS_NAME
from asgi_tls.profile import TLSProfile, cipher_string

# HAProxy takes at most 64 words on a line.
_NAMES_PER_LINE: Final = 40
# HAProxy keeps ten bytes of a Unix socket's address for itself ("too long (max 97)").
_LONGEST_SOCKET_PATH: Final = 97
# The host that was asked for, without its port, in lower case.
_HOST: Final = "req.hdr(host),field(1,:),lower"

_quoted: Final = QUOTING[HAPROXY.name]


def haproxy_cfg(profile: TLSProfile, site: Site, version: Version, *, openssl: Version = ASSUMED_OPENSSL) -> Export:
    """The configuration for a version of HAProxy that is linked with this OpenSSL.

    Raises ConfigurationError for a profile that this OpenSSL knows no group of, and for a site without a certificate.
    """
    if len(site.upstream.path.encode()) > _LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            f"--upstream: HAProxy takes at most {_LONGEST_SOCKET_PATH} bytes for {site.upstream.path}",
            fix="Choose a shorter path.",
        )
    check_paths(HAPROXY, site)
    groups, lost = groups_for(profile, openssl)
    lost += [*_lost(site, version), *client_certificates_end(site)]
    lines = [
        "global",
        *indented(_policy(profile)),
        "",
        "defaults",
        *indented(_DEFAULTS),
        "",
        *_store(site, version),
        "frontend https",
        *indented(_secure(site, version, groups)),
        "",
        "frontend http",
        *indented(_plain(site)),
        "",
        "backend application",
        f"    server application {_upstream(site)}",
    ]
    return Target(HAPROXY, version, profile, site).export(
        lines, lost, check="haproxy -c -f THIS_FILE", reload="systemctl reload haproxy"
    )


_DEFAULTS: Final = [
    "mode http",
    "timeout http-request 10s",
    "timeout connect 5s",
    "timeout client 60s",
    "timeout server 60s",
    "timeout tunnel 1h  # WebSockets",
]


def _lost(site: Site, version: Version) -> list[str]:
    lost = []
    certificate, key = site.files("HAProxy")
    if version < HAPROXY_CRT_STORE:
        if key not in (certificate, f"{certificate}.key"):
            lost.append(
                f"The path of the key: before {text_of(HAPROXY_CRT_STORE)}, HAProxy reads it from {certificate}.key "
                f"(or from the certificate's file). Make {certificate}.key a link to {key}."
            )
        if site.stapling is not False:
            lost.append(
                f"Stapling: HAProxy {text_of(version)} needs a crt-list with the line {certificate} [ocsp-update on]."
                if version >= HAPROXY_OCSP_UPDATE
                else f"Stapling: HAProxy {text_of(version)} staples {certificate}.ocsp, and does not update it."
            )
    return lost


def _policy(profile: TLSProfile) -> list[str]:
    lines = [
        f"ssl-default-bind-options ssl-min-ver {profile.minimum_version} ssl-max-ver {profile.maximum_version} "
        "no-tls-tickets prefer-client-ciphers",
    ]
    if profile.speaks("TLSv1.3"):
        lines.append(f"ssl-default-bind-ciphersuites {':'.join(profile.ciphersuites)}")
    lines += [
        f"ssl-default-bind-ciphers {cipher_string(profile)}",
        "# HAProxy never rotates ticket keys: sessions resume from the cache, for twelve hours.",
        f"tune.ssl.lifetime {SESSION_SECONDS}",
    ]
    return lines


def _store(site: Site, version: Version) -> list[str]:
    if version < HAPROXY_CRT_STORE:
        return []
    certificate, key = site.files("HAProxy")
    update = "" if site.stapling is False else " ocsp-update on"
    return [
        "crt-store asgi_tls",
        f'    load crt {_quoted(certificate)} key {_quoted(key)} alias "site"{update}',
        "",
    ]


def _secure(site: Site, version: Version, groups: str) -> list[str]:
    certificate = '"@asgi_tls/site"' if version >= HAPROXY_CRT_STORE else _quoted(site.files("HAProxy")[0])
    options = f"ssl crt {certificate} strict-sni alpn h2,http/1.1 curves {groups}"
    if site.client_ca is not None:
        options += f" ca-file {_quoted(site.client_ca)} verify {site.client_auth}"
    lines = [
        *_bind(site, site.https_port, f" {options}"),
        *_known_hosts(site),
        "# A request for another site on a connection for this one (RFC 9110 section 15.5.20).",
        'http-request return status 421 content-type text/plain string "Misdirected Request" unless known_host',
        *_forwarded("https"),
    ]
    if site.hsts is not None:
        lines += [
            "# Exactly one field (RFC 6797 section 7.1): the application's first one, or this.",
            f"http-after-response set-header Strict-Transport-Security %[res.fhdr({HSTS_NAME},1)] "
            f"if {{ res.fhdr_cnt({HSTS_NAME}) gt 1 }}",
            f"http-after-response set-header Strict-Transport-Security {_format(site.hsts)} "
            f"unless {{ res.fhdr({HSTS_NAME}) -m found }}",
        ]
    for name, value in site.other_headers:
        lines.append(
            f"http-after-response set-header {name} {_format(value)} unless {{ res.fhdr({name.lower()}) -m found }}"
        )
    return [*lines, "default_backend application"]


def _plain(site: Site) -> list[str]:
    return [
        *_bind(site, site.http_port, ""),
        *_known_hosts(site),
        CHALLENGES_COMMENT,
        f"acl challenge path_beg {CHALLENGE_PATH}",
        'http-request return status 400 content-type text/plain string "Bad Request" unless known_host',
        f"http-request redirect code 308 location https://%[{_HOST}]{site.port_suffix}%[pathq] unless challenge",
        *_forwarded("http"),
        "http-after-response del-header Strict-Transport-Security",
        "default_backend application",
    ]


def _known_hosts(site: Site) -> list[str]:
    exact = [host for host in site.hosts if not host.startswith("*")]
    below = [host[1:] for host in site.hosts if host.startswith("*")]
    return [
        f"acl known_host {_HOST} -m {match} {' '.join(names[start : start + _NAMES_PER_LINE])}"
        for match, names in (("str", exact), ("end", below))
        for start in range(0, len(names), _NAMES_PER_LINE)
    ]


def _forwarded(scheme: str) -> list[str]:
    return [
        FORWARDED_COMMENT,
        "http-request set-header X-Forwarded-For %[src]",
        f"http-request set-header X-Forwarded-Proto {scheme}",
        "http-request set-header X-Forwarded-Host %[req.hdr(host)]",
        *(f"http-request del-header {name}" for name in REMOVED),
    ]


def _bind(site: Site, port: int, options: str) -> list[str]:
    if site.address:
        return [f"bind {site.bracketed_address}:{port}{options}"]
    return [f"bind :{port}{options}", f"bind [::]:{port} v6only{options}"]


def _upstream(site: Site) -> str:
    return _quoted(f"unix@{site.upstream.path}") if site.upstream.path else site.upstream.authority


def _format(text: str) -> str:
    """A value where HAProxy expands %."""
    return _quoted(text.replace("%", "%%"))
