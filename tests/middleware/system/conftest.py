"""Programs from outside, installed into a temporary directory. A missing one is a failure, never a skip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PACKAGES = [
    "helmet@8.3.0",
    "@mdn/mdn-http-observatory@1.4.8",
    "playwright-core@1.65.1",
    "axe-core@4.10.3",
    "swagger-ui-dist@5.35.0",
    "redoc@2.5.4",
]


@dataclass(frozen=True)
class Node:
    """A directory with the scripts from beside this file, and the packages that they use."""

    directory: Path

    def run(self, script: str, *arguments: str, stdin: str = "", **environment: str) -> Any:
        # A proxy of this machine has no say between loopback addresses.
        inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(
            ["node", script, *arguments],
            cwd=self.directory,
            env={**inherited, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    directory = tmp_path_factory.mktemp("node")
    (directory / "package.json").write_text('{"private": true, "type": "module"}')
    # Without the packages' own scripts, which would fetch lists from the network.
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES]
    subprocess.run(install, cwd=directory, check=True, capture_output=True, timeout=180)
    (directory / "node_modules/@mdn/mdn-http-observatory/conf/hsts-preload.json").write_text("{}")
    for script in Path(__file__).parent.glob("*.mjs"):
        shutil.copy(script, directory)
    return Node(directory)
