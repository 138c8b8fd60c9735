"""python -m bench [NAME…]: every measurement, or those named."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import bench


def main(names: list[str]) -> None:
    """Run each module of this package that has a `run`."""
    for module in pkgutil.iter_modules(bench.__path__):
        if module.name.startswith("_") or (names and module.name not in names):
            continue
        run = getattr(importlib.import_module(f"bench.{module.name}"), "run", None)
        if run is not None:
            print(f"== {module.name}", flush=True)
            run()


main(sys.argv[1:])
