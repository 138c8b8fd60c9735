"""Which versions are taken, and what of a profile each gets."""

from __future__ import annotations

import re

import pytest

from asgi_tls.errors import ConfigurationError
from asgi_tls.export.caddy import caddyfile
from asgi_tls.export.document import Export
from asgi_tls.export.haproxy import haproxy_cfg
from asgi_tls.export.nginx import nginx_conf
from asgi_tls.export.openssl import openssl_conf
from asgi_tls.export.site import Site, Upstream
from asgi_tls.export.versions import (
    CADDY,
    HAPROXY,
    NGINX,
    OPENSSL,
    PROGRAMS,
    Program,
    Version,
    nearest,
    newest,
    parse_version,
)
from asgi_tls.profile import INTERMEDIATE, MODERN

SITE = Site(hosts=("example.com",), upstream=Upstream("127.0.0.1", 8000), certificate="/c.pem", key="/k.pem")


@pytest.mark.parametrize(
    ("program", "text", "version"),
    [
        (NGINX, "1.22", (1, 22, 0)),
        (NGINX, "1.22.1", (1, 22, 1)),
        (NGINX, "1.18.0", (1, 18, 0)),
        (HAPROXY, "2.6.12-1+deb12u4", (2, 6, 12)),
        (HAPROXY, "3.2-dev1", (3, 2, 0)),
        (CADDY, "v2.11.4", (2, 11, 4)),
        (CADDY, "2.6", (2, 6, 0)),
        (OPENSSL, "1.1", (1, 1, 1)),
        (OPENSSL, "1.1.1w", (1, 1, 1)),
        (OPENSSL, "3.5.9", (3, 5, 9)),
    ],
)
def test_versions_that_are_known(program: Program, text: str, version: Version) -> None:
    assert parse_version(program, text) == version


@pytest.mark.parametrize(
    ("program", "text", "says"),
    [
        (NGINX, "1.16", "too old"),
        (NGINX, "0.9.1", "too old"),
        (OPENSSL, "1.1.0", "too old"),
        (HAPROXY, "2.2.29", "too old"),
        (CADDY, "1.0.5", "too old"),
        (NGINX, "1.31.0", "newer"),
        (NGINX, "2.0", "newer"),
        (CADDY, "2.99", "newer"),
        *(
            (NGINX, text, "--version .* is not a version of nginx")
            for text in ("", "latest", "1", "1.x", "1.22.1.1", "1.22;", "1.22\n#", "-1.2")
        ),
    ],
)
def test_versions_that_are_not(program: Program, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        parse_version(program, text)
    assert program.supported in str(caught.value)


def test_an_installed_program_may_be_newer_than_what_is_known() -> None:
    assert nearest(NGINX, "1.31.2") == (1, 30, 0)
    assert nearest(NGINX, "1.26.3") == (1, 26, 3)
    with pytest.raises(ConfigurationError, match="too old"):
        nearest(NGINX, "1.14.2")


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_every_release_that_was_checked_lies_in_the_range(program: Program) -> None:
    versions = [parse_version(program, text) for text in program.checked]
    assert versions == sorted(versions)
    assert newest(program)[:2] == program.newest


@pytest.mark.parametrize(
    ("version", "has", "has_not"),
    [
        ((1, 18, 0), ["ssl http2 default_server;"], ["ssl_conf_command", "ssl_reject_handshake", "http2 on;"]),
        ((1, 19, 4), ["ssl_conf_command Ciphersuites", "ssl_reject_handshake on;"], ["http2 on;"]),
        ((1, 22, 1), ["ssl_session_tickets off;", "ssl http2;"], ["http2 on;"]),
        ((1, 25, 0), ["ssl http2;"], ["http2 on;"]),
        ((1, 25, 1), ["http2 on;", "ssl_session_tickets off;"], ["ssl http2"]),
        ((1, 30, 5), ["ssl_session_tickets off;"], ["ssl_session_tickets on;"]),
        ((1, 30, 6), ["ssl_session_tickets on;"], ["ssl_session_tickets off;"]),
    ],
)
def test_nginx_by_version(version: Version, has: list[str], has_not: list[str]) -> None:
    text = nginx_conf(INTERMEDIATE, SITE, version).text
    for each in has:
        assert each in text
    for each in has_not:
        assert each not in text


def test_nginx_before_it_could_refuse_names_still_answers_them() -> None:
    export = nginx_conf(MODERN, SITE, (1, 18, 0))
    assert export.text.count('ssl_certificate "/c.pem";') == 2
    assert any("TLS 1.3 suites" in sentence for sentence in export.lost)
    assert any("421" in sentence for sentence in export.lost)


@pytest.mark.parametrize(
    ("version", "certificate", "lost"),
    [
        ((2, 6, 12), "crt '/c.pem'", ["/c.pem.key", "/c.pem.ocsp"]),
        ((2, 8, 0), "crt '/c.pem'", ["/c.pem.key", "[ocsp-update on]"]),
        ((3, 0, 0), 'crt "@asgi_tls/site"', []),
    ],
)
def test_haproxy_by_version(version: Version, certificate: str, lost: list[str]) -> None:
    export = haproxy_cfg(INTERMEDIATE, SITE, version)
    assert certificate in export.text
    assert ("load crt '/c.pem' key '/k.pem' alias \"site\" ocsp-update on" in export.text) == (version >= (3, 0, 0))
    for each in lost:
        assert any(each in sentence for sentence in export.lost)
    assert any("/c.pem.key" in sentence for sentence in export.lost) == bool(lost)


@pytest.mark.parametrize(
    ("version", "curves", "pool"),
    [
        ((2, 6, 2), "curves x25519 secp256r1 secp384r1", "trusted_ca_cert_file"),
        ((2, 8, 0), "curves x25519 secp256r1 secp384r1", "trust_pool file"),
        ((2, 10, 0), "curves x25519mlkem768 x25519 secp256r1 secp384r1", "trust_pool file"),
    ],
)
def test_caddy_by_version(version: Version, curves: str, pool: str) -> None:
    site = Site(hosts=("example.com",), upstream=Upstream("127.0.0.1", 8000), client_ca="/ca.pem")
    export = caddyfile(INTERMEDIATE, site, version)
    assert f"    {curves}\n" in export.text
    assert f'{pool} "/ca.pem"' in export.text
    assert any("All CAs in /ca.pem but the first" in sentence for sentence in export.lost) == (version < (2, 8, 0))
    assert any("X25519MLKEM768 is known from 2.10 on" in sentence for sentence in export.lost) == (version < (2, 10, 0))
    assert any("GODEBUG=tlsmlkem=1" in sentence for sentence in export.lost) == (version >= (2, 10, 0))


@pytest.mark.parametrize("openssl", [(1, 1, 1), (3, 0, 0), (3, 4, 9), (3, 5, 0), (3, 6, 5)])
def test_the_hybrid_group_is_there_from_openssl_3_5(openssl: Version) -> None:
    for export in (
        nginx_conf(MODERN, SITE, newest(NGINX), openssl=openssl),
        haproxy_cfg(MODERN, SITE, newest(HAPROXY), openssl=openssl),
        openssl_conf(MODERN, openssl),
    ):
        assert ("X25519MLKEM768/X25519/P-256" in export.text) == (openssl >= (3, 5, 0))
        assert any("X25519MLKEM768" in sentence for sentence in export.lost) == (openssl < (3, 5, 0))


def test_the_order_of_groups_is_kept_where_openssl_has_tuples() -> None:
    def exports(openssl: Version) -> list[Export]:
        proxies = (nginx_conf(MODERN, SITE, newest(NGINX), openssl=openssl),
                   haproxy_cfg(MODERN, SITE, newest(HAPROXY), openssl=openssl))  # fmt: skip
        return [*proxies, openssl_conf(MODERN, openssl)]

    for old, new in zip(exports((3, 4, 9)), exports((3, 5, 0)), strict=True):
        assert re.search(r" X25519:P-256:P-384[;\n]", old.text)
        assert re.search(r" X25519MLKEM768/X25519/P-256/P-384[;\n]", new.text)
        assert any("The order of groups" in sentence for sentence in old.lost)
        assert not any("groups" in sentence for sentence in new.lost)
    assert not openssl_conf(MODERN.with_groups("X25519"), (3, 0, 0)).lost


def test_a_profile_of_which_nothing_is_left() -> None:
    only = MODERN.with_groups("X25519MLKEM768")
    with pytest.raises(ConfigurationError, match="knows none of the groups"):
        nginx_conf(only, SITE, (1, 22, 1), openssl=(3, 0, 0))
    with pytest.raises(ConfigurationError, match="none of the profile's groups"):
        caddyfile(MODERN.with_groups("X448"), SITE, (2, 11, 4))


def test_what_caddy_cannot_choose_is_said() -> None:
    profile = MODERN.with_ciphersuites("TLS_AES_256_GCM_SHA384")
    assert any("TLS 1.3 suites" in sentence for sentence in caddyfile(profile, SITE, (2, 11, 4)).lost)
    assert not any("TLS 1.3 suites" in sentence for sentence in caddyfile(MODERN, SITE, (2, 11, 4)).lost)
    ccm = INTERMEDIATE.with_ciphers("ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES128-GCM-SHA256")
    export = caddyfile(ccm, SITE, (2, 11, 4))
    assert any("no CCM" in sentence for sentence in export.lost)
    assert "ciphers TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n" in export.text
