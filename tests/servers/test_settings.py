"""Settings: the command line before the environment before a file, and errors in the words of the place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from files import Files
from nobody import as_nobody

from asgi_tls import LetsEncrypt, PEMFiles
from asgi_tls.certificate import PasswordFile
from asgi_tls.errors import ASGITLSError, CertificateError, ConfigurationError, ProfileError
from asgi_tls.server import ServerTLS
from asgi_tls.servers.build import server_tls
from asgi_tls.servers.given import Given, read
from asgi_tls.servers.settings import SETTINGS


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def given(
    options: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    file: str | None = None,
    own: dict[str, tuple[str, Any]] | None = None,
) -> Given:
    if file is not None:
        Path("asgi-tls.toml").write_text(file, encoding="utf-8")
    return read(options, environ=environ or {}, own=own or {})


def test_the_command_line_comes_before_the_environment_and_that_before_the_file() -> None:
    file = 'groups = ["P-384"]\nplain-http = "reject"\nstapling = "off"\nguard = true\n'
    environ = {"ASGI_TLS_PLAIN_HTTP": "redirect", "ASGI_TLS_STAPLING": "auto"}
    found = given({"stapling": "required", "groups": None, "guard": False, "guard_allow": ()}, environ, file)
    assert found.values == {"groups": ["P-384"], "plain_http": "redirect", "stapling": "required", "guard": False}
    assert found.words["groups"] == "groups in asgi-tls.toml"
    assert found.words["plain_http"] == "ASGI_TLS_PLAIN_HTTP"
    assert found.words["stapling"] == "--tls-stapling"


def test_pyproject_is_read_where_there_is_no_file_of_ours(tmp_path: Path) -> None:
    Path("pyproject.toml").write_text('[project]\nname = "x"\n[tool.asgi-tls]\nprofile = "modern"\n', encoding="utf-8")
    found = given()
    assert found.values["profile"].name == "modern"
    assert found.words["profile"] == "profile in pyproject.toml"
    assert given(file="").values == {}
    named = tmp_path / "elsewhere.toml"
    named.write_text("reload-interval = 2", encoding="utf-8")
    for found in (given({"config": str(named)}), given(environ={"ASGI_TLS_CONFIG": str(named)})):
        assert found.values == {"config": str(named), "reload_interval": 2.0}


@pytest.mark.parametrize("text", ["[[tool.asgi-tls]]\nprofile = 'modern'", "[tool]\nasgi-tls = 'modern'"])
def test_pyproject_has_a_table_of_ours_or_none(text: str) -> None:
    Path("pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(
        ConfigurationError, match=r"^tool\.asgi-tls in pyproject\.toml is not a table\. Write \[tool\.asgi-"
    ):
        given()
    Path("pyproject.toml").write_text("tool = 1", encoding="utf-8")
    assert given().values == {}


def test_paths_in_a_file_begin_where_the_file_is(tmp_path: Path) -> None:
    directory = tmp_path / "etc"
    directory.mkdir()
    text = 'certfile = "chain.pem"\nkeyfile = "/keys/key.pem"\ncertificate = ["www.example.com=a.pem,b.pem"]\n'
    (directory / "tls.toml").write_text(text, encoding="utf-8")
    tls = server_tls(given({"config": str(directory / "tls.toml")}))
    assert tls.sources["default"] == (PEMFiles(str(directory / "chain.pem"), "/keys/key.pem"),)
    assert tls.sources["www.example.com"][0].paths == (directory / "a.pem", directory / "b.pem")


def test_one_way_to_name_the_certificate_puts_out_another_one_further_down() -> None:
    own = {"certfile": ("--ssl-certfile", "chain.pem"), "keyfile": ("--ssl-keyfile", "key.pem")}
    tls = server_tls(given({}, {"ASGI_TLS_LETSENCRYPT": "example.com"}, own=own))
    assert tls.sources["default"] == (PEMFiles("chain.pem", "key.pem"),)
    tls = server_tls(given({"letsencrypt": "example.com"}, {"ASGI_TLS_CERTFILE": "chain.pem"}))
    assert tls.sources["default"] == (LetsEncrypt("example.com"),)
    further_down = {"ASGI_TLS_CERTFILE": "c.pem", "ASGI_TLS_KEYFILE": "k.pem", "ASGI_TLS_KEYFILE_PASSWORD_FILE": "p"}
    tls = server_tls(given({"letsencrypt": "example.com"}, further_down))
    assert tls.sources["default"] == (LetsEncrypt("example.com"),)


# What is set on the command line, in the environment and in a file (C, K and P are certfile, keyfile and the file with
# its password), and what is served: a certfile comes without what belongs to another one further down.
PLACES: dict[str, tuple[str, str, str, str]] = {
    "all in one place": ("C1 K1 P1", "C2 K2 P2", "C3 K3 P3", "C1 K1 P1"),
    "combined, over a pair": ("C1", "C2 K2 P2", "", "C1"),
    "combined, over a pair in a file": ("C1", "", "C3 K3 P3", "C1"),
    "combined in a variable, over a pair in a file": ("", "C2", "C3 K3 P3", "C2"),
    "its own key, over a locked one": ("C1 K1", "C2 K2 P2", "", "C1 K1"),
    "combined and locked, over a pair": ("C1 P1", "C2 K2 P2", "C3 K3", "C1 P1"),
    "the key of a place between": ("C1", "K2 P2", "C3", "C1"),
    "the key of a place below both": ("C1", "C2", "K3 P3", "C1"),
    "a key over a certificate that is over a pair": ("K1", "C2", "C3 K3 P3", "C2 K1"),
    "the key elsewhere": ("C1", "K2 P2", "", "C1 K2 P2"),
    "the key elsewhere, in a file": ("C1", "", "K3 P3", "C1 K3 P3"),
    "three places": ("C1", "K2", "P3", "C1 K2 P3"),
    "a key over that of a pair": ("K1", "C2 K2 P2", "", "C2 K1 P2"),
    "a password over a pair": ("P1", "C2 K2", "", "C2 K2 P1"),
    "the same certificate twice": ("C1", "C1 K2 P2", "C1 K3", "C1 K2 P2"),
}


@pytest.mark.parametrize(("command", "environment", "file", "served"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("server", ["--ssl-", "--"])
def test_a_certificate_comes_without_the_key_of_another_one(
    command: str, environment: str, file: str, served: str, server: str
) -> None:
    words = {"C": "certfile", "K": "keyfile", "P": "keyfile_password_file"}
    options, variables, keys, expected = (
        {words[text[0]]: text for text in place.split()} for place in (command, environment, file, served)
    )
    found = given(
        {name: options.pop(name) for name in ("keyfile_password_file",) if name in options},
        {f"ASGI_TLS_{name.upper()}": text for name, text in variables.items()},
        "".join(f'{name.replace("_", "-")} = "{text}"\n' for name, text in keys.items()),
        {name: (f"{server}{name}", options.get(name)) for name in ("certfile", "keyfile")},
    )
    assert found.values == expected
    password = expected.get("keyfile_password_file")
    source = PEMFiles(expected["certfile"], expected.get("keyfile"), PasswordFile(password) if password else None)
    assert server_tls(found).sources["default"] == (source,)


def test_a_combined_file_is_served_although_a_pair_is_set_further_down(files: Files) -> None:
    own, other = files.pki.leaf("one.example"), files.pki.leaf("two.example")
    other.write(Path())
    Path("combined.pem").write_bytes(own.chain_pem + own.key_pem)
    Path("alone.pem").write_bytes(own.chain_pem)
    environ = {"ASGI_TLS_CERTFILE": "fullchain.pem", "ASGI_TLS_KEYFILE": "privkey.pem"}
    file = 'certfile = "fullchain.pem"\nkeyfile = "privkey.pem"\n'
    option = {"certfile": ("--ssl-certfile", "combined.pem")}
    server_tls(given({}, environ, own=option)).check()
    server_tls(given({}, file=file, own=option)).check()
    server_tls(given({}, {"ASGI_TLS_CERTFILE": "combined.pem"}, file)).check()
    alone = given({}, environ, own={"certfile": ("--ssl-certfile", "alone.pem"), "keyfile": ("--ssl-keyfile", None)})
    with (
        pytest.raises(CertificateError, match=r"^alone\.pem: contains no private key.*Set --ssl-keyfile"),
        alone.spelled(),
    ):
        server_tls(alone).check()


def test_what_belongs_to_acme_goes_with_it() -> None:
    further_down = {"ASGI_TLS_ACME": "example.com", "ASGI_TLS_ACME_CONTACT": "me@example.com"}
    file = 'acme-key = "rsa"\n'
    tls = server_tls(given({}, further_down, file, {"certfile": ("--certfile", "combined.pem")}))
    assert tls.sources["default"] == (PEMFiles("combined.pem"),)
    assert server_tls(given({"letsencrypt": "example.com"}, further_down)).sources["default"] == (
        LetsEncrypt("example.com"),
    )
    assert given({"acme": ("example.org",)}, further_down, file).values == {
        "acme": ["example.org"],
        "acme_contact": ["me@example.com"],
        "acme_key": "rsa",
    }


def test_revocation_is_not_switched_off_by_another_ca() -> None:
    """A CRL further down stays, so that one of the wrong CA is an error, and not a server that does not check."""
    found = given({"client_ca": "other.pem"}, {"ASGI_TLS_CLIENT_CA": "ca.pem", "ASGI_TLS_CLIENT_CRL": "ca.crl"})
    assert found.values == {"client_ca": "other.pem", "client_crl": "ca.crl"}


def test_the_guard_can_be_put_off_where_a_file_names_whom_it_allows() -> None:
    file = 'guard = true\nguard-allow = ["10.0.0.0/8"]\n'
    assert len(server_tls(given({"guard": False, "letsencrypt": "example.com"}, file=file)).listeners) == 1


def test_pairs_of_one_name_in_two_spellings_belong_together() -> None:
    """In Unicode or not, in any case: two types of keys for one host."""
    pairs = ("Stra\u00dfe.example=a.pem", "xn--strae-oqa.example=b.pem,c.pem", "default=d.pem")
    tls = server_tls(given({"certificate": pairs}))
    assert {name: [str(source) for source in sources] for name, sources in tls.sources.items()} == {
        "xn--strae-oqa.example": ["a.pem", "b.pem, c.pem"],
        "default": ["d.pem"],
    }


def test_every_setting_of_server_tls_can_be_set(files: Files) -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    made = {"certificates", "listeners"}
    assert {setting.name for setting in SETTINGS} >= set(ServerTLS.__dataclass_fields__) - made - {"_"}
    file = f'certfile = "{files.ecdsa.certfile}"\nkeyfile = "{files.ecdsa.keyfile}"\nclient-ca = "{files.ca}"\n'
    tls = server_tls(given(file=file + 'client-auth = "optional"\nhandshake-timeout = 2.5\nallow-unsupported = true\n'))
    assert (tls.client_auth, tls.handshake_timeout, tls.allow_unsupported) == ("optional", 2.5, True)
    tls.check()


def test_a_settings_file_that_this_user_may_not_read() -> None:
    Path().chmod(0o755)
    Path("tls.toml").touch(mode=0)
    with (
        as_nobody(),
        pytest.raises(ConfigurationError, match="^cannot read the settings file tls.toml: Perm") as caught,
    ):
        given({"config": "tls.toml"})
    assert re.match(f"Let this user read it: `ch.* {Path.cwd()}/tls.toml`.$", caught.value.fix)


# Where it is set, what is wrong, and how the error begins: with what the reader typed.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "choice on the command line": (
        {"options": {"profile": "old"}},
        '--tls-profile is \'old\'. Choose "modern" or "intermediate".',
    ),
    "choice in the environment": ({"environ": {"ASGI_TLS_PROFILE": "old"}}, "ASGI_TLS_PROFILE is 'old'. Choose"),
    "choice in a file": ({"file": 'profile = "old"'}, "profile in asgi-tls.toml is 'old'. Choose"),
    "choice of ServerTLS": ({"file": 'plain-http = "no"'}, "plain-http in asgi-tls.toml is 'no'. Choose \"redirect\""),
    "seconds": ({"options": {"reload_interval": "5s"}}, "--tls-reload-interval is '5s'. Set it to a number of seconds"),
    "seconds below 0": (
        {"file": "reload-interval = -1"},
        "reload-interval in asgi-tls.toml is -1.0. Set it to seconds",
    ),
    "port": ({"options": {"redirect_port": "http"}}, "--tls-redirect-port is 'http'. Set it to a port from 1"),
    "port 0": ({"environ": {"ASGI_TLS_PUBLIC_PORT": "0"}}, "ASGI_TLS_PUBLIC_PORT is '0'. Set it to a port from 1"),
    "empty list": ({"options": {"groups": ":"}}, "--tls-groups is ':'. Name one at least"),
    "network": ({"options": {"guard_allow": ("here",)}}, "--tls-guard-allow is 'here'. Write 192.0.2.7, "),
    "metrics": ({"environ": {"ASGI_TLS_METRICS": "9100"}}, "ASGI_TLS_METRICS is '9100'. Give HOST:PORT"),
    "group twice": ({"options": {"groups": "P-256:secp256r1"}}, "--tls-groups names P-256 twice. Keep one"),
    "a suite of the other list": (
        {"file": 'ciphersuites = "ECDHE-RSA-AES128-GCM-SHA256"'},
        "ECDHE-RSA-AES128-GCM-SHA256 is a TLS 1.2 suite. Put it into ASGI_TLS_CIPHERS; ciphersuites in asgi-tls.toml",
    ),
    "a suite of the other list, of TLS 1.3": (
        {"options": {"ciphers": "TLS_AES_128_GCM_SHA256"}},
        "TLS_AES_128_GCM_SHA256 is a TLS 1.3 suite. Put it into --tls-ciphersuites; --tls-ciphers has",
    ),
    "no group of TLS 1.2": (
        {"options": {"groups": "X25519MLKEM768"}},
        "profile 'intermediate' speaks TLS 1.2, and has groups of TLS 1.3 only. Add X25519 to --tls-groups, or",
    ),
    "flag": ({"environ": {"ASGI_TLS_GUARD": "maybe"}}, "ASGI_TLS_GUARD is 'maybe'. Set it to 1 or 0."),
    "pair": ({"options": {"certificate": ("a=b,c,d",)}}, "--tls-certificate is 'a=b,c,d'. Write NAME="),
    "name of a pair": (
        {"options": {"certificate": ("a..b=c.pem",)}},
        "--tls-certificate is 'a..b=c.pem'. Give the host alone",
    ),
    "address of a pair": (
        {"options": {"certificate": ("192.0.2.1=a.pem",)}},
        "'192.0.2.1' is an IP address, which clients do not send in SNI",
    ),
    "a short secret": ({"environ": {"ASGI_TLS_TICKET_SECRET": "short"}}, "ASGI_TLS_TICKET_SECRET has 5 bytes, and 32"),
    "suites of a version that the profile does not have": (
        {"options": {"profile": "modern", "ciphers": "ECDHE-RSA-AES128-GCM-SHA256"}},
        "profile 'modern' has no TLS 1.2, and --tls-ciphers would have no effect. Leave out --tls-ciphers, or start",
    ),
    "letsencrypt": (
        {"options": {"letsencrypt": "*.example.com"}},
        "--tls-letsencrypt is '*.example.com'. Use 'example.com'.",
    ),
    "empty password": (
        {"options": {}, "own": {"keyfile_password": ("--ssl-keyfile-password", "")}},
        "--ssl-keyfile-password is empty. Set it to a value, or remove it.",
    ),
    "empty option": ({"options": {"client_ca": ""}}, "--tls-client-ca is empty. Set it to a value, or remove it."),
    "empty key": ({"file": 'client-ca = ""'}, "client-ca in asgi-tls.toml is empty. Set it"),
    "no home": (
        {"environ": {"ASGI_TLS_CLIENT_CA": "~nobody-of-this-name/ca.pem"}},
        "ASGI_TLS_CLIENT_CA is '~nobody-of-this-name/ca.pem'. Write the whole path.",
    ),
    "no home of the settings": (
        {"environ": {"ASGI_TLS_CONFIG": "~nobody-of-this-name/x.toml"}},
        "there is no home directory for '~nobody-of-this-name/x.toml'. Write the whole path.",
    ),
    "variable without a setting": (
        {"environ": {"ASGI_TLS_CLIENT_CAS": "x"}},
        "the environment sets ASGI_TLS_CLIENT_CAS, which is not a setting. Did you mean ASGI_TLS_CLIENT_CA?",
    ),
    "variable that is like none": (
        {"environ": {"ASGI_TLS_BOGUS": "x"}},
        "the environment sets ASGI_TLS_BOGUS, which is not a setting. Use one of ASGI_TLS_ACME,",
    ),
    "key that is like none": (
        {"file": "bogus = 1"},
        "asgi-tls.toml sets 'bogus', which is not a setting. Use one of acme,",
    ),
    "the table of pyproject.toml": (
        {"file": '[tool.asgi-tls]\nprofile = "modern"'},
        "asgi-tls.toml sets 'tool', and [tool.asgi-tls] belongs in pyproject.toml. Remove that line: here the settings",
    ),
    "key without a setting": (
        {"file": 'client_ca = "x"'},
        "asgi-tls.toml sets 'client_ca', which is not a setting. Did you mean client-ca?",
    ),
    "a secret in a file": ({"file": 'ticket-secret = "x"'}, "asgi-tls.toml sets 'ticket-secret', which is not a"),
    "a list for one value": ({"file": "client-ca = []"}, "client-ca in asgi-tls.toml is a list. Set it to one value."),
    "true for a port": (
        {"file": "redirect-port = true"},
        "redirect-port in asgi-tls.toml is true. Set it to a port from 1",
    ),
    "a table": ({"file": "[stapling]\nmode = 1"}, "stapling in asgi-tls.toml is a table. Set it to one value."),
    "no TOML": ({"file": "profile = modern"}, "asgi-tls.toml is not valid TOML: "),
    "no such file": ({"options": {"config": "none.toml"}}, "cannot read the settings file none.toml: No such file"),
    "key without certificate": (
        {"own": {"keyfile": ("--ssl-keyfile", "key.pem"), "certfile": ("--ssl-certfile", None)}, "options": {}},
        "--ssl-keyfile is set without --ssl-certfile. Set --ssl-certfile to",
    ),
    "password without certificate": (
        {"environ": {"ASGI_TLS_KEYFILE_PASSWORD_FILE": "p"}, "options": {}, "own": {"certfile": ("--certfile", None)}},
        "ASGI_TLS_KEYFILE_PASSWORD_FILE is set without --certfile. Set --certfile to",
    ),
    "key beside a certificate by ACME": (
        {"environ": {"ASGI_TLS_ACME": "example.com", "ASGI_TLS_KEYFILE": "key.pem"}},
        "ASGI_TLS_ACME and ASGI_TLS_KEYFILE are both set. Keep one of them.",
    ),
    "allowed by no guard": (
        {"options": {"guard_allow": ("10.0.0.0/8",)}},
        "--tls-guard-allow is set without --tls-guard. Set --tls-guard as well, or remove --tls-guard-allow.",
    ),
    "two certificates in one place": (
        {"environ": {"ASGI_TLS_CERTFILE": "a", "ASGI_TLS_LETSENCRYPT": "example.com"}},
        "ASGI_TLS_LETSENCRYPT and ASGI_TLS_CERTFILE are both set. Keep one of them.",
    ),
    "auth without CA, set in two places": (
        {"options": {}, "environ": {"ASGI_TLS_CLIENT_AUTH": "required"}},
        "ASGI_TLS_CLIENT_AUTH is set without --tls-client-ca. Set --tls-client-ca to",
    ),
}


@pytest.mark.parametrize(("places", "says"), WRONG.values(), ids=WRONG)
def test_an_error_names_what_the_reader_typed(places: dict[str, Any], says: str) -> None:
    with pytest.raises((ConfigurationError, ProfileError)) as caught:
        server_tls(given(**places))
    assert str(caught.value).startswith(says)


# How a certificate is set without what belongs to it, and what is to be set: `good` is without its key, `locked` is
# encrypted.
ALONE: dict[str, tuple[dict[str, Any], str]] = {
    "option": (
        {"options": {}, "own": {"certfile": ("--ssl-certfile", "good"), "keyfile": ("--ssl-keyfile", None)}},
        "Set --ssl-keyfile to the file with the key.",
    ),
    "variable": (
        {"options": {}, "environ": {"ASGI_TLS_CERTFILE": "good"}, "own": {"keyfile": ("--ssl-keyfile", None)}},
        "Set ASGI_TLS_KEYFILE to",
    ),
    "key": ({"options": {}, "file": 'certfile = "good"'}, "Set keyfile in asgi-tls.toml to"),
    "pair": (
        {"options": {"certificate": ("example.com=good",)}},
        "Write example.com=good,KEY in --tls-certificate; KEY is the file with the key.",
    ),
    "pair in a variable": (
        {"environ": {"ASGI_TLS_CERTIFICATE": "example.com=good"}, "own": {"keyfile": ("--keyfile", None)}},
        "Write example.com=good,KEY in ASGI_TLS_CERTIFICATE;",
    ),
    "pair in a file": (
        {"options": {}, "file": 'certificate = ["*.example.com=good"]'},
        "Write *.example.com=good,KEY in certificate in asgi-tls.toml;",
    ),
    "directory": ({"options": {"directory": "pairs"}}, "Put the key beside it, in a file that ends with .key."),
    "password": (
        {"options": {}, "own": {"certfile": ("--certfile", "locked"), "keyfile_password": ("--password", None)}},
        "Set --tls-keyfile-password-file, or remove the encryption: `openssl pkey -in locked -out plain.pem`.",
    ),
    "password by a variable": (
        {"options": {}, "environ": {"ASGI_TLS_CERTFILE": "locked"}},
        "Set ASGI_TLS_KEYFILE_PASSWORD_FILE, or",
    ),
    "password of a pair": (
        {"options": {"certificate": ("example.com=locked",)}},
        "Remove the encryption: `openssl pkey -in locked -out plain.pem`.",
    ),
    "certbot": (
        {"options": {"letsencrypt": "example.com"}, "own": {"certfile": ("--certfile", None)}},
        "Let certbot issue the certificate first, or set --certfile and ASGI_TLS_KEYFILE to files",
    ),
}


@pytest.mark.parametrize(("places", "fix"), ALONE.values(), ids=ALONE)
def test_what_is_missing_beside_a_certificate_is_to_be_set_where_it_is_set(
    files: Files, places: dict[str, Any], fix: str
) -> None:
    pair = files.pki.leaf("example.com")
    Path("pairs").mkdir()
    for name in ("good", "pairs/good.pem"):
        Path(name).write_bytes(pair.chain_pem)
    Path("locked").write_bytes(pair.chain_pem + pair.encrypted_key_pem(b"secret"))
    found = given(**places)
    with pytest.raises(CertificateError) as caught, found.spelled():
        server_tls(found).check()
    assert caught.value.fix.startswith(fix)


def test_a_secret_is_in_no_error() -> None:
    with pytest.raises(ASGITLSError) as caught:
        server_tls(given(environ={"ASGI_TLS_TICKET_SECRET": "hunter2"}))
    assert "hunter2" not in str(caught.value)
