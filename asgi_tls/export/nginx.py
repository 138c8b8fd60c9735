"""A profile as a whole nginx.conf.

The policy stands in `http`, not in `server`: versions and groups of a connection are those of the default server, since
they are settled before nginx has read the name that the client asks for.
"""

from __future__ import annotations

from typing import Final

from asgi_tls.export.document import (
    QUOTING,
    Export,
    Target,
    block,
    check_paths,
    client_certificates_end,
    groups_for,
)
from asgi_tls.export.site import (
    CHALLENGES_COMMENT,
    FORWARDED_COMMENT,
    REMOVED,
    SESSION_SECONDS,
    Site,
)
from asgi_tls.export.versions import (
    ASSUMED_OPENSSL,
    NGINX,
    NGINX_CONF_COMMAND,
    NGINX_HTTP2_DIRECTIVE,
    NGINX_ROTATING_TICKETS,
    Version,
    text_of,
)
from asgi_tls.middleware.acme import CHALLENGE_PATH
from asgi_tls.profile import VERSIONS, TLSProfile, cipher_string

_quoted: Final = QUOTING[NGINX.name]


def nginx_conf(profile: TLSProfile, site: Site, version: Version, *, openssl: Version = ASSUMED_OPENSSL) -> Export:
    """The configuration for a version of nginx that is linked with this OpenSSL.

    Raises ConfigurationError for a path that nginx cannot quote, or for a site without a certificate.
    """
    check_paths(NGINX, site)
    groups, lost = groups_for(profile, openssl)
    lost += [*_lost(profile, site, version), *client_certificates_end(site)]
    http = [
        "server_tokens off;",
        "client_max_body_size 0;  # the application's to limit",
        "",
        *_policy(profile, version, groups),
        "",
        *_maps(site),
        "",
        *block("upstream application", [f"server {_upstream(site)};"]),
        "",
        "# For a connection that asks for another name, or for none.",
        *block("server", _unknown_names(site, version)),
        "",
        *block("server", _secure(site, version)),
        "",
        *block("server", [*_listen(site, site.http_port, " default_server"), "return 400;"]),
        "",
        *block("server", _plain(site)),
    ]
    lines = [
        "worker_processes auto;",
        *block("events", ["worker_connections 1024;"]),
        *block("http", http),
    ]
    return Target(NGINX, version, profile, site).export(
        lines, lost, check="nginx -t -c THIS_FILE", reload="nginx -t && nginx -s reload"
    )


def _lost(profile: TLSProfile, site: Site, version: Version) -> list[str]:
    lost = []
    if version < NGINX_CONF_COMMAND:
        since = text_of(NGINX_CONF_COMMAND)
        if profile.speaks("TLSv1.3"):
            lost.append(f"The TLS 1.3 suites: all of OpenSSL's are offered; choosing them needs nginx {since}.")
        lost.append(f"Unknown names get the certificate, and then 421; refusing the handshake needs nginx {since}.")
    if site.stapling is not False:
        lost.append(
            "The staple on the first connection after a start: nginx has none yet. It verifies a response against the "
            "issuer in the certificate's file only: a responder with its own certificate needs ssl_trusted_certificate."
        )
        if site.stapling is None:
            lost.append("If the certificate names no OCSP responder, nginx logs a warning at each start, and goes on.")
    return lost


def _policy(profile: TLSProfile, version: Version, groups: str) -> list[str]:
    lines = [
        f"ssl_protocols {' '.join(each for each in VERSIONS if profile.speaks(each))};",
        f"ssl_ciphers {_quoted(cipher_string(profile))};",
        "ssl_prefer_server_ciphers off;",
        f"ssl_ecdh_curve {groups};",
        "ssl_early_data off;",
        "# All workers share it, for twelve hours.",
        "ssl_session_cache shared:asgi_tls:10m;",
        f"ssl_session_timeout {SESSION_SECONDS}s;",
    ]
    if profile.speaks("TLSv1.3") and version >= NGINX_CONF_COMMAND:
        lines.insert(2, f"ssl_conf_command Ciphersuites {':'.join(profile.ciphersuites)};")
    first, end = NGINX_ROTATING_TICKETS
    if first <= version < end:
        lines.append("ssl_session_tickets on;  # their keys rotate with the cache")
    else:
        lines += [
            f"# Before {text_of(first)}, nginx rotates ticket keys unsafely (CVE-2026-97629): sessions resume from the",
            "# cache, without tickets.",
            "ssl_session_tickets off;",
        ]
    return lines


def _maps(site: Site) -> list[str]:
    lines = block("map $http_upgrade $connection_upgrade", ["default upgrade;", "'' close;"])
    if site.hsts is not None:
        lines += [
            "# Exactly one field (RFC 6797 section 7.1): the application's first one, or this.",
            *block(
                "map $upstream_http_strict_transport_security $hsts",
                [f"'' {_quoted(site.hsts)};", '"~^(?<own_hsts>[^,]+)" $own_hsts;'],
            ),
        ]
    for name, value in site.other_headers:
        variable = name.lower().replace("-", "_")
        lines += block(
            f"map $upstream_http_{variable} $own_{variable}",
            [f"'' {_quoted(value)};", "default '';  # the application sends it"],
        )
    return lines


def _unknown_names(site: Site, version: Version) -> list[str]:
    refusal = ["ssl_reject_handshake on;"] if version >= NGINX_CONF_COMMAND else _certificate(site)
    return [*_listen_tls(site, version, default=True), *refusal, "return 421;"]


def _secure(site: Site, version: Version) -> list[str]:
    body = [*_listen_tls(site, version, default=False), f"server_name {' '.join(site.hosts)};", *_certificate(site)]
    if site.stapling is not False:
        body += ["ssl_stapling on;", "ssl_stapling_verify on;"]
    if site.client_ca is not None:
        verify = "on" if site.client_auth == "required" else "optional"
        body += [f"ssl_client_certificate {_quoted(site.client_ca)};", f"ssl_verify_client {verify};",
                 "ssl_verify_depth 4;"]  # fmt: skip
    if site.hsts is not None:
        body += ["proxy_hide_header Strict-Transport-Security;", "add_header Strict-Transport-Security $hsts always;"]
    for name, _ in site.other_headers:
        body.append(f"add_header {name} $own_{name.lower().replace('-', '_')} always;")
    return [*body, *block("location /", _to_application(site, "https"))]


def _plain(site: Site) -> list[str]:
    return [
        *_listen(site, site.http_port, ""),
        f"server_name {' '.join(site.hosts)};",
        *block("location /", [f"return 308 https://$host{site.port_suffix}$request_uri;"]),
        CHALLENGES_COMMENT,
        *block(
            f"location ^~ {CHALLENGE_PATH}",
            ["proxy_hide_header Strict-Transport-Security;", *_to_application(site, "http")],
        ),
    ]


def _to_application(site: Site, scheme: str) -> list[str]:
    port = site.https_port if scheme == "https" else site.http_port
    suffix = "" if port == {"https": 443, "http": 80}[scheme] else f":{port}"
    return [
        "proxy_pass http://application;",
        "proxy_redirect off;",
        "proxy_http_version 1.1;",
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Connection $connection_upgrade;",
        FORWARDED_COMMENT,
        f"proxy_set_header Host $host{suffix};",
        f"proxy_set_header X-Forwarded-Host $host{suffix};",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        f"proxy_set_header X-Forwarded-Proto {scheme};",
        *(f"proxy_set_header {name} '';" for name in REMOVED),
    ]


def _certificate(site: Site) -> list[str]:
    certificate, key = site.files("nginx")
    return [f"ssl_certificate {_quoted(certificate)};", f"ssl_certificate_key {_quoted(key)};"]


def _listen_tls(site: Site, version: Version, *, default: bool) -> list[str]:
    chosen = " default_server" if default else ""
    if version >= NGINX_HTTP2_DIRECTIVE:
        return [*_listen(site, site.https_port, f" ssl{chosen}"), "http2 on;"]
    return _listen(site, site.https_port, f" ssl http2{chosen}")


def _listen(site: Site, port: int, options: str) -> list[str]:
    addresses = [f"{site.bracketed_address}:{port}"] if site.address else [f"{port}", f"[::]:{port}"]
    return [f"listen {address}{options};" for address in addresses]


def _upstream(site: Site) -> str:
    return _quoted(f"unix:{site.upstream.path}") if site.upstream.path else site.upstream.authority
