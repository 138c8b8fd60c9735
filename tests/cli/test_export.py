"""`asgi-tls export`: where its facts come from, and what it refuses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from cryptography import x509
from files import Files
from in_process import RUNNER
from servers import asgi_tls, run

from asgi_tls import PEMFiles, _openssl
from asgi_tls.cli import main


def export(*arguments: str) -> Result:
    return RUNNER.invoke(main, ["export", *arguments])


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


def test_names_that_no_client_accepts_are_left_out(files: Files, tmp_path: Path) -> None:
    names = tuple(map(x509.DNSName, ("*", "*.com", "f*.bar.net", "a.test")))
    found = PEMFiles(*files.pki.leaf(san_names=names).write(tmp_path))
    assert "server_name a.test;" in export("nginx", "--version=1.22", *pair(found)).stdout


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


def test_the_applications_side_beside_the_configuration_or_alone(files: Files, tmp_path: Path) -> None:
    done = export("caddy", "--print-app", *pair(files.example), "--upstream=unix:/run/app.sock")
    assert done.exit_code == 0
    assert "uvicorn app:app --uds /run/app.sock --proxy-headers --forwarded-allow-ips '*'" in done.stdout
    assert 'app.add_middleware(TLSMiddleware, hosts=["www.example.com"])' in done.stdout
    assert "reverse_proxy" not in done.stdout
    path = tmp_path / "Caddyfile"
    both = export("caddy", "--print-app", *pair(files.example), "--upstream=unix:/run/app.sock", f"--output={path}")
    assert both.exit_code == 0
    assert both.stdout == done.stdout
    assert "reverse_proxy" in path.read_text(encoding="utf-8")


def test_openssl_by_its_version_and_by_this_pythons() -> None:
    assert "Groups = X25519:P-256:P-384" in export("openssl", "--version=3.0").stdout
    assert "Groups = X25519MLKEM768/X25519/P-256/P-384" in export("openssl", "--version=3.5").stdout
    has_it = "X25519MLKEM768" in (_openssl.supported_groups() or ())
    assert ("Groups = X25519MLKEM768/" in export("openssl").stdout) == has_it


SAID = run(["openssl", "version"])[1] if shutil.which("openssl") else ""
HERE = tuple(map(int, SAID.split()[1].split(".")[:2])) if SAID.startswith("OpenSSL ") else (0, 0)


@pytest.mark.skipif(HERE < (3, 5), reason=f"the program openssl is {HERE}, and has no tuples of groups")
def test_openssl_itself_keeps_the_order(files: Files, tmp_path: Path) -> None:
    conf = tmp_path / "openssl.cnf"
    assert export("openssl", f"--version={HERE[0]}.{HERE[1]}", f"--output={conf}").exit_code == 0
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(files.ecdsa.certfile)]
    with subprocess.Popen(
        [*command, "-key", str(files.ecdsa.keyfile)], env={**os.environ, "OPENSSL_CONF": str(conf)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        port = next(line for line in server.stdout if line.startswith("ACCEPT ")).rpartition(":")[2].strip()
        said = run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-groups", "P-384:X25519"])[1]
        server.terminate()
    assert "Temp Key: X25519" in said  # the client's first key share is for P-384


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nginx", "--version=1.16"], "1.18 to 1.30"),
        (["nginx", "--version=1.99"], "1.18 to 1.30"),
        (["haproxy", "--version=banana"], "2.4 to 3.2"),
        (["haproxy", "--version=banana"], "--version 'banana' is not a version of HAProxy"),
        (["nginx", "--version=1.22", "--openssl=1.0.2"], "1.1.1 to 4.0"),
        (["nginx", "--version=1.22", "--openssl=new"], "--openssl 'new' is not a version of OpenSSL"),
        (["nginx", "--version=1.22", "--key=/k.pem"], "--key is given without --certificate"),
        (["nginx", "--version=1.22", "--upstream=nowhere"], "--upstream is 'nowhere'"),
        (["nginx", "--version=1.22", "--hsts=max-age"], "max-age once"),
        (["nginx", "--version=1.22", "--tls-groups=P-999"], "unknown group"),
        (["nginx", "--version=1.22", "--address=here"], "--address 'here'"),
        (["nginx", "--version=1.22", "--output=/nowhere/file"], "--output: cannot write /nowhere/file"),
        (["nginx", "--version=1.22", "--client-auth=optional"], "--client-auth has no effect without --client-ca"),
        (["caddy", "--version=2.6", "--openssl=3.5"], "--openssl has no effect on an export for Caddy"),
        *(
            (["openssl", option], f"{option.partition('=')[0]} has no effect on an export for OpenSSL")
            for option in (
                "--host=example.com",
                "--certificate=/c.pem",
                "--key=/k.pem",
                "--client-ca=/ca.pem",
                "--client-auth=required",
                "--upstream=127.0.0.1:8000",
                "--address=::1",
                "--http-port=80",
                "--https-port=443",
                "--hsts=off",
                "--headers=hsts",
                "--openssl=3.5",
                "--print-app",
            )
        ),
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
    assert str(files.rsa.keyfile) in done.stderr
    assert "asgi-tls explain certificate-key-mismatch" in done.stderr
    done = export("nginx", "--version=1.22", *pair(files.example), "--host=other.example")
    assert done.exit_code == 3
    assert "is for www.example.com, and not for other.example" in done.stderr


def test_the_file_is_the_same_each_time(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    texts = []
    for _ in range(2):
        assert export("nginx", "--version=1.22", *pair(files.ecdsa), f"--output={path}").exit_code == 0
        texts.append(path.read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
