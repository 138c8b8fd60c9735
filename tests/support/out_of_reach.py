"""A Python whose libssl cannot be called, as where it is linked statically: simulated in processes, or in this one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from asgi_tls import _openssl
from asgi_tls._openssl import groups, library


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


@contextlib.contextmanager
def here() -> Iterator[None]:
    """The same in this process, until the block is left."""
    kept = library.libssl, groups.setting_groups, groups.reading_group, groups.supported_groups, _openssl.capabilities
    name, sys.implementation.name = sys.implementation.name, "another"
    try:
        for each in kept:
            each.cache_clear()
        yield
    finally:
        sys.implementation.name = name
        for each in kept:
            each.cache_clear()
