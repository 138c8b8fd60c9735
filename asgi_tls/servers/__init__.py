"""One thin adapter for each server, imported only when it is used."""

from __future__ import annotations

from typing import Final

STARTUP_FAILURE: Final = 3
"""The exit status by which uvicorn and gunicorn know that a worker must not be started again."""
