"""`asgi-tls new`: what it copies, what it refuses, what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from demo import DEMO
from files import Files
from servers import asgi_tls, run

from asgi_tls import KubernetesSecret, PEMFiles
from asgi_tls.certificate.sources import files_or_secret
from asgi_tls.servers.acme_settings import ordered
from asgi_tls.servers.given import read


def files_of(*directories: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for directory in directories
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(("example", "options"), [("starter", []), ("live", ["--example=live"])])
def test_it_copies_an_application_and_says_how_to_run_it(tmp_path: Path, example: str, options: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new/of two", "empty"):
        status, text = run(asgi_tls("new", name, *options), cwd=tmp_path)
        assert status == 0, text
        copied = files_of(tmp_path / name)
        assert copied == files_of(DEMO.parent / "common", DEMO.parent / example)
        assert {"app.py", "Dockerfile", ".dockerignore", "deploy/app.service", "README.md", "DEPLOY.md"} <= {*copied}
        assert not [*(tmp_path / name).rglob("__pycache__")]
        first, *_, last, curl = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
        assert shlex.split(first) == ["cd", name]
        assert last == ".venv/bin/asgi-tls uvicorn app:app --port 8443"
        assert curl.startswith("curl --cacert ")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: (path.mkdir(), (path / "mine").write_text("mine")), "is not empty"),
        (lambda path: path.write_text("mine"), "is not a directory"),
        (lambda path: path.symlink_to("nowhere"), "cannot write"),
    ],
    ids=["not empty", "a file", "a dead link"],
)
def test_it_overwrites_nothing(tmp_path: Path, make: object, said: str) -> None:
    target = tmp_path / "target"
    make(target)  # type: ignore[operator]
    before = files_of(tmp_path)
    status, text = run(asgi_tls("new", str(target)))
    assert status == 3
    assert said in text
    assert "Traceback" not in text
    assert files_of(tmp_path) == before


def test_the_starter_is_short_and_no_module_has_the_name_of_another_package() -> None:
    starter = (DEMO.parent / "starter/app.py").read_text(encoding="utf-8")
    assert len([line for line in starter.splitlines() if line.strip()]) <= 45
    for path in DEMO.parent.rglob("*.py"):
        assert path.stem == "app" or path.stem.startswith(("live_", "check_")), path


REDIS = "redis://127.0.0.1:1/0"
SETTING = re.compile(
    r"""^\#?Environment=(ASGI_TLS_\w+)=(\S+)$               # a unit
      | -e\ (ASGI_TLS_\w+)=(\S*)                            # docker run
      | ^\ *\#\ -\ \{name:\ (ASGI_TLS_\w+),\ value(?:From)?:\ (.+)\}$    # a manifest""",
    re.MULTILINE | re.VERBOSE,
)


@pytest.mark.parametrize("name", ["deploy/app.service", "deploy/kubernetes.yaml", "Dockerfile"])
def test_each_file_has_the_lines_for_automatic_https(tmp_path: Path, name: str) -> None:
    """What stands in its comments is what a server takes, and every copy lies where the container may write."""
    text = (DEMO.parent / "common" / name).read_text(encoding="utf-8")
    parts = [[part for part in found if part] for found in SETTING.findall(text)]
    environ = {found[0]: found[1] for found in parts if len(found) == 2}
    assert environ["ASGI_TLS_ACME"] == "www.example.com"
    for replaced in ("ASGI_TLS_CERTFILE", "ASGI_TLS_KEYFILE"):
        environ.pop(replaced, None)
    kept = environ.get("ASGI_TLS_ACME_STORAGE", "")
    if "secretKeyRef" in kept:
        environ["ASGI_TLS_ACME_STORAGE"] = REDIS
        assert "{name: tmp, mountPath: /tmp}" in text
        assert environ["ASGI_TLS_HOME"].startswith("/tmp/")
    elif kept:
        assert f"-v acme:{kept} " in text
    else:
        assert "\nStateDirectory=app\n" in text
    made = ordered(read(environ=environ).values)
    assert made is not None
    assert made.names == ("www.example.com",)


def test_a_mounted_secret_is_known_by_its_link(files: Files, tmp_path: Path) -> None:
    certfile, keyfile = files.pki.leaf("localhost").write(tmp_path, certfile="tls.crt", keyfile="tls.key")
    keyfile.chmod(0o640)
    assert files_or_secret(str(certfile), str(keyfile)) == PEMFiles(str(certfile), str(keyfile))
    (tmp_path / "..data").symlink_to("..2026")
    found = files_or_secret(str(certfile), str(keyfile))
    assert found == KubernetesSecret(tmp_path)
    assert not found.load().warnings
    for others in [(certfile, None), (certfile, tmp_path / "other.key"), (tmp_path / "other.crt", keyfile)]:
        assert isinstance(files_or_secret(*others), PEMFiles)
    assert isinstance(files_or_secret(certfile, keyfile, "secret"), PEMFiles)
