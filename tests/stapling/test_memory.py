"""What is allocated for libssl is freed by it: with Python's own checks of memory on."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from servers import APP_DIRECTORY

pytestmark = pytest.mark.system


def test_thousands_of_handshakes_with_stapling_and_swaps() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", str(APP_DIRECTORY / "many_staples.py"), "2500"],
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"2500 handshakes, (\d+) resumed, ([+-][\d.]+) MiB", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 100
    # 2,250 responses of 800 bytes would be 1.7 MiB.
    assert float(found[2]) < 1
