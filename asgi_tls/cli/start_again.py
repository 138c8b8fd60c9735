"""Where Python cannot set groups and TLS 1.3 suites: start the command again under an OpenSSL configuration that does.

OpenSSL reads the file that OPENSSL_CONF names once, when a process loads it. So a command writes a file, names it, and
executes itself again in the same process, once. Workers inherit the variable. Whether the policy holds is proven
afterwards, as always (`context/proof.py`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Final

from asgi_tls import _openssl, files
from asgi_tls.context.policy import enforceable, usable_groups
from asgi_tls.errors import ConfigurationError
from asgi_tls.profile import TLSProfile

logger = logging.getLogger("asgi_tls")

# Set by the first start for the second: which configuration is in force, and the OPENSSL_CONF that it includes.
_MARK: Final = "ASGI_TLS_OPENSSL_CONF"
_LARGEST: Final = 1 << 20
_TEMPORARY: Final = "asgi-tls-openssl-"
# The sections that lead from the top of a configuration to the policy (config(5), SSL_CONF_cmd(3)).
_PATH: Final = (("openssl_conf", "asgi_tls"), ("ssl_conf", "asgi_tls_ssl"), ("system_default", "asgi_tls_policy"))


def under(profile: TLSProfile) -> None:
    """Go on where this process can have the profile, or has been started for it; else start it again."""
    if enforceable(profile, server=True) or os.name != "posix":
        return
    variables = environment(profile)
    if os.environ.get(_MARK) == variables[_MARK]:
        directory = Path(variables["OPENSSL_CONF"]).parent
        if directory.parent == Path(tempfile.gettempdir()) and directory.name.startswith(_TEMPORARY):
            files.remove_at_the_end(str(directory))
        return
    logger.info("Starting again with OPENSSL_CONF=%s: Python cannot set all of the profile.", variables["OPENSSL_CONF"])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, {**os.environ, **variables})  # noqa: S606 -- no shell is wanted


def environment(profile: TLSProfile) -> dict[str, str]:
    """The variables for a process that is to have this profile. Writes the file that they name."""
    mark, _, before = os.environ.get(_MARK, "").partition(" ")
    base = Path(before) if mark else _own_configuration()
    text = configuration(profile, base)
    wanted = hashlib.sha256(text.encode()).hexdigest()[:32]
    path = os.environ["OPENSSL_CONF"] if mark == wanted else str(_written(f"{wanted}.cnf", text))
    return {"OPENSSL_CONF": path, _MARK: f"{wanted} {base}"}


def configuration(profile: TLSProfile, base: Path) -> str:
    """An openssl.cnf with all that is in `base`, its providers included, and with the profile's groups and suites.

    Versions and the suites of TLS 1.2 are for each context to set: other contexts of the process keep theirs.
    """
    sections = _sections(base)
    lines, name = [], ""
    for key, own in _PATH:
        following = sections.get(name, {}).get(key, own)
        lines += [f"[{name}]"] if name else []
        lines.append(f"{key} = {following}")
        lines += [] if name or not base.is_file() else [f".include = {base}"]
        name = following
    groups, _ = usable_groups(profile)  # one unknown name fails the whole list
    lines += [f"[{name}]", f"Groups = {_openssl.group_list(groups)}"]
    if profile.speaks("TLSv1.3"):
        lines.append(f"Ciphersuites = {':'.join(profile.ciphersuites)}")
    return "\n".join((f"# TLS profile {profile.name}, by asgi-tls", *lines, ""))


def _own_configuration() -> Path:
    """What this process was started with: OPENSSL_CONF, or the file that OpenSSL reads by itself."""
    default = Path(ssl.get_default_verify_paths().openssl_capath).parent / "openssl.cnf"
    return Path(os.environ.get("OPENSSL_CONF", default))


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """The values of a configuration file by section, "" for the top. What cannot be read is empty."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    try:
        text = files.read_regular(path, _LARGEST)[0].decode("utf-8", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        if heading := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            section = "" if heading[1] == "default" else heading[1]
        elif value := re.match(r"\s*(\w+)\s*=\s*([\w.-]+)", line):
            found.setdefault(section, {})[value[1]] = value[2]
    return found


def _written(name: str, text: str) -> Path:
    """The file, in the user's cache, or where there is none in a temporary directory."""
    data = {name: (text.encode(), 0o600)}
    try:
        directory = files.user_directory("cache") / "asgi-tls" / "openssl"
        files.make_private(directory)
        files.check_directory(directory)
        files.replace_files(directory, data)
    except (ConfigurationError, OSError):
        directory = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
        files.replace_files(directory, data)
    return directory / name
