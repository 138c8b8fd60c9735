"""A Python whose libssl cannot be called, as where it is linked statically: simulated in processes of their own."""

from __future__ import annotations

import os
from pathlib import Path


def environment(directory: Path) -> dict[str, str]:
    """The variables for a process that is not to call libssl, nor the processes that it starts."""
    customized = directory / "out-of-reach"
    customized.mkdir(exist_ok=True)
    # The objects of an implementation of another name are laid out in an unknown way, so libssl is left alone.
    (customized / "sitecustomize.py").write_text("import sys\nsys.implementation.name = 'another'\n", encoding="ascii")
    paths = [str(customized), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "XDG_CACHE_HOME": str(directory / "cache"),
    }
