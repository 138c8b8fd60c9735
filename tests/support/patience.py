"""How long a test waits for what must happen: long enough for a machine that is busy with something else."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 60.0
"""Seconds. It ends a test that would hang, and says nothing about how fast anything is."""
