"""`asgi-tls check` as it is typed: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from asgi_servers import KeyPair, running_uvicorn
from audited import HEADERS
from click.testing import Result
from files import Files
from in_process import RUNNER
from launch import Launch, split
from ports import free_port
from servers import asgi_tls

from asgi_tls.audit.judges.findings import KINDS
from asgi_tls.cli import main
from asgi_tls.cli.check import never_like_a_grade
from asgi_tls.dev.ca import LocalCA

NASTY = "\x1b[31m<script>alert(1)</script>\u202e[click](https://evil.example) {0} [bold]"


async def nasty(scope: Any, receive: Any, send: Any) -> None:
    """Its headers try to get out of the report."""
    if scope["type"] == "http":
        headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        headers += [(b"server", f"x/1 {NASTY}".encode()), (b"set-cookie", f"{NASTY}=1".encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port(files: Files) -> Iterator[int]:
    pair = KeyPair(Path(files.ecdsa.certfile), Path(files.ecdsa.keyfile or ""))
    with running_uvicorn(nasty, pair, http="h11", server_header=False) as port:
        yield port


def arguments(port: int, *options: str, files: Files | None = None) -> list[str]:
    cafile = [] if files is None else [f"--cafile={files.ca}"]
    url = f"https://localhost:{port}"
    return ["check", url, f"--connect=127.0.0.1:{port}", f"--http-port={port}", *cafile, *options]


def check(port: int, *options: str, files: Files | None = None) -> Result:
    """In this process, which saves half a second each time."""
    return RUNNER.invoke(main, arguments(port, *options, files=files))


def test_the_table(port: int, files: Files) -> None:
    command = asgi_tls(*arguments(port, files=files))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\bA\b.*https://localhost", done.stdout)
    assert "cookie-insecure" in done.stdout
    assert "[bold]" in done.stdout  # no markup of the server's
    assert "\x1b" not in done.stdout


def test_json(port: int, files: Files) -> None:
    report = json.loads(check(port, "--json", files=files).stdout)
    assert {"target", "grade", "protocols", "findings"} <= {*report}
    assert report["target"] == f"https://localhost:{port}"
    assert report["grade"] == "A"
    assert report["protocols"]["TLSv1.3"]["offered"] is True
    assert report["protocols"]["TLSv1.0"] == {"offered": False, "answer": "closed", "suites": [], "preference": None}
    assert "TLS_AES_256_GCM_SHA384" in report["protocols"]["TLSv1.3"]["suites"]
    assert report["certificates"][0]["names"] == ["localhost", "127.0.0.1"]
    for finding in report["findings"]:
        assert {"id", "severity", "title", "cause", "fix"} <= {*finding}
        assert finding["id"] in KINDS
        assert finding["evidence"].isprintable()


def test_sarif(port: int, files: Files) -> None:
    report = json.loads(check(port, "--sarif", files=files).stdout)
    assert report["version"] == "2.1.0"
    (run,) = report["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(rules) == len({*rules})
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        assert result["message"]["text"].isprintable()
        assert "[click](" not in result["message"]["text"]
    said = {result["ruleId"]: result["message"]["text"] for result in run["results"]}
    assert r"\[click\](https://evil.example) {{0}} \[bold\]" in said["server-version"]
    assert "cookie-insecure" in rules


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "srcset", "background"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page(port: int, files: Files, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert check(port, f"--html={page}", files=files).exit_code == 0
    parsed = _Page()
    parsed.feed(page.read_text(encoding="utf-8"))
    assert not {"script", "link", "img", "iframe"} & {*parsed.tags}
    assert not parsed.loads
    assert "<script>alert(1)</script>" in parsed.text  # escaped, and shown
    assert "\x1b" not in parsed.text
    assert "$" not in parsed.text


@pytest.mark.parametrize(("fail_under", "status"), [("A+", 1), ("A", 0), ("B", 0)])
def test_fail_under(port: int, files: Files, fail_under: str, status: int) -> None:
    assert check(port, f"--fail-under={fail_under}", files=files).exit_code == status


def test_without_trust(port: int) -> None:
    assert json.loads(check(port, "--json").stdout)["grade"] == "T"
    assert json.loads(check(port, "--json", "--insecure").stdout)["grade"] == "A"


def test_what_cannot_be_audited(files: Files, tmp_path: Path) -> None:
    nobody = check(free_port(), files=files)
    assert nobody.exit_code == 3
    assert "does not answer" in nobody.stderr


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--json", "--sarif"], 2, "choose one"),
        (["--fail-under=Z"], 2, "A+"),
        (["--timeout=0"], 2, "timeout"),
        (["--cafile=missing.pem"], 3, "missing.pem"),
        (["--html=missing/report.html"], 3, "missing/report.html"),
    ],
)
def test_wrong_use(port: int, files: Files, options: list[str], status: int, words: str) -> None:
    done = check(port, *options)
    assert done.exit_code == status
    assert words in done.stderr


def test_a_certificate_of_the_local_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that it prints is the one that works."""
    monkeypatch.setenv("ASGI_TLS_HOME", str(tmp_path))
    issued = LocalCA().issue(["localhost"])
    with running_uvicorn(nasty, KeyPair(issued.certfile, issued.keyfile), http="h11", server_header=False) as port:
        done = check(port, "--fail-under=A")
        assert done.exit_code == 1
        printed = done.stderr.splitlines()[-1]
        assert printed.startswith("    asgi-tls check https://localhost:")
        assert done.stdout.splitlines()[-1].strip().startswith("https://")
        assert "development CA" not in check(port, "--insecure").stderr
        assert typed(printed)[0] == 0


@pytest.mark.parametrize(
    "launch",
    split(
        [Launch("uvicorn", "asyncio"), Launch("hypercorn", "asyncio"), Launch("gunicorn", "asgi")],
        {"uvicorn-asyncio-1"},
    ),
    ids=str,
)
def test_a_development_server_gets_an_a_plus_by_the_command_that_the_audit_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launch: Launch
) -> None:
    """The first hour: nothing is set, and nothing has to be known."""
    monkeypatch.setenv("ASGI_TLS_HOME", str(tmp_path))
    with launch.start(None, {}) as server:
        first = RUNNER.invoke(main, ["check", f"https://localhost:{server.port}"])
        assert re.search(rf" T +https://localhost:{server.port}\b", first.stdout)
        status, text = typed(first.stderr.splitlines()[-1])
    assert status == 0
    assert re.search(rf" A\+ +https://localhost:{server.port}\b", text), text


def typed(line: str) -> tuple[int, str]:
    """What comes of a printed command line, with the asgi-tls of these tests."""
    command = shlex.join(asgi_tls()) + line.strip().removeprefix("asgi-tls")
    command = command.replace("$(asgi-tls", f"$({shlex.join(asgi_tls())}")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(("options", "output"), [(["--json"], None), ([], "/dev/full")])
def test_a_report_that_cannot_be_written(port: int, files: Files, options: list[str], output: str | None) -> None:
    """As `… | head` does; the status is not that of a grade."""
    reading, writing = os.pipe() if output is None else (os.open(output, os.O_RDONLY), os.open(output, os.O_WRONLY))
    os.close(reading)
    command = asgi_tls(*arguments(port, *options, files=files))
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert done.returncode == 3
    assert "cannot be written to standard output" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


def test_a_terminal_that_cannot_show_everything(files: Files, tmp_path: Path) -> None:
    pair = files.pki.leaf("localhost", common_name="Zürich").write(tmp_path)
    environment = {**os.environ, "PYTHONIOENCODING": "iso8859-5"}
    with running_uvicorn(nasty, KeyPair(*pair), http="h11", server_header=False) as port:
        command = asgi_tls(*arguments(port, files=files))
        done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0
    assert rb"Z\xfcrich" in done.stdout


def test_interrupted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        command = asgi_tls("check", f"https://127.0.0.1:{port}", "--timeout=60")
        with (
            subprocess.Popen(command, stderr=subprocess.PIPE) as process,
            silent.accept()[0],
            silent.accept()[0],  # a probe's
        ):
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 130


class Panic(BaseException):
    """As a panic of Rust's arrives."""


@pytest.mark.parametrize("error", [ValueError("\x1b[31mbad"), RecursionError("deep"), MemoryError(), Panic("panicked")])
def test_a_crash_is_no_grade(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, never_like_a_grade():
        raise error
    assert ended.value.code == 4
    said = capsys.readouterr().err
    assert type(error).__name__ in said
    assert "there is no grade" in said
    assert "\x1b" not in said


def test_progress_is_shown_on_a_terminal_alone(port: int, files: Files) -> None:
    ours, theirs = pty.openpty()
    command = asgi_tls("check", f"localhost:{port}", f"--connect=127.0.0.1:{port}", f"--cafile={files.ca}", "--json")
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:  # Linux says so when the other side is closed
            pass
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["grade"] == "A"
    os.close(ours)
    assert process.returncode == 0
    # The bar is drawn ten times a second: which probes it names is chance, and that it names one is not.
    assert any(probe in shown for probe in (b"suites", b"groups", b"handshake", b"headers", b"resumption", b"redirect"))
