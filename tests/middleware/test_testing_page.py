"""The examples of docs/testing.md, run as a reader would run them; and what happens without the switch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from documents import REPOSITORY, blocks


def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    named = [block.text for block in blocks(REPOSITORY / "docs/testing.md") if block.text.startswith("# ")]
    for text in named:
        (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    assert len(named) == 5
    # What a project needs to run them is pytest alone.
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "6 passed" in done.stdout, done.stdout
    # Without the switch each of those that speak plain HTTP fails, and the reason is there to read.
    (tmp_path / "conftest.py").unlink()
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "3 failed, 3 passed" in done.stdout, done.stdout
    assert "development=True" in done.stdout
