"""The documentation site, as `make site` builds it: whole, and alone, as it loads nothing from elsewhere."""

from __future__ import annotations

import functools
import html
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from documents import REPOSITORY

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), f"`make site` installs mkdocs: {done.stderr}"
    return directory


class Loaded(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag != "a" and given.get("rel") != "canonical":
            self.found += [str(given[name]) for name in ("src", "href", "srcset", "poster", "data") if given.get(name)]


def test_it_loads_nothing_from_elsewhere_and_is_searched_by_a_browser_that_reaches_no_other_host(
    site: Path, tmp_path: Path
) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 25
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.found
        assert not [each for each in loaded.found if urlsplit(each).netloc], page
    diagrams = html.unescape((site / "architecture/index.html").read_text(encoding="utf-8"))
    assert "<title>cli->servers</title>" in diagrams
    sheets = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert not [found for text in sheets for found in re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", text)]
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        text, asked = visit(base, "/?q=ticket_rotation", tmp_path)
        assert 'href="tickets/' in text.partition('class="md-search-result__list"')[2]
        assert f"{base}/search/search_index.json" in asked
        assert not [each for each in asked if not each.startswith(base)]
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, *_: object) -> None:
        pass


def visit(base: str, path: str, directory: Path) -> tuple[str, set[str]]:
    """The page as it is after its scripts, and what it has asked for; not what the browser asks for by itself."""
    log = directory / "net.json"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
               "--disable-component-update", "--no-first-run", f"--user-data-dir={directory / 'profile'}",
               "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--log-net-log={log}",
               "--virtual-time-budget=20000", "--dump-dom", base + path]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    recorded = json.loads(log.read_text(encoding="utf-8"))
    asked = [event["params"] for event in recorded["events"] if "url" in event.get("params", {})]
    return done.stdout, {each["url"] for each in asked if each.get("initiator") == base}
