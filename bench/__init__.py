"""Measurements, side by side in one run: compare the ratios, since absolute times depend on the machine."""

from __future__ import annotations

import sys
from pathlib import Path

# Servers, certificates and clients are those of the tests.
sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
