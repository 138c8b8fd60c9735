"""Settings are judged when the middleware is made: what browsers would drop or misread never starts."""

from __future__ import annotations

import re
from typing import Any

import pytest
import secure as secure_package
from asgi_servers import call, hello, http_scope
from secure import Secure

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware import HSTS, SecurityHeadersMiddleware, TLSMiddleware
from asgi_tls.middleware.csp import NONCE, api_policy, check_policy, web_policy


def headers_of(**settings: Any) -> dict[str, str]:
    reply = call(SecurityHeadersMiddleware(hello, **settings), http_scope(scheme="https"))
    names = [name for name, _ in reply.headers]
    assert len(set(names)) == len(names)
    return dict(reply.headers)


def test_the_defaults() -> None:
    assert headers_of() == {
        "content-type": "text/plain",
        "content-length": "6",
        "strict-transport-security": "max-age=63072000; includeSubDomains",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "strict-origin-when-cross-origin",
        "permissions-policy": "browsing-topics=(), camera=(), geolocation=(), microphone=()",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "content-security-policy": ("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    }


@pytest.mark.parametrize("content", ["auto", "api", "web"])
def test_the_policies_are_strict(content: Any) -> None:
    policy = headers_of(content=content)["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "{" not in policy


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"hsts": HSTS(max_age=300, include_subdomains=False)}, "max-age=300"),
        ({"hsts": HSTS(max_age=0)}, "max-age=0; includeSubDomains"),
        ({"hsts": HSTS(max_age=31536000, preload=True)}, "max-age=31536000; includeSubDomains; preload"),
        ({"headers": {"Strict-Transport-Security": "max-age=5"}}, "max-age=5"),
        ({"headers": {"strict-transport-security": 'MAX-AGE="31536000" ; includesubdomains;preload'}}, None),
    ],
)
def test_hsts_can_be_set(settings: dict[str, Any], value: str | None) -> None:
    expected = value or settings["headers"]["strict-transport-security"]
    assert headers_of(**settings)["strict-transport-security"] == expected


@pytest.mark.parametrize("settings", [{"hsts": None}, {"headers": {"STRICT-TRANSPORT-SECURITY": None}}])
def test_hsts_can_be_left_out(settings: dict[str, Any]) -> None:
    assert "strict-transport-security" not in headers_of(**settings)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "includeSubDomains",
        "max-age",
        "max-age=",
        "max-age=-1",
        "max-age=1.5",
        "max-age=abc",
        "max-age=1; max-age=2",
        "max-age=1; MAX-AGE=1",
        "max-age=1; includeSubDomains; includesubdomains",
        "max-age=1; includeSubDomain",
        "max-age=1, includeSubDomains",
        "max-age=63072000; preload",
        "max-age=31535999; includeSubDomains; preload",
        'max-age="1',
        "max-age=1; includeSubDomains=1",
    ],
)
def test_hsts_that_browsers_would_ignore_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="^Strict-Transport-Security is |^HSTS preload without"):
        HSTS.parse(value)


@pytest.mark.parametrize(
    ("value", "age"),
    [
        ("max-age=00000000000300", 300),
        ("max-age=0", 0),
        ("Max-Age=999999999 ;", 999_999_999),
        ("max-age=9999999999", 2**31),  # RFC 9111 section 1.2.2
        (f"max-age={'9' * 5000}", 2**31),
    ],
)
def test_an_age_is_a_number_of_any_length(value: str, age: int) -> None:
    assert HSTS.parse(value).max_age == age


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_age": -1},
        {"max_age": 1.5},
        {"max_age": True},
        {"max_age": 300, "preload": True},
        {"include_subdomains": False, "preload": True},
        {"include_subdomains": "no"},
        {"preload": "no"},
    ],
)
def test_hsts_objects_check_themselves(arguments: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigurationError, match="^HSTS max-age is |^HSTS preload without|^(include_subdomains|preload) is"
    ):
        HSTS(**arguments)


@pytest.mark.parametrize(
    "policy",
    [
        "",
        " ; ",
        "default-src 'self'; default-src 'none'",
        "default-src 'self'; DEFAULT-SRC 'none'",
        "default-src 'self', script-src 'none'",
        "default-src self",
        "default-src none",
        "script-src nonce-abc",
        "script-src sha256-abc=",
        "script-src unsafe-inline",
        "frame-ancestors none",
        "base-uri 'none' 'self'",
        "default_src 'self'",
        "script-src 'nonce-{csp_nonce}'",
        "script-src 'nonce-{{nonce}}'",
        "script-src {nonce}",
        "script-src 'nonce-{nonce}",
    ],
)
def test_policies_that_say_something_else_are_refused(policy: str) -> None:
    with pytest.raises(ConfigurationError, match="^The Content-Security-Policy "):
        check_policy(policy)


@pytest.mark.parametrize(
    "policy",
    [
        api_policy(),
        web_policy(),
        web_policy(NONCE),
        "upgrade-insecure-requests",
        "default-src 'none';;script-src 'self' https://cdn.example/a/;",
        "sandbox allow-scripts",
        "script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'nonce-{nonce}'",
        "require-trusted-types-for 'script'; trusted-types a b 'allow-duplicates'",
        "report-to none",
    ],
)
def test_good_policies_pass(policy: str) -> None:
    check_policy(policy)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nX-B: b"},
        {"X-A": "a\nb"},
        {"X-A": "a\x00"},
        {"X-A": ""},
        {"X-A": " a"},
        {"X-A": "a "},
        {"X-A": "ü"},
        {"X-A": "\u2028"},
        {"X-A": 1},
        {"X-A": b"a"},
        {"X A": "a"},
        {"X-A:": "a"},
        {"X-Ü": "a"},
        {"": "a"},
        {"X-A\r\n": "a"},
        {"X-A": "1", "x-a": "2"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Set-Cookie": "a=b"},
        {"Location": "https://evil.example"},
        {"X-Frame-Options": "ALLOW-FROM https://example.com"},
        {"X-Content-Type-Options": "sniff"},
        {"Referrer-Policy": "none"},
        {"Referrer-Policy": "no-referrer, always"},
        {"Cross-Origin-Opener-Policy": "same-site"},
        {"Cross-Origin-Embedder-Policy": "same-origin"},
        {"Cross-Origin-Resource-Policy": "none"},
        {"Permissions-Policy": "camera=(), camera=(self)"},
        {"Permissions-Policy": "camera=(),"},
        {"Content-Security-Policy": "default-src self"},
        {"Content-Security-Policy-Report-Only": "default-src self"},
        {"X-Nonce": "'nonce-{nonce}'"},
        {"Strict-Transport-Security": "max-age=1; preload"},
    ],
)
def test_headers_that_would_not_work_are_refused(headers: dict[str, Any]) -> None:
    # Each message names the header, in the letters in which it is compared.
    named = "(?i)^HSTS preload|^The Content-Security-Policy|" + re.escape(next(iter(headers)).lower().strip()).replace(
        r"\r\n", ""
    )
    with pytest.raises(ConfigurationError, match=named):
        SecurityHeadersMiddleware(hello, headers=headers)
    with pytest.raises(ConfigurationError, match=named):
        SecurityHeadersMiddleware(hello, paths={"/x": headers})


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"content": "html"}, "content"),
        ({"paths": {"x": {}}}, "path rule"),
        ({"paths": {"/x*": {}}}, "path rule"),
        ({"secure": Secure(), "content": "web"}, "secure"),
        ({"secure": Secure(), "hsts": None}, "secure"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        SecurityHeadersMiddleware(hello, **settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hosts": None}, 'hosts is None. Write a list of strings, as in hosts=["example.com"].'),
        ({"hosts": [None]}, "hosts is [None]. Write a list"),
        ({"hosts": [b"a.com"]}, "hosts is [b'a.com']. Write a list"),
        ({"hosts": b"a.com"}, "hosts is b'a.com'. Write a list"),
        ({"hosts": "a.com"}, "hosts is the string 'a.com'. Write hosts=['a.com']."),
        ({"exempt": None}, 'exempt is None. Write a list of strings, as in exempt=["/health"].'),
        ({"exempt": [1]}, "exempt is [1]. Write"),
        ({"safe_methods": None}, 'safe_methods is None. Write a list of strings, as in safe_methods=["GET"].'),
        ({"safe_methods": [b"GET"]}, "safe_methods is [b'GET']. Write"),
        ({"safe_methods": "GET"}, "safe_methods is the string 'GET'. Write safe_methods=['GET']."),
        (
            {"hsts": False},
            "hsts is False. Write hsts=HSTS(max_age=31536000) or hsts=HSTS(), with parentheses; hsts=None sends none.",
        ),
        ({"hsts": 31536000}, "hsts is 31536000. Write hsts=HSTS(max_age=31536000) or"),
        ({"hsts": "max-age=1"}, "hsts is 'max-age=1'. Write hsts=HSTS("),
        ({"hsts": HSTS}, "hsts is <class 'asgi_tls.middleware.hsts.HSTS'>. Write hsts=HSTS("),
        ({"headers": [("X-A", "1")]}, "headers is [('X-A', '1')]. Write a dict with strings as keys, as in headers={"),
        ({"headers": []}, "headers is []. Write a dict"),
        ({"headers": {b"X-A": "1"}}, "headers is {b'X-A': '1'}. Write a dict"),
        ({"paths": [("/a", {})]}, "paths is [('/a', {})]. Write a dict with strings as keys, as in paths={"),
        ({"paths": {1: {}}}, "paths is {1: {}}. Write a dict"),
        ({"paths": {"/a": None}}, "paths['/a'] is None. Write a dict with strings as keys, as in paths={"),
        ({"paths": {"/a": {None: "1"}}}, "paths['/a'] is {None: '1'}. Write a dict"),
        ({"secure": "x"}, "secure is 'x'. Write secure=Secure.with_default_headers() (from secure import Secure)."),
        ({"secure": Secure}, "secure is <class 'secure.secure.Secure'>. Write secure="),
        ({"content": ["web"]}, "content is ['web']. Use "),
        ({"canonical_host": 3}, 'canonical_host is 3. Write a host, as in canonical_host="www.example.com".'),
        ({"https_port": "https"}, "https_port is 'https'. Ports are"),
        ({"port_map": 8443}, "port_map is 8443. Write a dict of ports, as in port_map={80: 443, 8080: 8443}."),
        ({"redirect_status": "308"}, "redirect_status is '308'. Choose one of 301, 302, 307, 308, without quotes."),
        ({"webroot": ""}, "webroot is ''. Write the path of a directory"),
        ({"webroot": 3}, 'webroot is 3. Write the path of a directory, as in webroot="/var/www/acme".'),
        (
            {"development": "false"},
            "development is 'false'. Write development=True or development=False, without quotes.",
        ),
        ({"development": None}, "development is None. Write development=True or"),
        ({"override": "no"}, "override is 'no'. Write override=True or override=False, without quotes."),
    ],
)
def test_a_setting_of_another_type_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match="^" + re.escape(says)):
        TLSMiddleware(hello, **{"hosts": ["example.com"], **settings})


def test_preloading_wants_the_first_redirect_on_the_same_host() -> None:
    settings: dict[str, Any] = {"hosts": ["example.com", "www.example.com"], "hsts": HSTS(preload=True)}
    TLSMiddleware(hello, **settings)
    with pytest.raises(ConfigurationError, match="preload"):
        TLSMiddleware(hello, **settings, canonical_host="www.example.com")
    TLSMiddleware(hello, hosts=["example.com"], canonical_host="example.com", hsts=HSTS(preload=True))


@pytest.mark.parametrize("preset", list(secure_package.Preset))
def test_a_secure_preset_goes_out_as_it_is(preset: secure_package.Preset) -> None:
    secure = Secure.from_preset(preset)
    expected = {name.lower(): value for name, value in secure.headers.items() if value}
    actual = headers_of(secure=secure)
    assert {**expected, "content-type": "text/plain", "content-length": "6"} == actual


def test_secure_builders_and_several_policies() -> None:
    secure = Secure(
        csp=secure_package.ContentSecurityPolicy().default_src("'self'"),
        hsts=secure_package.StrictTransportSecurity().max_age(100),
        custom=[secure_package.CustomHeader("X-Custom", "1")],
    )
    secure.headers_list.append(secure_package.ContentSecurityPolicy().script_src("'none'"))
    reply = call(SecurityHeadersMiddleware(hello, secure=secure), http_scope(scheme="https"))
    assert reply.all("content-security-policy") == ["default-src 'self'", "script-src 'none'"]
    assert (reply["strict-transport-security"], reply["x-custom"]) == ("max-age=100", "1")
    assert "x-frame-options" not in reply


@pytest.mark.parametrize(
    "secure",
    [
        Secure(custom=[secure_package.CustomHeader("X-A", "1"), secure_package.CustomHeader("x-a", "2")]),
        Secure(hsts=secure_package.StrictTransportSecurity().value("max-age=1; preload")),
        Secure(csp=secure_package.ContentSecurityPolicy().value("default-src 'self'; default-src 'none'")),
        Secure(custom=[secure_package.CustomHeader("X-A", "ü")]),
    ],
)
def test_a_secure_that_would_not_work_is_refused(secure: Secure) -> None:
    with pytest.raises(ConfigurationError, match="x-a|twice|preload|X-A"):
        SecurityHeadersMiddleware(hello, secure=secure)


def test_settings_changed_later_change_nothing() -> None:
    headers: dict[str, str | None] = {"X-A": "1"}
    middleware = SecurityHeadersMiddleware(hello, headers=headers)
    headers["X-A"] = "2"
    assert call(middleware, http_scope())["x-a"] == "1"
