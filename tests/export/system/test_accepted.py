"""Each program's own checker accepts each export, and finds nothing to warn of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from files import Files
from proxies import PATH, PROXIES, checked, exported, pair_options
from servers import asgi_tls, run

from asgi_tls.profile import PROFILES

pytestmark = pytest.mark.system

OPTIONS = {
    "as it is": [],
    "all headers": ["--headers=all"],
    "no HSTS": ["--hsts=off"],
    "client certificates": ["--client-ca={ca}"],
    "optional client certificates": ["--client-ca={ca}", "--client-auth=optional"],
    "a Unix socket": ["--upstream=unix:/run/app.sock", "--address=127.0.0.1"],
    "IPv6 and other ports": ["--upstream=[::1]:8000", "--address=::1", "--http-port=8080", "--https-port=8443"],
    "other groups and suites": ["--tls-groups=P-384:X25519", "--tls-ciphersuites=TLS_AES_256_GCM_SHA384"],
    "many names": [f"--host=n{number}.example.org" for number in range(150)],
}
# Caddy tells what is as it should be: no responder in the certificate, redirects written out, client certificates,
# spaces for tabs.
EXPECTED_OF_CADDY = ("stapling OCSP", "automatic HTTPS is completely disabled", "strict SNI-Host", "not formatted")


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("program", PROXIES)
def test_accepted(program: str, profile: str, options: str, files: Files, tmp_path: Path) -> None:
    pair = pair_options(files.wildcard)
    given = [each.format(ca=files.ca) for each in OPTIONS[options]]
    path = exported(program, tmp_path, f"--tls-profile={profile}", *pair, *given)
    status, said = checked(program, path)
    assert status == 0, said
    complaints = [line for line in said.splitlines() if "warn" in line.lower()]
    if program == "caddy":
        complaints = [line for line in complaints if not any(each in line for each in EXPECTED_OF_CADDY)]
    assert not complaints


def test_the_checkers_would_find_what_is_wrong(files: Files, tmp_path: Path) -> None:
    for program in PROXIES:
        path = exported(program, tmp_path, *pair_options(files.wildcard))
        text = path.read_text(encoding="utf-8").replace("X25519", "X25518").replace("x25519", "x25518")
        path.write_text(text, encoding="utf-8")
        assert checked(program, path)[0] != 0


def test_caddy_gets_its_own_certificate_where_none_is_named(tmp_path: Path) -> None:
    path = exported("caddy", tmp_path, "--host=www.example.com")
    status, said = checked("caddy", path)
    assert status == 0, said
    assert "auto_https disable_redirects" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("profile", PROFILES)
def test_openssl_obeys_its_export(profile: str, tmp_path: Path) -> None:
    env = {"OPENSSL_CONF": str(exported("openssl", tmp_path, f"--tls-profile={profile}", "--version=3.0"))}
    for version, suites in (("-tls1_2", PROFILES[profile].ciphers), ("-tls1_3", PROFILES[profile].ciphersuites)):
        status, said = run(["openssl", "ciphers", "-s", version], env=env)
        assert status == 0, said
        assert {*said.strip().split(":")} - {""} == {*suites}


VERSION_OF = {"nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"], "caddy": ["caddy", "version"]}


@pytest.mark.parametrize("program", PROXIES)
def test_what_is_installed_is_asked(program: str, files: Files) -> None:
    own = re.search(r"\d+\.\d+\.\d+", run(VERSION_OF[program], env={"PATH": PATH})[1])
    assert own is not None
    command = asgi_tls("export", program, *pair_options(files.wildcard))
    status, said = run(command, env={"PATH": PATH})
    assert status == 0
    assert f"for {program} {own[0]}, by asgi-tls export." in said
    assert run(command, env={"PATH": PATH})[1] == said
