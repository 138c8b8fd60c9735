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
