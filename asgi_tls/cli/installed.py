"""Which nginx, HAProxy or Caddy is installed here, and with which OpenSSL: asked of the programs themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

# The question, and where the answer holds the version, and that of OpenSSL.
_QUESTIONS: Final = {
    "nginx": (["-V"], r"nginx version: nginx/(\S+)", r"(?:running|built) with OpenSSL (\S+?)[\s)]"),
    "haproxy": (["-vv"], r"HAProxy version (\S+)", r"Running on (?:OpenSSL|SSL library) version : OpenSSL (\S+)"),
    "caddy": (["version"], r"^v?(\d\S*)", None),
}
# Where Debian keeps servers, and a user's PATH does not look.
_MORE_DIRECTORIES: Final = "/usr/sbin:/usr/local/sbin"
_SECONDS: Final = 10


@dataclass(frozen=True)
class Installed:
    """Two versions as the program writes them; OpenSSL's is None where it has none, or another library."""

    version: str
    openssl: str | None


def installed(program: str) -> Installed | None:
    """What is installed here; None where there is none, or it does not say."""
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
    # nginx names the OpenSSL it was built with, and after it the one that it runs with, where they differ.
    libraries = re.findall(openssl, answer) if openssl else []
    return None if found is None else Installed(found[1], libraries[-1] if libraries else None)
