"""What this Python, its OpenSSL and the installed servers support, and what a profile would lose here."""

from __future__ import annotations

import functools
import os
import platform
import re
import ssl
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final

from asgi_tls import _openssl
from asgi_tls.cli import acme_platform, start_again
from asgi_tls.context import proof
from asgi_tls.context.policy import enforceable, usable_groups
from asgi_tls.profile import PROFILES, TLSProfile

SERVERS: Final = ("uvicorn", "hypercorn", "gunicorn")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a profile requires and this platform does not support. `fatal`: no server with this profile starts."""

    what: str
    why: str
    fatal: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """The versions, the capabilities and the losses of each profile on this platform."""

    asgi_tls: str
    python: str
    openssl: str
    cryptography: str
    system: str
    capabilities: dict[str, str | None]
    groups: tuple[str, ...]
    servers: dict[str, str | None]
    acme: dict[str, str]
    profiles: dict[str, tuple[Loss, ...]]

    def as_json(self) -> dict[str, Any]:
        """The same as lists and dictionaries."""
        return asdict(self)

    @property
    def ready(self) -> bool:
        """Whether a server would start with each profile of the package."""
        return not any(loss.fatal for losses in self.profiles.values() for loss in losses)


def report() -> Report:
    """The report on this process."""
    capabilities = asdict(_openssl.capabilities())
    for name in ("groups", "ciphersuites", "group_order"):
        if capabilities[name] is None and all(map(_configurable, PROFILES)):
            capabilities[name] = "OPENSSL_CONF, which the commands set"
    return Report(
        asgi_tls=metadata.version("asgi-tls"),
        python=f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        openssl=ssl.OPENSSL_VERSION,
        cryptography=metadata.version("cryptography"),
        system=_system(),
        capabilities=capabilities,
        groups=_openssl.supported_groups(),
        servers={name: _server(name) for name in SERVERS},
        acme=acme_platform.findings(),
        profiles={name: losses(profile) for name, profile in PROFILES.items()},
    )


def losses(profile: TLSProfile) -> tuple[Loss, ...]:
    """What this profile would lose here, the fatal losses first."""
    capabilities = _openssl.capabilities()
    why = capabilities.reason or "libssl cannot be called"
    found: list[Loss] = []
    if not enforceable(profile, server=True):
        if _configurable(profile.name):
            only = "in Python code without OPENSSL_CONF, OpenSSL's own groups and TLS 1.3 suites are served"
            found.append(Loss(what=only, why="`asgi-tls uvicorn`, `hypercorn` and `gunicorn` set it", fatal=False))
        else:
            found.append(Loss(what="groups and TLS 1.3 suites cannot be chosen", why=why, fatal=True))
    supported = _openssl.supported_groups()
    missing = [name for name in profile.groups if name not in supported]
    usable = len(missing) < len(profile.groups)
    found += [
        Loss(what=f"no group {name}", why=f"{ssl.OPENSSL_VERSION} does not support it", fatal=not usable)
        for name in missing
    ]
    if capabilities.negotiated_group is None:
        found.append(Loss(what="the negotiated group is not reported", why=why, fatal=False))
    if capabilities.stapling is None:
        found.append(Loss(what="no OCSP response is stapled", why=why, fatal=False))
    if capabilities.ticket_keys is None:
        tickets = "sessions resume only at the same worker, and not at all with client certificates"
        found.append(Loss(what=tickets, why=why, fatal=False))
        if profile.speaks("TLSv1.2"):
            found.append(Loss(what="the client's order of groups decides in TLS 1.2", why=why, fatal=False))
    return tuple(sorted(found, key=lambda loss: not loss.fatal))


@functools.cache
def _configurable(profile: str) -> bool:
    """Whether a process that is started with OPENSSL_CONF has the profile: one is started, and looks."""
    code = f"import sys; from asgi_tls.cli import capabilities; sys.exit(not capabilities.is_in_force({profile!r}))"
    variables = {**os.environ, **start_again.environment(PROFILES[profile])}
    return subprocess.run([sys.executable, "-c", code], env=variables, check=False).returncode == 0


def is_in_force(profile: str) -> bool:
    """Whether a client that sets nothing offers what this profile does: then OPENSSL_CONF has set it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    groups, _ = usable_groups(PROFILES[profile])
    return not proof.of_client(context, PROFILES[profile], groups)


def _system() -> str:
    """The operating system and its kernel."""
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.platform()}"
    except OSError:  # not Linux, or a container without the file
        return platform.platform()


def _server(name: str) -> str | None:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
    floor = _floor(name)
    return version if _numbers(version) >= _numbers(floor) else f"{version} is too old: {floor} or later is required"


def _floor(server: str) -> str:
    """The oldest supported version, as this package declares it."""
    for requirement in metadata.requires("asgi-tls") or ():
        if found := re.match(rf"{server}(?:\[.*?\])?>=([\d.]+)", requirement):
            return found[1]
    return "0"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
