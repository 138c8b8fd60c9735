"""`asgi-tls export`: where its facts come from, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from files import Files
from servers import asgi_tls, run

from asgi_tls import PEMFiles, _openssl
from asgi_tls.cli import main


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


def pair(files: PEMFiles) -> list[str]:
    return [f"--certificate={files.certfile}", f"--key={files.keyfile}"]


def test_the_command_itself(files: Files) -> None:
    status, text = run(asgi_tls("export", "nginx", "--version=1.22", *pair(files.example)))
    assert status == 0
    assert "for nginx 1.22, by asgi-tls export" in text
    assert "server_name www.example.com;" in text
    assert text.rstrip().splitlines()[-1].startswith("- ")  # what is lost, on stderr


def test_names_are_those_of_the_certificate_and_addresses_are_left_out(files: Files) -> None:
    done = export("haproxy", "--version=3.0", *pair(files.ecdsa))
    assert re.findall(r"-m str (.*)", done.stdout) == ["localhost", "localhost"]
    assert "ocsp-update" not in done.stdout  # this certificate names no responder
    done = export("haproxy", "--version=3.0", *pair(files.wildcard), "--host=*.example.org")
    assert "-m end .example.org" in done.stdout


def test_a_responder_in_the_certificate_is_asked(files: Files, tmp_path: Path) -> None:
    found = PEMFiles(*files.pki.leaf("www.example.com", ocsp="http://ocsp.example/").write(tmp_path))
    assert "ssl_stapling on;" in export("nginx", "--version=1.22", *pair(found)).stdout


def test_a_certificate_elsewhere_is_certbots(files: Files) -> None:
    done = export("nginx", "--version=1.22", "--host=unknown.example", "--host=www.unknown.example")
    assert 'ssl_certificate "/etc/letsencrypt/live/unknown.example/fullchain.pem";' in done.stdout
    assert 'ssl_certificate_key "/etc/letsencrypt/live/unknown.example/privkey.pem";' in done.stdout
    assert "ssl_stapling on;" in done.stdout
    done = export("caddy", "--version=2.6", "--host=unknown.example")
    assert "letsencrypt" not in done.stdout


def test_headers_of_the_profile_and_of_the_user(files: Files) -> None:
    def text(*options: str) -> str:
        return export("haproxy", "--version=3.0", *pair(files.example), *options).stdout

    assert "'max-age=63072000; includeSubDomains'" in text()
    assert "X-Frame-Options" not in text()
    assert "'max-age=300'" in text("--hsts=max-age=300")
    assert "max-age" not in text("--hsts=off")
    assert "http-after-response set-header X-Frame-Options 'DENY' unless" in text("--headers=all")


def test_the_applications_side(files: Files) -> None:
    done = export("caddy", "--print-app", *pair(files.example), "--upstream=unix:/run/app.sock")
    assert done.exit_code == 0
    assert "uvicorn app:app --uds /run/app.sock --proxy-headers --forwarded-allow-ips '*'" in done.stdout
    assert 'app.add_middleware(TLSMiddleware, hosts=["www.example.com"])' in done.stdout
    assert "reverse_proxy" not in done.stdout


def test_openssl_by_its_version_and_by_this_pythons() -> None:
    assert "Groups = X25519:P-256:P-384" in export("openssl", "--version=3.0").stdout
    assert "Groups = X25519MLKEM768:X25519:P-256:P-384" in export("openssl", "--version=3.5").stdout
    has_it = "X25519MLKEM768" in (_openssl.supported_groups() or ())
    assert ("X25519MLKEM768" in export("openssl").stdout) == has_it


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nginx", "--version=1.16"], "1.18 to 1.30"),
        (["nginx", "--version=1.99"], "1.18 to 1.30"),
        (["haproxy", "--version=banana"], "2.4 to 3.2"),
        (["nginx", "--version=1.22", "--openssl=1.0.2"], "1.1.1 to 3.6"),
        (["nginx", "--version=1.22", "--key=/k.pem"], "without a certificate"),
        (["nginx", "--version=1.22", "--upstream=nowhere"], "no upstream"),
        (["nginx", "--version=1.22", "--hsts=max-age"], "max-age once"),
        (["nginx", "--version=1.22", "--tls-groups=P-999"], "unknown group"),
        (["nginx", "--version=1.22", "--address=here"], "no address"),
        (["nginx", "--version=1.22", "--output=/nowhere/file"], "cannot write /nowhere/file"),
        (["openssl", "--host=example.com"], "serves no site"),
        (["openssl", "--client-ca=/ca.pem"], "--client-ca"),
        (["openssl", "--print-app"], "--print-app"),
    ],
)
def test_what_is_refused(arguments: list[str], says: str) -> None:
    host = [] if arguments[0] == "openssl" else ["--host=example.com"]
    done = export(*arguments, *host)
    assert done.exit_code == 3
    assert says in done.stderr
    assert done.stdout == ""


def test_no_name_at_all() -> None:
    done = export("nginx", "--version=1.22")
    assert done.exit_code == 3
    assert "--host" in done.stderr


def test_a_certificate_that_would_not_be_served_is_refused(files: Files, tmp_path: Path) -> None:
    done = export("nginx", "--version=1.22", f"--certificate={files.ecdsa.certfile}", f"--key={files.rsa.keyfile}")
    assert done.exit_code == 3
    assert "belongs to another certificate" in done.stderr or "does not" in done.stderr
    done = export("nginx", "--version=1.22", *pair(files.example), "--host=other.example")
    assert done.exit_code == 3
    assert "does not name other.example" in done.stderr


def test_the_file_is_the_same_each_time(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    texts = []
    for _ in range(2):
        assert export("nginx", "--version=1.22", *pair(files.ecdsa), f"--output={path}").exit_code == 0
        texts.append(path.read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
