"""Our lines under each server: each once, and not lost to a logging configuration that forgets them."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from files import Files
from launch import Launch
from patience import until
from renewals import Site
from servers import APP_DIRECTORY, Server, run, serve

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.events import Notice

# As in Python's own examples: `disable_existing_loggers` is not named, and true.
FORGETFUL: dict[str, Any] = {
    "version": 1,
    "formatters": {"theirs": {"format": "THEIRS %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "theirs"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
INI = """
[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=theirs
[logger_root]
level=INFO
handlers=console
[handler_console]
class=StreamHandler
formatter=theirs
args=()
[formatter_theirs]
format=THEIRS %(levelname)s %(name)s %(message)s
"""


def eventually(server: Server, words: str, count: int = 1) -> None:
    until(lambda: server.text.count(words) >= count, server)


def check(server: Server, site: Site, *, style: str) -> None:
    """The line of the start, and that of a renewal that failed: once each, in the style of the application."""
    eventually(server, f"serving {site.source.certfile}")
    Path(site.source.certfile).write_bytes(b"")
    os.kill(server.process.pid, signal.SIGHUP)
    eventually(server, "kept the old certificate")
    time.sleep(0.3)  # for a second one
    for words in (f"serving {site.source.certfile}", "kept the old certificate"):
        lines = [line for line in server.text.splitlines() if words in line]
        assert len(lines) == 1, server.text
        assert lines[0].startswith(style), lines


@pytest.mark.parametrize("launch", [Launch("uvicorn", "asyncio"), Launch("hypercorn", "uvloop")], ids=str)
def test_a_configuration_of_the_server_that_switches_other_loggers_off(
    files: Files, tmp_path: Path, launch: Launch
) -> None:
    site = Site(files.pki, tmp_path)
    path = tmp_path / "logging.json"
    path.write_text(json.dumps(FORGETFUL), encoding="utf-8")
    (tmp_path / "logging.ini").write_text(INI, encoding="utf-8")
    option = f"--log-config={path}" if launch.server == "uvicorn" else f"--log-config={tmp_path / 'logging.ini'}"
    command = launch.command(site.source, {"reload_interval": "600"}, option)
    with serve(command, ready="serving ") as server:
        check(server, site, style="THEIRS ")


@pytest.mark.parametrize(
    ("launch", "options"),
    [
        (Launch("uvicorn", "uvloop"), []),
        (Launch("hypercorn", "asyncio"), []),
        (Launch("hypercorn", "asyncio"), ["--workers=0"]),
    ],
    ids=str,
)
def test_an_application_that_switches_other_loggers_off(
    files: Files, tmp_path: Path, launch: Launch, options: list[str]
) -> None:
    site = Site(files.pki, tmp_path)
    (tmp_path / "quiet_app.py").write_text(
        f"import logging.config\nlogging.config.dictConfig({FORGETFUL!r})\nfrom facts_app import app\n",
        encoding="utf-8",
    )
    command = [
        part.replace("facts_app:app", "quiet_app:app")
        for part in launch.command(site.source, {"reload_interval": "600"}, *options)
    ]
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{APP_DIRECTORY}"}
    with serve(command, ready="serving ", env=env) as server:
        eventually(server, f"serving {site.source.certfile}")
        Path(site.source.certfile).write_bytes(b"")
        time.sleep(0.5)  # the application is imported, and the handler of SIGHUP set
        os.kill(server.process.pid, signal.SIGHUP)
        eventually(server, "kept the old certificate")
        lines = [line for line in server.text.splitlines() if "kept the old certificate" in line]
        assert len(lines) == 1, server.text
        assert lines[0].startswith("THEIRS ERROR asgi_tls"), lines


def test_json_lines_outlive_it(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "logging.json"
    path.write_text(json.dumps(FORGETFUL), encoding="utf-8")
    launch = Launch("uvicorn", "asyncio", 2)
    command = launch.command(files.ecdsa, {"log_json": "1"}, f"--log-config={path}")
    with serve(command, ready="tls_certificate_loaded", count=2) as server:
        lines = [line for line in server.text.splitlines() if "tls_certificate_loaded" in line]
        assert [json.loads(line)["event"] for line in lines] == ["tls_certificate_loaded"] * 2


def test_a_level_silences_ours() -> None:
    script = f"""
import logging, logging.config
class Theirs(logging.Logger): theirs = True
logging.setLoggerClass(Theirs)
from asgi_tls.listeners.log import logger
assert logger.theirs and logging.getLogger("asgi_tls") is logger
for level in ("CRITICAL", "ERROR"):
    logging.config.dictConfig({{**{FORGETFUL!r}, "loggers": {{"asgi_tls": {{"level": level}}}}}})
    logger.error("beside %s", level)
logging.config.dictConfig({FORGETFUL!r})
logger.error("not named")
"""
    status, text = run([sys.executable, "-c", script])
    assert (status, text) == (0, "THEIRS ERROR asgi_tls beside ERROR\nTHEIRS ERROR asgi_tls not named\n")


@pytest.mark.parametrize(
    "launch",
    [
        Launch("uvicorn", "uvloop", 2),
        Launch("hypercorn", "asyncio", 2),
        Launch("gunicorn", "asgi", 2),
        pytest.param(Launch("uvicorn", "asyncio"), marks=pytest.mark.system),
    ],
    ids=str,
)
def test_a_start_warns_once_whatever_the_number_of_workers(files: Files, tmp_path: Path, launch: Launch) -> None:
    """And not at all of what is to be quiet."""
    pair = PEMFiles(*files.pki.leaf("localhost", intermediate=False).write(tmp_path))
    Path(pair.keyfile or "").chmod(0o644)
    assert {"no-intermediate", "open-file"} <= {each.code for each in ServerTLS(pair).check()}
    with launch.start(pair, {}, "--tls-quiet=missing-groups", "--tls-quiet=no-intermediate") as server:
        eventually(server, "serving ", launch.workers)
        (line,) = [each for each in server.text.splitlines() if "WARNING" in each]
        assert "the key is open to everyone (mode 0644)" in line
        assert line.endswith("chmod 0600 (open-file)")
        assert "contains no intermediate" not in server.text


def test_a_context_of_python_code_warns_as_well(files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certfile, keyfile = files.pki.leaf("localhost").write(tmp_path)
    keyfile.chmod(0o644)
    tls = ServerTLS(PEMFiles(certfile, keyfile))
    (notice,) = [each for each in tls.check() if each.code == "open-file"]
    assert not caplog.records
    assert pickle.loads(pickle.dumps(notice)).code == "open-file"
    tls.create_context()
    assert [record.getMessage() for record in caplog.records if "open-file" in record.getMessage()] == [
        f"{notice} (open-file)"
    ]
    with pytest.raises(KeyError, match="typo"):
        Notice("typo", "text")
