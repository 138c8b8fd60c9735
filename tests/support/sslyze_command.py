"""sslyze, as a command in an environment of its own: it needs an older `cryptography` than certbot's acme does."""

from __future__ import annotations

import subprocess
import sys

from environments import CACHE

from asgi_tls.files import locked


def sslyze(*arguments: str) -> list[str]:
    """Its command line. It is installed on first use."""
    directory = CACHE / "environments" / f"sslyze-{sys.version_info.major}.{sys.version_info.minor}"
    python, ready = directory / "bin" / "python", directory / "ready"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with locked(directory.with_suffix(".lock")):
        if not ready.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", directory], check=True)
            quiet = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            subprocess.run([python, *quiet, "sslyze>=6.1"], check=True)
            ready.touch()
    return [str(python), "-W", "ignore", "-m", "sslyze", *arguments]
