"""Be a user who may not read everything: root may, so tests that run as root step down first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# The directory is entered before the step, since a user's temporary directories are closed to others.
_SCRIPT = """
import os, sys
from asgi_tls.certificate import LetsEncrypt, PEMFiles
import asgi_tls.certificate.validation
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.chown(".", 65534, 65534)
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
try:
    print(eval(sys.argv[2]).load())
except Exception as error:
    print(type(error).__name__, error)
"""


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, in this process."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(65534, 65534, 0)  # the last one is the way back
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@contextmanager
def as_root() -> Iterator[None]:
    """Inside `as_nobody`: with the rights that the test has, for a moment."""
    if os.getresuid()[2] != 0:
        yield
        return
    os.setresuid(-1, 0, -1)
    try:
        yield
    finally:
        os.setresuid(-1, 65534, -1)


def load_as_nobody(source: str, directory: Path) -> str:
    """What `source`, an expression with paths relative to `directory`, comes to when nobody loads it."""
    command = [sys.executable, "-c", _SCRIPT, str(directory), source]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
