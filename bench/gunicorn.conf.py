"""What gunicorn reads in this directory.

The first full garbage collection of a worker would copy the memory that it shares with its parent, whenever that is.
"""

# ruff: noqa: N999 -- gunicorn looks for this name

import gc
from typing import Any


def pre_fork(_arbiter: Any, _worker: Any) -> None:
    gc.collect()
    gc.freeze()
