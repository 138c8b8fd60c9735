"""What the commands that write files do where the disk is full: they say so, and leave nothing half done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from servers import asgi_tls, run

pytestmark = pytest.mark.system

# A disk that ends with the command: fill it, run the command, list what it has left.
SCRIPT = """
mount -t tmpfs -o size=16k tmpfs "$DISK" && cd "$DISK" && mkdir empty && echo before > old.conf || exit 99
cat /dev/zero > fill 2> /dev/null
"$@"
status=$?
rm fill
find . -type f -size -1c
find . -type f
cat old.conf
exit $status
"""


def refusal(directory: Path, command: Sequence[str], *, home: str) -> str:
    """What a command prints that finds the disk full, and then what it has left there."""
    (directory / "disk").mkdir()
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    status, text = run(
        ["unshare", *user, "--mount", "sh", "-c", SCRIPT, "sh", *asgi_tls(*command)],
        env={"DISK": str(directory / "disk"), "ASGI_TLS_HOME": str(directory / home)},
    )
    assert status == 3, text
    return text


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            ["cert", "localhost", "--directory=pair"],
            "pair: No space left on device. Free space on the disk of pair, or set --directory to",
        ),
        (["new", "app"], "cannot write app: No space left on device. Free space on its disk."),
        (["new", "empty"], "cannot write empty: No space left on device. Free space on its disk."),
        *(
            (
                ["export", "nginx", "--host=a.example", f"--output={name}"],
                f"--output: cannot write {name}: No space left on device. Free space on its disk.",
            )
            for name in ("new.conf", "old.conf")
        ),
        (
            ["flags", "uvicorn", "--openssl-conf=old.conf"],
            "--openssl-conf: cannot write old.conf: No space left on device. Free space on its disk.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_full_disk(tmp_path: Path, command: Sequence[str], says: str) -> None:
    text = refusal(tmp_path, command, home="home")
    message, _, rest = text.partition("\nMore: asgi-tls explain configuration\n")
    assert message.startswith(f"Error: {says}"), text
    assert rest == "./old.conf\nbefore\n"


def test_the_ca_itself_is_on_the_full_disk(tmp_path: Path) -> None:
    text = refusal(tmp_path, ["cert", "localhost"], home="disk/home")
    assert "No space left on device. Free space on the disk of " in text
    assert "or set ASGI_TLS_HOME to a directory on another one." in text
