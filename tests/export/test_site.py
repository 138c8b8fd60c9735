"""Values that end up in configuration files: what is refused, and that nothing but itself can come of the rest."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls.errors import ConfigurationError
from asgi_tls.export.application import application_side, commands, middleware
from asgi_tls.export.caddy import caddyfile
from asgi_tls.export.document import Export
from asgi_tls.export.haproxy import haproxy_cfg
from asgi_tls.export.nginx import nginx_conf
from asgi_tls.export.site import Site, Upstream
from asgi_tls.profile import INTERMEDIATE

HERE = Upstream("127.0.0.1", 8000)


def site(**how: Any) -> Site:
    settings = {"hosts": ("example.com",), "upstream": HERE, "certificate": "/c.pem", "key": "/k.pem"}
    return Site(**{**settings, **how})


def exports(found: Site) -> dict[str, Export]:
    return {
        "nginx": nginx_conf(INTERMEDIATE, found, (1, 30, 6)),
        "haproxy": haproxy_cfg(INTERMEDIATE, found, (3, 2, 0)),
        "caddy": caddyfile(INTERMEDIATE, found, (2, 11, 4)),
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hosts": ()}, "no host"),
        ({"hosts": ("example.com; return 200",)}, "not a valid host"),
        ({"hosts": ("example.com\nx",)}, "not a valid host"),
        ({"hosts": ("example.com}",)}, "not a valid host"),
        ({"hosts": ("{env.HOME}",)}, "not a valid host"),
        ({"hosts": ("$host",)}, "not a valid host"),
        ({"hosts": ("*",)}, "not a valid host"),
        ({"hosts": ("*.*.example.com",)}, "not a valid host"),
        ({"hosts": ("~^(.*)$",)}, "not a valid host"),
        ({"hosts": ("example.com:8443",)}, "not a valid host"),
        ({"hosts": ("127.0.0.1",)}, "is an IP address"),
        ({"hosts": ("[::1]",)}, "is an IP address"),
        ({"key": None}, "--certificate and --key belong together"),
        ({"certificate": "c.pem"}, "--certificate 'c.pem' is a relative path"),
        ({"certificate": "/c\n.pem"}, "--certificate .* control characters"),
        ({"certificate": "/c\x00.pem"}, "control"),
        ({"key": "/k\u2028.pem"}, "--key .* control characters"),
        ({"client_ca": ""}, "--client-ca '' is not a valid path"),
        ({"client_auth": "perhaps"}, "--client-auth 'perhaps'"),
        ({"address": "example.com"}, "--address 'example.com' is not an IP address"),
        ({"address": "127.0.0.1 ssl"}, "--address .* is not an IP address"),
        ({"http_port": 0}, "--http-port is 0"),
        ({"https_port": 65536}, "--https-port is 65536"),
        ({"http_port": 443}, "--http-port and --https-port are both 443"),
        ({"headers": {"strict-transport-security": "max-age=1; preloaded"}}, "Strict-Transport-Security"),
        ({"headers": {"x-frame-options": "DENY\r\nx: y"}}, "x-frame-options"),
        ({"headers": {"x frame": "DENY"}}, "security header"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        site(**settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *(
            (text, "--upstream is .* Give HOST:PORT")
            for text in ("", "8000", "127.0.0.1", "::1:80", "http://127.0.0.1:8000")
        ),
        *(
            (text, "the port of --upstream is ")
            for text in ("127.0.0.1:", "127.0.0.1:8000;", "[::1]:8000 backup")
        ),
        ("127.0.0.1:0", "the port of --upstream is '0'"),
        ("127.0.0.1:99999", "the port of --upstream is '99999'"),
        ("a b:80", "not a valid host"),
        ("unix:", "--upstream '' is not a valid path"),
        ("unix:app.sock", "--upstream 'app.sock' is a relative path"),
        ("unix:/run/\n", "--upstream .* control characters"),
        ("unix:/" + "a" * 107, "at most 107 bytes"),
    ],
)  # fmt: skip
def test_an_upstream_that_is_not_valid(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Upstream.parse(text)


@pytest.mark.parametrize(
    ("text", "authority", "here"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000", True),
        ("[::1]:8000", "[::1]:8000", True),
        ("App.Internal:80", "app.internal:80", False),
        ("192.0.2.7:8000", "192.0.2.7:8000", False),
    ],
)
def test_upstreams(text: str, authority: str, here: bool) -> None:
    upstream = Upstream.parse(text)
    assert (upstream.authority, upstream.is_here) == (authority, here)
    for export in exports(site(upstream=upstream)).values():
        assert authority in export.text


def test_what_each_program_cannot_quote() -> None:
    for path in ("/a{b", "/a}b", '/a"b', "/a`b", "/a\\b"):
        with pytest.raises(ConfigurationError, match="--certificate .* which Caddy cannot quote"):
            caddyfile(INTERMEDIATE, site(certificate=path), (2, 11, 4))
    with pytest.raises(ConfigurationError, match="--key .* which nginx cannot quote"):
        nginx_conf(INTERMEDIATE, site(key="/a$b"), (1, 30, 6))
    with pytest.raises(ConfigurationError, match="97 bytes"):
        haproxy_cfg(INTERMEDIATE, site(upstream=Upstream(path="/" + "a" * 97)), (3, 2, 0))
    for program in (nginx_conf, haproxy_cfg):
        with pytest.raises(ConfigurationError, match="needs a certificate"):
            program(INTERMEDIATE, site(certificate=None, key=None), (3, 2, 0))
    with pytest.raises(ConfigurationError, match="DNS challenge"):
        caddyfile(INTERMEDIATE, site(hosts=("*.example.com",), certificate=None, key=None), (2, 11, 4))


# Every character that could mean something to one of the three.
PATHS = st.text(st.sampled_from("ab /.'\"\\;{}$#%&`*?~^()[]<>|!=,:@-_\u00e4"), min_size=1, max_size=30).map(
    "/{}".format
)


@given(PATHS)
def test_a_path_stays_one_word(path: str) -> None:
    found = site(certificate=path)
    cfg = haproxy_cfg(INTERMEDIATE, found, (3, 2, 0)).text
    (line,) = [line for line in cfg.splitlines() if line.startswith("    load crt ")]
    # HAProxy's single quotes are the shell's.
    assert shlex.split(line)[2] == path
    if "$" not in path:
        conf = nginx_conf(INTERMEDIATE, found, (1, 30, 6)).text
        (line,) = [line for line in conf.splitlines() if line.startswith("        ssl_certificate ")]
        quoted = line.removeprefix('        ssl_certificate "').removesuffix('";')
        assert quoted.replace("\\\\", "\x00").replace('\\"', '"').replace("\x00", "\\") == path
        assert '"' not in quoted.replace("\\\\", "").replace('\\"', "")
    if not set('{}"`\\') & set(path):
        assert f'tls "{path}" "/k.pem" {{\n' in caddyfile(INTERMEDIATE, found, (2, 11, 4)).text


@given(PATHS)
def test_a_path_in_a_comment_stays_in_the_comment(path: str) -> None:
    for line in haproxy_cfg(INTERMEDIATE, site(certificate=path), (2, 6, 0)).text.split("\n\n")[0].splitlines():
        assert line.startswith("#")


def test_the_same_site_gives_the_same_text_and_each_name_once() -> None:
    found = site(hosts=("b.example", "A.example", "b.example.", "m\u00fcnchen.example"))
    assert found.hosts == ("b.example", "a.example", "xn--mnchen-3ya.example")
    assert exports(found) == exports(site(hosts=found.hosts))


def test_headers_and_what_they_are_called() -> None:
    headers = {"strict-transport-security": "max-age=300", "x-frame-options": "DENY"}
    for name, export in exports(site(headers=headers)).items():
        assert "Strict-Transport-Security" in export.text, name
        assert "X-Frame-Options" in export.text
    for export in exports(site()).values():
        assert "max-age" not in export.text


def test_client_certificates_end_at_the_proxy_and_that_is_said() -> None:
    for export in exports(site(client_ca="/ca.pem")).values():
        assert any("The client's identity" in sentence for sentence in export.lost)
        assert "/ca.pem" in export.text
    for export in exports(site()).values():
        assert not any("The client's identity" in sentence for sentence in export.lost)


def test_stapling_is_asked_for_where_there_may_be_a_responder() -> None:
    for stapling, wanted in ((True, True), (None, True), (False, False)):
        found = exports(site(stapling=stapling))
        assert ("ssl_stapling on;" in found["nginx"].text) == wanted
        assert ("ocsp-update on" in found["haproxy"].text) == wanted


@pytest.mark.parametrize(
    ("upstream", "uvicorn"),
    [
        ("127.0.0.1:8000", "--host 127.0.0.1 --port 8000 --proxy-headers --forwarded-allow-ips 127.0.0.1"),
        ("[::1]:8000", "--host ::1 --port 8000 --proxy-headers --forwarded-allow-ips ::1"),
        ("unix:/run/my app.sock", "--uds '/run/my app.sock' --proxy-headers --forwarded-allow-ips '*'"),
        ("192.0.2.7:80", "--host 192.0.2.7 --port 80 --proxy-headers --forwarded-allow-ips PROXY_ADDRESS"),
    ],
)
def test_the_applications_side(upstream: str, uvicorn: str) -> None:
    found = site(upstream=Upstream.parse(upstream), https_port=8443)
    assert commands(found)["uvicorn"] == f"uvicorn app:app {uvicorn}"
    assert middleware(found) == 'app.add_middleware(TLSMiddleware, hosts=["example.com"], https_port=8443)'
    text = application_side(found)
    for command in commands(found).values():
        assert command in text
    assert ("address that the proxy connects from" in text) == ("192." in upstream)
