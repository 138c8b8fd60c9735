"""The copied demo: the commands that `asgi-tls new` prints, its image, its unit, its manifests: each run or checked."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from files import Files
from namespace import Network, private_network
from servers import Server, asgi_tls, run, serve

pytestmark = pytest.mark.system

REPOSITORY = Path(__file__).parents[2]
READY = "Uvicorn running on"


@dataclass(frozen=True)
class Project:
    """A copy whose environment is installed; `start` and `call` are the last two of the printed commands."""

    directory: Path
    home: Path
    start: str
    call: str
    network: Network

    def serve(self, command: str, **environment: str) -> Any:
        line = self.network.inside(["bash", "-c", f"exec {command}"])
        return serve(line, ready=READY, cwd=self.directory, env={"HOME": str(self.home), **environment})

    def run(self, command: str, **environment: str) -> tuple[int, str]:
        line = self.network.inside(["bash", "-c", command])
        return run(line, cwd=self.directory, env={"HOME": str(self.home), **environment})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """What the printed commands make. It takes half a minute, so that workers of the test run share it."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "new"
    directory.mkdir(exist_ok=True)
    said = directory / "said.txt"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            draft = directory / "draft.txt"
            draft.write_text(install(directory), encoding="utf-8")
            draft.rename(said)
    *_, start, call = re.findall(r"^    (\S.*)$", said.read_text(encoding="utf-8"), re.MULTILINE)
    with private_network() as network:
        home = tmp_path_factory.mktemp("home")
        yield Project(directory / "demo", home, start, call, network)


def install(directory: Path) -> str:
    """Run what `asgi-tls new` prints, up to the server, with this tree's wheel in the registry's place."""
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(directory / "dist"), str(REPOSITORY)]
    subprocess.run(wheel, check=True)
    status, text = run(asgi_tls("new", "demo"), cwd=directory)
    assert status == 0
    *commands, _, _ = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    links = f"{directory / 'dist'} {os.environ.get('PIP_FIND_LINKS', '')}"
    subprocess.run(
        ["bash", "-e", "-c", "\n".join(commands)],
        cwd=directory,
        env={**os.environ, "PIP_FIND_LINKS": links, "PIP_QUIET": "1", "PIP_NO_COMPILE": "1"},
        check=True,
    )
    # Not the package of the tests: that of the new environment.
    found = subprocess.run(
        [directory / "demo/.venv/bin/python", "-c", "import asgi_tls; print(asgi_tls.__file__)"],
        cwd="/", capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert found.startswith(str(directory / "demo"))
    return text


def stop(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) in {0, -signal.SIGTERM}, server.text


def test_the_printed_commands_serve_it(project: Project) -> None:
    with project.serve(project.start) as server:
        status, text = project.run(project.call.replace("curl ", "curl -sS ", 1))
        assert status == 0, text
        facts = json.loads(text)
        assert (facts["protocol"], facts["server_name"]) == ("TLSv1.3", "localhost")
        assert facts["alpn"] == "http/1.1"
        stop(server)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile whose lines are not continued."""
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    assert not any(line.endswith("\\") for line in lines)
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_builds_and_serves_and_its_linter_is_content(project: Project, files: Files, tmp_path: Path) -> None:
    status, text = run(["hadolint", str(project.directory / "Dockerfile")], env={"PATH": tool_path()})
    assert (status, text) == (0, "")
    steps = instructions(project.directory / "Dockerfile")
    assert ("USER", "10001:10001") in steps
    assert [rest for name, rest in steps if name == "FROM"] == ["python:3.13-slim"]
    image, environment = tmp_path / "srv", {"PATH": f"{project.directory}/.venv/bin:{os.environ['PATH']}"}
    image.mkdir()
    ignored = (project.directory / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*"
    context = [path for pattern in ignored[1:] for path in project.directory.glob(pattern.removeprefix("!"))]
    assert {"app.py", "check_health.py", "requirements.txt"} <= {path.name for path in context}
    for name, rest in steps:
        if name == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif name == "COPY":
            *sources, target = rest.split()
            assert target == "./"
            copied = [path for path in context if sources == ["."] or path.name in sources]
            assert copied
            for path in copied:
                shutil.copy(path, image)
        elif name == "RUN":
            assert run(["sh", "-c", rest], cwd=image, env=environment)[0] == 0
    pair = {
        "ASGI_TLS_CERTFILE": str(files.ecdsa.certfile),
        "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile),
    }
    assert {*pair} <= {*environment}
    command = json.loads(next(rest for name, rest in steps if name == "CMD"))
    check = next(rest for name, rest in steps if name == "HEALTHCHECK").partition("CMD ")[2]
    health = project.network.inside(json.loads(check))
    # Without its certificate it does not start; the health check knows.
    status, text = run(project.network.inside(command), cwd=image, env=environment)
    assert status == 3
    assert "/etc/tls/fullchain.pem" in text
    assert run(health, cwd=image, env=environment) == (1, "")
    with serve(project.network.inside(command), ready=READY, cwd=image, env=environment | pair) as server:
        assert run(health, cwd=image, env=environment) == (0, "")
        stop(server)


def test_the_unit_is_one_that_systemd_takes_and_its_command_serves(
    project: Project, files: Files, tmp_path: Path
) -> None:
    text = (project.directory / "deploy/app.service").read_text(encoding="utf-8")
    unit = tmp_path / "app.service"
    unit.write_text(text.replace("/srv/app", str(project.directory)))
    status, said = run(["systemd-analyze", "verify", "--man=no", str(unit)])
    assert (status, [line for line in said.splitlines() if "app.service" in line]) == (0, [])
    status, said = run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)])
    assert status == 0, said
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
    # A start that fails is tried again, whatever its status: uvicorn has 3 for an application that is not ready, too.
    assert (settings["Restart"], settings["StartLimitIntervalSec"]) == ("on-failure", "0")
    assert "RestartPreventExitStatus" not in settings
    # What it takes for granted is made by the steps at its top, and what it writes has a place.
    assert f"groupadd --system --force {settings['SupplementaryGroups']}\n" in text
    assert f"python3 -m venv {settings['ExecStart'].partition('/bin/')[0]} " in unit.read_text()
    assert {settings["CacheDirectory"], settings["StateDirectory"]} == {"app"}
    environment = re.findall(r"^Environment=(ASGI_TLS_\w+)", text, re.MULTILINE)
    assert {"ASGI_TLS_CERTFILE", "ASGI_TLS_KEYFILE"} == {*environment}
    pair = {"ASGI_TLS_CERTFILE": str(files.ecdsa.certfile), "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile)}
    with project.serve(settings["ExecStart"], **pair) as server:
        status, answer = project.run("curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' http://localhost/tls")
        assert answer == "307 https://localhost/tls"
        reload = settings["ExecReload"].replace("$MAINPID", str(server.process.pid))
        assert run(shlex.split(reload))[0] == 0
        status, answer = project.run(f"curl -sS --cacert {files.ca} https://localhost/tls")
        assert json.loads(answer)["protocol"] == "TLSv1.3"
        stop(server)
    assert "reloading certificates, as requested" in server.text


def test_the_manifests_are_valid_and_the_secret_is_served(project: Project, files: Files, tmp_path: Path) -> None:
    path = project.directory / "deploy/kubernetes.yaml"
    kinds = {each["kind"]: each for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))}
    # cert-manager's own kinds are in no schema of Kubernetes.
    known = tmp_path / "known.yaml"
    known.write_text("---\n".join(yaml.safe_dump(kinds[kind]) for kind in ("Deployment", "Service")))
    status, said = run(["kubernetes-validate", "--strict", str(known)], env={"PATH": tool_path()})
    assert status == 0, said
    template = kinds["Deployment"]["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    secret = kinds["Certificate"]["spec"]["secretName"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    assert volumes["tls"]["secret"]["secretName"] == secret
    assert "subPath" not in mounts["tls"]
    assert kinds["Certificate"]["spec"]["issuerRef"]["name"] == kinds["Issuer"]["metadata"]["name"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert {each["port"]: each["targetPort"] for each in kinds["Service"]["spec"]["ports"]} == {
        443: "https",
        80: "http",
    }
    assert {"https", "http"} == {*ports}
    assert (
        kinds["Service"]["spec"]["selector"].items()
        <= kinds["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    )
    # As the kubelet mounts it.
    data = tmp_path / "tls/..2026"
    files.pki.leaf("localhost").write(data, certfile="tls.crt", keyfile="tls.key")
    (data / "tls.key").chmod(0o440)
    (tmp_path / "tls/..data").symlink_to("..2026")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "tls" / name).symlink_to(f"..data/{name}")
    values = {each["name"]: each.get("value", "0123456789abcdef" * 4) for each in container["env"]}  # else of a Secret
    environment = {name: value.replace("/etc/tls", str(tmp_path / "tls")) for name, value in values.items()}
    # Those that never end make no handshake, which would be an event and a line each time.
    probe, plain = container["startupProbe"]["httpGet"], container["readinessProbe"]["tcpSocket"]
    assert container["livenessProbe"]["tcpSocket"] == plain
    assert str(ports[plain["port"]]) == environment["ASGI_TLS_REDIRECT_PORT"]
    command = f".venv/bin/asgi-tls uvicorn app:app --host 0.0.0.0 --port {ports[probe['port']]}"
    with project.serve(command, **environment) as server:
        asked = f"curl -sSk {probe['scheme'].lower()}://127.0.0.1:{ports[probe['port']]}{probe['path']}"
        assert project.run(asked) == (0, '{"status":"ok"}'), server.text
        # As a browser asks the balancer's port 80: it must not be led to the pod's own port.
        plain_url = f"http://127.0.0.1:{environment['ASGI_TLS_REDIRECT_PORT']}/tls"
        status, target = project.run(f"curl -sS -o /dev/null -w '%{{redirect_url}}' -H 'Host: localhost' {plain_url}")
        assert target == "https://localhost/tls"
        stop(server)
    assert f"Kubernetes secret {tmp_path / 'tls'}" in server.text
    assert "the key file" not in server.text


def tool_path() -> str:
    """Programs that come as Python packages lie beside the Python of the tests."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
