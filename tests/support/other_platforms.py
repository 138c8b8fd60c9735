"""macOS and Windows as far as Python code can see them, in processes of their own: what Linux alone has is hidden from
the package, and from nobody else.
"""

from __future__ import annotations

import os
from pathlib import Path

_CUSTOMIZE = '''
import asyncio, builtins, os, select, signal, socket, types

HIDDEN = {
    "macos": {
        "socket": {"SO_DOMAIN", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "MSG_NOSIGNAL"},
        "select": {"epoll", "POLLRDHUP"},
        "os": {"memfd_create", "MFD_CLOEXEC", "O_TMPFILE", "sched_getaffinity"},
        "signal": {"sigtimedwait", "sigwaitinfo"},
    },
    "windows": {
        "socket": {
            "SO_DOMAIN", "AF_UNIX", "MSG_DONTWAIT", "SO_REUSEPORT", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "MSG_NOSIGNAL",
        },
        "select": {"epoll", "poll", "POLLRDHUP"},
        "os": {
            "memfd_create", "MFD_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "fork", "geteuid",
            "getuid", "getgid", "register_at_fork", "chown", "fchown", "killpg", "setsid", "uname", "mkfifo",
        },
        "signal": {"SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "pthread_sigmask", "sigwait", "SIG_BLOCK"},
    },
}[PLATFORM]
ABSENT = {"fcntl", "grp", "pwd", "resource"} if PLATFORM == "windows" else set()
REAL = {"os": os, "select": select, "signal": signal, "socket": socket}


def seen(name):
    module = types.ModuleType(name)
    module.__dict__.update({key: value for key, value in vars(REAL[name]).items() if key not in HIDDEN[name]})
    if name == "os" and PLATFORM == "windows":
        module.name = "nt"
    return module


SEEN = {name: seen(name) for name in REAL}
theirs = builtins.__import__


def ours(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and globals and str(globals.get("__name__", "")).partition(".")[0] == "asgi_tls":
        if name in ABSENT:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
        if name in SEEN:
            return SEEN[name]
    return theirs(name, globals, locals, fromlist, level)


builtins.__import__ = ours

if PLATFORM == "windows":

    class Loop(asyncio.SelectorEventLoop):
        """As the proactor loop: it has no readers for others."""

        add_reader = asyncio.AbstractEventLoop.add_reader
        add_writer = asyncio.AbstractEventLoop.add_writer
        remove_reader = asyncio.AbstractEventLoop.remove_reader

    asyncio.SelectorEventLoop = Loop
    asyncio.DefaultEventLoopPolicy._loop_factory = Loop
'''


def environment(directory: Path, platform: str) -> dict[str, str]:
    """The variables for a process that takes itself to be on `platform`, "macos" or "windows"."""
    customized = directory / platform
    customized.mkdir(exist_ok=True)
    (customized / "sitecustomize.py").write_text(f"PLATFORM = {platform!r}\n{_CUSTOMIZE}", encoding="ascii")
    paths = [str(customized), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "ASGI_TLS_HOME": str(directory / "home"),
        "XDG_CACHE_HOME": str(directory / "cache"),
    }
