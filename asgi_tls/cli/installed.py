"""Which nginx, HAProxy or Caddy is installed here, and with which OpenSSL, as the programs themselves report it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

# The arguments that make the program print its version, and where the output has it, and that of its OpenSSL.
_QUESTIONS: Final = {
    "nginx": (["-V"], r"nginx version: nginx/(\S+)", r"(?:running|built) with OpenSSL (\S+?)[\s)]"),
    "haproxy": (["-vv"], r"HAProxy version (\S+)", r"Running on (?:OpenSSL|SSL library) version : OpenSSL (\S+)"),
    "caddy": (["version"], r"^v?(\d\S*)", None),
}
# Debian installs servers here, and a user's PATH often lacks it.
_MORE_DIRECTORIES: Final = "/usr/sbin:/usr/local/sbin"
_SECONDS: Final = 10


@dataclass(frozen=True)
class Installed:
    """Two versions as the program writes them. `openssl` is None if the program has none, or another library."""

    version: str
    openssl: str | None


def installed(program: str) -> Installed | None:
    """What is installed here; None without the program, or if its output has no version."""
    if program not in _QUESTIONS:
        return None
    arguments, version, openssl = _QUESTIONS[program]
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_MORE_DIRECTORIES}")
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    answer = done.stdout.decode("utf-8", "replace")
    found = re.search(version, answer, re.MULTILINE)
    # nginx prints the OpenSSL that it was built with, and then the one that it runs with, if they differ.
    libraries = re.findall(openssl, answer) if openssl else []
    return None if found is None else Installed(found[1], libraries[-1] if libraries else None)
