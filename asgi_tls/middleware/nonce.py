"""Nonces for Content-Security-Policy: one for each request, drawn from the system's random numbers in batches."""

from __future__ import annotations

import base64
import os
from typing import Final

# CSP Level 3 section 7.1 asks for 128 bits. 18 bytes are 24 characters of base64 without padding.
_BYTES: Final = 18
_CHARACTERS: Final = 24
_BATCH: Final = 64

_ready: Final[list[str]] = []
# A worker that is forked must not draw what its parent or another worker draws.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_ready.clear)


def new_nonce() -> str:
    """24 characters of URL-safe base64 that were never used before."""
    try:
        return _ready.pop()
    except IndexError:
        text = base64.urlsafe_b64encode(os.urandom(_BYTES * _BATCH)).decode("ascii")
        _ready.extend(text[at : at + _CHARACTERS] for at in range(_CHARACTERS, len(text), _CHARACTERS))
        return text[:_CHARACTERS]
