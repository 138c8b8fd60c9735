"""What is allocated for libssl is freed by it: with Python's own checks of memory on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


def test_thousands_of_handshakes_with_stapling_and_swaps() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "bench.stapling", "--handshakes", "2500"],
        cwd=ROOT,
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"2500 handshakes: .* ([+-][\d.]+) MiB at the end", done.stdout)
    assert found, done.stdout
    # 2,250 responses of 800 bytes would be 1.7 MiB.
    assert float(found[1]) < 1
