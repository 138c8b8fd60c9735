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
        [sys.executable, "-X", "dev", "-m", "bench.stapling", "--handshakes", "5000"],
        cwd=ROOT,
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"5000 handshakes: .* ([+-][\d.]+) MiB at the end", done.stdout)
    assert found, done.stdout
    # 5,000 responses of about 1 KiB would be 5 MiB.
    assert float(found[1]) < 2
