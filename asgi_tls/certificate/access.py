"""What keeps this user from a file, and the command that lets it in."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Final

try:
    import grp
    import pwd
except ImportError:
    _HAS_MODES = False  # Windows
else:
    _HAS_MODES = True

_MOST_LINKS: Final = 40  # Linux follows no more


def refusal(path: Path) -> tuple[str, str]:
    """Why this user may not read `path`, to end a sentence with, and what to let it do: "read it: `chmod …`"."""
    if not _HAS_MODES:
        return "", "read it"
    try:
        closed, is_on_the_way = _first_closed(path)
        if closed == Path():  # not even its status can be seen from inside
            closed = Path.cwd()
        if is_on_the_way:
            why = f": the user {_user()} may not search {Path.cwd() / closed}"
            return why, f"search it: {_command(closed, 0o1)}"
        is_directory = closed.is_dir()
        return "", f"{'list' if is_directory else 'read'} it: {_command(closed, 0o5 if is_directory else 0o4)}"
    except OSError:  # it is another one by now
        return "", "read it"


def _first_closed(path: Path) -> tuple[Path, bool]:
    """The first directory on the way that this user may not search, and True; or else the end of the way.

    Links are followed one by one: their directories are on the way, too.
    """
    at, left, links = Path(path.anchor), _steps(path), 0
    while left and links < _MOST_LINKS:
        if not os.access(at, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return at, True
        name = left.pop()
        step = at.parent if name == ".." and at.name not in {"", ".."} else at / name
        if step.is_symlink():
            links += 1
            target = step.readlink()
            at = Path(target.anchor or at)
            left += _steps(target)
        else:
            at = step
    return at, False


def _steps(path: Path) -> list[str]:
    """The names on the way, the first one last."""
    return [*path.parts[bool(path.anchor) :]][::-1]


def _command(path: Path, needed: int) -> str:
    """What gives this user the rights in `needed`, in the least that it takes: others keep what they have."""
    status, name = path.stat(), shlex.quote(str(Path.cwd() / path))
    rights = "g+rx" if stat.S_ISDIR(status.st_mode) else "g+r"
    of_group = status.st_mode >> 3 & needed == needed
    if status.st_uid == os.geteuid():
        is_allowed, command = status.st_mode >> 6 & needed == needed, f"`chmod {rights.replace('g', 'u')} {name}`"
    elif status.st_gid in {os.getegid(), *os.getgroups()}:
        is_allowed, command = of_group, f"`chmod {rights} {name}`"
    elif of_group and status.st_gid != 0:
        is_allowed, command = False, f"`usermod -aG {_group(status.st_gid)} {_user()}`, and start it again"
    else:
        is_allowed, command = False, f"`chgrp {_group(os.getegid())} {name} && chmod {rights} {name}`"
    if is_allowed:
        return "its mode allows it already, so look for what refuses it in `journalctl -k` (SELinux, AppArmor)"
    return command


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in a container
        return str(os.geteuid())


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
