"""Where it was measured: what a reader needs to know before comparing figures."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import ssl
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil
from proxies import PATH

_PACKAGES = ("asgi-tls", "uvicorn", "uvloop", "hypercorn", "gunicorn", "granian")


def machine() -> dict[str, str]:
    """Hardware and versions."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    cores, memory = os.cpu_count(), round(psutil.virtual_memory().total / (1 << 30))
    kernel = ".".join(platform.release().split(".")[:2])
    return {
        "processor": f"{found[1] if found else platform.machine()}, {cores} cores, {memory} GiB",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {kernel}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "proxies": f"nginx {_version('nginx', '-v')}, caddy {_version('caddy', 'version')}",
    }


def moment() -> dict[str, str]:
    """The day, and how much else the machine has to do."""
    load = os.getloadavg()[1]
    busy = f"; other work kept the machine busy (load average {load:.0f}), so the CPU times vary much"
    return {"measured": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}{busy if load > 1 else ''}"}


def _version(*command: str) -> str:
    if shutil.which(command[0], path=PATH) is None:
        return "none"
    done = subprocess.run(
        command, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=True, timeout=60
    )
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "?"
