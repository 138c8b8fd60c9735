"""A server that cannot start safely does not start: exit status 3, one readable message, nothing in plain HTTP."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from files import Files
from handshakes import client, connect
from in_process import here
from launch import LAUNCHES, QUICK, Launch, split
from patience import PATIENCE, until
from servers import asgi_tls, run, serve

from asgi_tls import PEMFiles, ServerTLS, create_client_context
from asgi_tls.errors import ConfigurationError

ONE_EACH = [launch for launch in LAUNCHES if launch.workers == 1] + [Launch("gunicorn", "asgi")]
MANY = [launch for launch in LAUNCHES if launch.workers == 2]
ONE_OF_EACH_SERVER = {"uvicorn-asyncio-1", "hypercorn-uvloop-1", "gunicorn-asgi-1"}


@pytest.mark.parametrize("launch", [*ONE_EACH, *MANY], ids=str)
def test_a_key_of_another_certificate(files: Files, launch: Launch) -> None:
    """Some in processes of their own, as users start them; the others refuse by the same lines."""
    command = launch.command(PEMFiles(files.ecdsa.certfile, files.example.keyfile), {})
    status, text = run(command) if str(launch) in QUICK else here(command)
    assert status == 3, text
    assert text.count(str(files.example.keyfile)) == 1, text
    assert text.count("More: asgi-tls explain certificate-key-mismatch\n") == 1, text
    assert "Traceback" not in text


@pytest.mark.parametrize("launch", ONE_EACH, ids=str)
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"groups": "P-257"}, "unknown group 'P-257'"),
        ({"client_auth": "required"}, "is set without"),
        ({"client_ca": "/nonexistent/ca.pem"}, "/nonexistent/ca.pem"),
        ({"ciphers": "AES128-SHA"}, "AES128-SHA has no ephemeral"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_policy_that_cannot_be(files: Files, launch: Launch, settings: dict[str, str], says: str) -> None:
    status, text = here(launch.command(files.ecdsa, settings))
    assert status == 3, text
    assert text.count(says) == 1, text
    assert "Traceback" not in text


def test_a_misspelt_variable_is_not_ignored(files: Files) -> None:
    command = Launch("uvicorn", "asyncio").command(files.ecdsa, {})
    status, text = here(command, env={"ASGI_TLS_PROFIL": "modern"})
    assert status == 3
    assert "ASGI_TLS_PROFIL, which is not a setting. Did you mean ASGI_TLS_PROFILE?" in text


@pytest.mark.parametrize(
    ("command", "option", "says"),
    [
        ("uvicorn", "--ssl-ciphers=HIGH", "Use --tls-ciphersuites"),
        ("uvicorn", "--ssl-version=5", "Use --tls-profile"),
        ("uvicorn", "--ssl-ca-certs=ca.pem", "Use --tls-client-ca"),
        ("uvicorn", "--ssl-cert-reqs=2", "Use --tls-client-auth"),
        ("hypercorn", "--ciphers=HIGH", "Use --tls-ciphersuites"),
        ("hypercorn", "--ca-certs=ca.pem", "Use --tls-client-ca"),
        ("hypercorn", "--verify-mode=CERT_NONE", "Use --tls-client-auth"),
    ],
)
def test_an_option_of_the_server_that_would_have_no_effect(command: str, option: str, says: str) -> None:
    status, text = here(asgi_tls(command, "facts_app:app", option))
    assert status == 3
    assert says in text
    assert "Traceback" not in text


def test_gunicorns_worker_that_ignores_the_hook(files: Files) -> None:
    launch = Launch("gunicorn", "uvicorn_worker.UvicornWorker")
    command = launch.command(files.ecdsa, {})
    status, text = run(command)
    assert status == 3
    assert "ignores ssl_context" in text


def test_plain_hypercorn_with_our_module_refuses_its_own_options(files: Files) -> None:
    command = [sys.executable, "-m", "hypercorn", "-c", "python:asgi_tls.servers.hypercorn", "--bind=127.0.0.1:0"]
    pair = {"ASGI_TLS_CERTFILE": str(files.ecdsa.certfile), "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile)}
    for option, instead in (
        ("--certfile=other.pem", "ASGI_TLS_CERTFILE"),
        ("--ciphers=HIGH", "ASGI_TLS_CIPHERSUITES and ASGI_TLS_CIPHERS"),
        ("--verify-mode=CERT_NONE", "ASGI_TLS_CLIENT_AUTH"),
    ):
        status, text = run([*command, option, "facts_app:app"], env=pair)
        assert status == 3
        assert f"{option.partition('=')[0]} would have no effect. Use {instead} instead." in text
        assert text.endswith("More: asgi-tls explain configuration\n")
        assert "Traceback" not in text


SCRIPT = """
    import sys, {module}
    from asgi_tls import PEMFiles, ServerTLS

    if __name__ == "__main__":
        tls = ServerTLS(PEMFiles(*sys.argv[1:3]))
        {start}
"""


@pytest.mark.parametrize(
    ("module", "start"),
    [
        ("uvicorn", 'uvicorn.run("facts_app:app", port=0, **tls.uvicorn_kwargs())'),
        (
            "hypercorn.run",
            'hypercorn.run.run(tls.hypercorn_config(bind="127.0.0.1:0", application_path="facts_app"))',
        ),
    ],
)
def test_from_python_the_error_is_raised_before_anything_listens(
    files: Files, tmp_path: Path, module: str, start: str
) -> None:
    script = tmp_path / "start.py"
    script.write_text(textwrap.dedent(SCRIPT.format(module=module, start=start)))
    status, text = run([sys.executable, str(script), str(files.ecdsa.certfile), str(files.example.keyfile)])
    assert status == 1
    assert "KeyMismatchError" in text
    assert "unning on" not in text


def test_workers_that_cannot_start_end_their_parent(files: Files, tmp_path: Path) -> None:
    """A parent that has checked nothing: its workers find the key gone, and must not be started again and again."""
    certfile, keyfile = files.pki.leaf("localhost").write(tmp_path)
    script = tmp_path / "start.py"
    start = (
        "import pathlib; from asgi_tls.servers.uvicorn import UvicornContextFactory; "
        "pathlib.Path(sys.argv[2]).unlink(); "
        'uvicorn.run("facts_app:app", port=0, workers=2, ssl_context_factory=UvicornContextFactory(tls, []))'
    )
    script.write_text(textwrap.dedent(SCRIPT.format(module="uvicorn", start=start)))
    status, text = run([sys.executable, str(script), str(certfile), str(keyfile)], env={"PYTHONPATH": "."})
    assert "TLS cannot start" in text
    assert "More: asgi-tls explain certificate-missing-file\n" in text
    assert str(keyfile) in text
    assert "Traceback" not in text
    assert "stopping the parent" in text
    assert status == 0  # uvicorn's parent ends with 0 when a worker could not boot


def test_hypercorn_says_why_it_ends(files: Files) -> None:
    """It stops all its workers when one is killed, and says nothing."""
    with Launch("hypercorn", "asyncio").start(files.ecdsa, {}) as server:
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "reloading the certificates of 1 worker;" in server.text, server)
        context = create_client_context(cafile=files.ca)
        answer = httpx.get(f"https://localhost:{server.port}/", verify=context)
        os.kill(int(answer.headers["worker"]), signal.SIGKILL)
        assert server.process.wait(PATIENCE) == 128 + signal.SIGKILL
        until(lambda: "ERROR" in server.text, server)
        assert "ERROR: a worker was ended by signal 9, and hypercorn ends then" in server.text
        assert "Traceback" not in server.text


BROKEN = """
from asgi_tls import PEMFiles, ServerTLS
class Broken:
    def start(self, tell):
        raise RuntimeError("what nobody expects")
    def __call__(self, event):
        pass
tls = ServerTLS(PEMFiles({certfile!r}, {keyfile!r}), listeners=[Broken()])
ssl_context = tls.gunicorn_ssl_context
"""


@pytest.mark.parametrize("kind", ["asgi", "gthread", "sync"])
def test_an_error_that_nobody_expects_opens_no_plain_port(files: Files, tmp_path: Path, kind: str) -> None:
    """gunicorn's ASGI worker logs whatever its hook raises, and would serve plain HTTP. The others end at once too."""
    configuration = tmp_path / "gunicorn.conf.py"
    text = BROKEN.format(certfile=str(files.ecdsa.certfile), keyfile=str(files.ecdsa.keyfile))
    configuration.write_text(text, encoding="utf-8")
    own = ["-c", str(configuration), "-k", kind, "--bind=127.0.0.1:0", "facts_app:app"]
    status, text = run([sys.executable, "-m", "gunicorn", *own])
    assert status == 3, text
    assert "TLS cannot start" in text
    assert "RuntimeError: what nobody expects" in text
    assert "ASGI server listening" not in text


UNPRIVILEGED_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
# Also for root, who has the capability: it is dropped from what an executed program may have.
WITHOUT_THE_CAPABILITY = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE = 24, 10
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


NOT_FOR_ANYBODY = pytest.mark.skipif(
    not UNPRIVILEGED_PORTS.exists() or int(UNPRIVILEGED_PORTS.read_text()) <= 443,
    reason="anybody may use the port here",
)


@NOT_FOR_ANYBODY
@pytest.mark.parametrize("launch", split(ONE_EACH, ONE_OF_EACH_SERVER), ids=str)
def test_a_port_that_needs_privileges(files: Files, launch: Launch) -> None:
    for port, settings, says in (
        (443, {}, "127.0.0.1:443"),
        (8443, {"redirect_port": "80"}, "127.0.0.1:80"),
        (0, {"metrics": "127.0.0.1:81"}, "127.0.0.1:81"),
    ):
        command = launch.command(files.ecdsa, settings, port=port)
        status, text = run([sys.executable, "-c", WITHOUT_THE_CAPABILITY, *command])
        assert status == 3, text
        assert (
            text.count(f"cannot listen on {says}: Permission denied. Ports below 1024 need CAP_NET_BIND_SERVICE: ") == 1
        )
        assert "Traceback" not in text


@NOT_FOR_ANYBODY
@pytest.mark.parametrize("options", [["hypercorn", "-b"], ["gunicorn", "-k", "asgi", "-b"]], ids=lambda each: each[0])
def test_the_servers_own_commands_name_the_capability_as_well(files: Files, options: list[str]) -> None:
    env = {"ASGI_TLS_CERTFILE": str(files.ecdsa.certfile), "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile)}
    server, *more = options
    command = [sys.executable, "-m", server, "-c", f"python:asgi_tls.servers.{server}", *more, "127.0.0.1:443"]
    status, text = run([sys.executable, "-c", WITHOUT_THE_CAPABILITY, *command, "facts_app:app"], env=env)
    assert status == 3, text
    assert text.count("127.0.0.1:443: Permission denied. Ports below 1024 need CAP_NET_BIND_SERVICE: ") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize("launch", split(ONE_EACH, ONE_OF_EACH_SERVER), ids=str)
def test_an_application_that_cannot_be_imported(files: Files, launch: Launch) -> None:
    command = [part.replace("facts_app:", "nosuch_app:") for part in launch.command(files.ecdsa, {})]
    status, text = run(command)
    assert status not in {0, -9}, text
    assert "nosuch_app" in text


def test_a_file_of_the_environment_counts(files: Files, tmp_path: Path) -> None:
    """uvicorn's --env-file: our settings in it, the misspelt ones too, after those of the environment itself."""
    path = tmp_path / ".env"
    command = Launch("uvicorn", "asyncio").command(files.ecdsa, {}, f"--env-file={path}")
    command.remove("--workers=1")
    path.write_text("ASGI_TLS_PROFIL=modern\n", encoding="utf-8")
    status, text = here(command)
    assert (status, "ASGI_TLS_PROFIL, which is not a setting" in text) == (3, True)
    path.write_text("ASGI_TLS_GROUPS=P-257\n", encoding="utf-8")
    status, text = here(command)
    assert (status, "unknown group 'P-257'" in text) == (3, True)
    path.write_text("ASGI_TLS_PROFILE=modern\nASGI_TLS_GROUPS=P-257\nWEB_CONCURRENCY=2\n", encoding="utf-8")
    with serve(command, ready="Application startup complete", count=2, env={"ASGI_TLS_GROUPS": "P-384"}) as server:
        assert connect(server.port, client(ca=files.ca_text)).group == "P-384"
        with pytest.raises(OSError, match="PROTOCOL_VERSION|protocol version"):
            connect(server.port, client(maximum=ssl.TLSVersion.TLSv1_2))


@pytest.mark.parametrize(
    ("module", "start", "says"),
    [
        (
            "uvicorn",
            'uvicorn.run("facts_app:app", port=0, ssl_certfile=sys.argv[1], **tls.uvicorn_kwargs())',
            "uvicorn's ssl_certfile would have no effect",
        ),
        (
            "uvicorn",
            'uvicorn.run("facts_app:app", port=0, ssl_ciphers="HIGH", workers=2, **tls.uvicorn_kwargs())',
            "uvicorn's ssl_ciphers would have no effect",
        ),
    ],
)
def test_a_file_beside_server_tls_is_refused(files: Files, tmp_path: Path, module: str, start: str, says: str) -> None:
    script = tmp_path / "start.py"
    script.write_text(textwrap.dedent(SCRIPT.format(module=module, start=start)))
    command = [sys.executable, str(script), str(files.ecdsa.certfile), str(files.ecdsa.keyfile)]
    status, text = run(command, env={"PYTHONPATH": "."})
    assert says in text
    assert "ServerTLS has the certificates and the policy" in text
    assert "workers=2" in start or status != 0


def test_a_file_beside_server_tls_is_refused_for_hypercorn(files: Files) -> None:
    with pytest.raises(ConfigurationError, match="hypercorn's certfile would have no effect.*ServerTLS has the"):
        ServerTLS(files.ecdsa).hypercorn_config(certfile=str(files.ecdsa.certfile))
    config = ServerTLS(files.ecdsa).hypercorn_config()
    with pytest.raises(ConfigurationError, match="hypercorn's ciphers would have no effect"):
        config.ciphers = "HIGH"


def test_gunicorn_refuses_what_its_configuration_file_says_besides(files: Files, tmp_path: Path) -> None:
    configuration = tmp_path / "gunicorn.conf.py"
    pair = f"{str(files.ecdsa.certfile)!r}, {str(files.ecdsa.keyfile)!r}"
    text = f"from asgi_tls import PEMFiles, ServerTLS\nssl_context = ServerTLS(PEMFiles({pair})).gunicorn_ssl_context\n"
    configuration.write_text(text, encoding="utf-8")
    plain = [sys.executable, "-m", "gunicorn", "-k", "asgi", "facts_app:app"]
    for how, command, says in (
        (run, [*plain, "-c", str(configuration), "--ca-certs=ca.pem"], "gunicorn's ca_certs would have no effect"),
        (
            run,
            [*plain, "-c", str(configuration), f"--certfile={files.ecdsa.certfile}"],
            "gunicorn's certfile would have no",
        ),
        (
            here,
            asgi_tls("gunicorn", "facts_app:app", "-c", str(configuration)),
            "the ssl_context of gunicorn's configuration",
        ),
        (
            here,
            asgi_tls("gunicorn", "facts_app:app", "--ciphers=HIGH"),
            "Use --tls-ciphersuites and --tls-ciphers instead",
        ),
        (
            here,
            asgi_tls("gunicorn", "facts_app:app", "--check-config", "--certfile=none.pem"),
            "none.pem: no such file",
        ),
    ):
        status, text = how([*command, "--bind=127.0.0.1:0"])
        assert status == 3, text
        assert says in text
        assert "Traceback" not in text
