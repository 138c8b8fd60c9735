"""The commands that do not serve."""

from __future__ import annotations

import json
import platform
import re
import ssl
import stat
import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner
from files import Files
from handshakes import client, connect
from in_process import here
from ports import free_port
from servers import asgi_tls, await_port, run, serve

from asgi_tls import INTERMEDIATE, MODERN, PEMFiles, _openssl
from asgi_tls.cli import main


def test_help_names_every_command_and_imports_none_of_them() -> None:
    status, text = run(asgi_tls("--help"))
    assert status == 0
    for command in ("uvicorn", "hypercorn", "cert", "ca", "doctor", "explain", "flags"):
        assert re.search(rf"^  {command} ", text, re.MULTILINE)
    script = "import sys, asgi_tls.cli; sys.argv = ['asgi-tls', '--help']\n"
    script += "try: asgi_tls.cli.main()\n"
    script += "except SystemExit: print({'uvicorn', 'hypercorn', 'cryptography'} & {*sys.modules})"
    status, text = run([sys.executable, "-c", script])
    assert text.endswith("set()\n")


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "gunicorn"])
def test_the_servers_help_shows_their_options_and_ours(server: str) -> None:
    status, text = here(asgi_tls(server, "--help"))
    assert status == 0
    assert "--tls-profile" in text
    assert "ASGI_TLS_PROFILE" in text
    assert "--ssl-certfile" in text if server == "uvicorn" else "--certfile" in text
    assert "--workers" in text
    for heading, words in (("Policy:", "[default: intermediate]"), ("Connections:", "[default: 10]")):
        assert words in " ".join(text.partition(f"\n{heading}\n")[2].split())[:600]


def test_every_option_of_the_installed_uvicorn_is_there() -> None:
    import uvicorn

    from asgi_tls.cli.serve import uvicorn_command

    ours = {option for parameter in uvicorn_command.params for option in parameter.opts}
    assert {option for parameter in uvicorn.main.params for option in parameter.opts} <= ours


def test_doctor_says_what_is_there() -> None:
    status, text = run(asgi_tls("doctor", "--json"))
    report = json.loads(text)
    assert status == 0
    assert report["openssl"] == ssl.OPENSSL_VERSION
    assert (report["asgi_tls"], report["cryptography"]) == (
        metadata.version("asgi-tls"),
        metadata.version("cryptography"),
    )
    assert platform.platform() in report["system"]
    assert report["capabilities"]["groups"]
    assert report["capabilities"]["stapling"] == "libssl"
    assert set(report["profiles"]) == {"modern", "intermediate"}
    supported = _openssl.supported_groups()
    assert supported is not None
    lost = {loss["what"] for loss in report["profiles"]["modern"]}
    assert lost == {f"no group {name}" for name in MODERN.groups if name not in supported}
    assert [*report["acme"]] == ["acme", "port 80", "port 443", "acme storage"]
    long = f"/dev/shm/{'app' * 50}"
    status, text = here(asgi_tls("doctor"), env={"STATE_DIRECTORY": long, "COLUMNS": "80"})
    assert status == 0
    assert f"{long}/acme is in memory, and lost at the next start" in text
    assert text.splitlines()[0].split() == ["asgi-tls", report["asgi_tls"]]
    assert all(line == line.rstrip() for line in text.splitlines())
    for value in (report["system"], report["cryptography"], report["python"]):
        assert value in text
    for storage, words in (
        ("/dev/shm/own", "/dev/shm/own is in memory"),
        ("redis://:topsecret@127.0.0.1/0", "a Redis"),
    ):
        own = json.loads(here(asgi_tls("doctor", "--json"), env={"ASGI_TLS_ACME_STORAGE": storage})[1])
        assert own["acme"]["acme storage"].startswith(words)
        assert "topsecret" not in str(own)
    assert ssl.OPENSSL_VERSION in text
    assert "uvicorn" in text


def test_cert_makes_and_keeps_a_certificate(tmp_path: Path) -> None:
    env = {"ASGI_TLS_HOME": str(tmp_path / "home")}
    names = ("localhost", "*.app.example", "127.0.0.1", "::1")
    status, text = run(asgi_tls("cert", *names), env=env)
    assert status == 0
    assert text.startswith("Made a certificate for localhost, *.app.example, 127.0.0.1, ::1\n")
    paths = dict(re.findall(r"^(\w+) +(/.*)$", text, re.MULTILINE))
    certificate = PEMFiles(paths["certificate"], paths["key"]).load()
    assert certificate.subject_alt_names == names
    assert certificate.key_type == "ECDSA P-256"
    assert stat.S_IMODE(Path(paths["key"]).stat().st_mode) == 0o600
    assert stat.S_IMODE((Path(paths["trust"]).parent / "ca-key.pem").stat().st_mode) == 0o400
    assert here(asgi_tls("cert", *names), env=env)[1].startswith("Kept a certificate")
    assert here(asgi_tls("ca", "path"), env=env) == (0, paths["trust"] + "\n")
    status, text = here(asgi_tls("cert", "not a name"), env=env)
    assert status == 3
    assert "Traceback" not in text


def test_a_development_certificate_satisfies_a_strict_client(tmp_path: Path) -> None:
    from memory import handshake

    from asgi_tls import ServerTLS, create_client_context
    from asgi_tls.dev.ca import LocalCA

    ca = LocalCA(tmp_path)
    issued = ca.issue(["localhost", "127.0.0.1"])
    server = ServerTLS(PEMFiles(issued.certfile, issued.keyfile)).create_context()
    handshake(server, create_client_context(cafile=ca.certificate_path))


def test_the_configuration_of_flags_is_written_where_nobody_else_can_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may name libraries, which OpenSSL loads."""
    monkeypatch.setenv("ASGI_TLS_HOME", str(tmp_path))
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    (tmp_path / "openssl-modern.cnf").symlink_to(precious)
    command = ["flags", "uvicorn", "--tls-profile", "modern"]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert precious.read_text() == "as it was"
    assert "openssl_conf = asgi_tls" in (tmp_path / "openssl-modern.cnf").read_text()
    tmp_path.chmod(0o777)
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 3
    assert "can be written by others" in refused.output


# Plain servers on asyncio hang up without the alert.
REFUSED = "(?i)alert|EOF occurred|reset by peer"


@pytest.mark.parametrize(
    ("server", "profile", "tls_1_2"),
    [
        ("uvicorn", "modern", False),
        ("uvicorn", "intermediate", True),
        ("hypercorn", "modern", True),  # hypercorn sets its own minimum: the command says so
        ("gunicorn", "modern", False),
        ("granian", "modern", False),
        ("granian", "intermediate", True),
        pytest.param("hypercorn", "intermediate", True, marks=pytest.mark.system),
        pytest.param("gunicorn", "intermediate", True, marks=pytest.mark.system),
    ],
)
def test_flags_bring_the_plain_server_near(
    files: Files, tmp_path: Path, server: str, profile: str, tls_1_2: bool
) -> None:
    conf = tmp_path / "openssl.cnf"
    pair = [f"--certfile={files.ecdsa.certfile}", f"--keyfile={files.ecdsa.keyfile}"]
    policy = [f"--tls-profile={profile}", "--tls-groups=P-384", f"--openssl-conf={conf}"]
    status, text = here(asgi_tls("flags", server, *policy, *pair))
    assert status == 0
    assert ("TLS 1.2 stays open" in text) == (server == "hypercorn" and profile == "modern")
    line = text.splitlines()[0].replace(" APP", " facts_app:app")
    where = {
        "uvicorn": ("--port 0", "Uvicorn running on"),
        "hypercorn": ("-b 127.0.0.1:0", "Running on https"),
        "gunicorn": ("-b 127.0.0.1:0", "Booting worker"),
        "granian": (f"--port {free_port()}", "Listening at"),
    }
    option, ready = where[server]
    scripts = str(Path(sys.executable).parent)
    shell = f"export PATH={scripts}:$PATH; exec env {line} {option}"
    with serve(["/bin/sh", "-c", shell], ready=ready) as running:
        port = running.port or int(option.split()[1])
        await_port(port)  # granian listens a moment after it has said so
        groups = [] if server == "granian" else ["P-384"]
        result = connect(port, client(ca=files.ca_text, groups=groups), path=None)
        assert result.protocol == "TLSv1.3"
        if server != "granian":
            with pytest.raises(OSError, match=REFUSED):
                connect(port, client(groups=["X25519"]), path=None)
        old = client(maximum=ssl.TLSVersion.TLSv1_2)
        if tls_1_2:
            assert connect(port, old, path=None).cipher in INTERMEDIATE.ciphers
        else:
            with pytest.raises(OSError, match=REFUSED):
                connect(port, old, path=None)
