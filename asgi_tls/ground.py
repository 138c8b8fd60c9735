"""What this Python, its OpenSSL and the installed servers can do, and what a profile would lose here."""

from __future__ import annotations

import platform
import ssl
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final

from asgi_tls import _openssl
from asgi_tls.profile import PROFILES, TLSProfile

# The floors that pyproject.toml declares.
SERVERS: Final = {"uvicorn": (0, 53), "hypercorn": (0, 17, 3), "gunicorn": (25, 0)}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a profile promises and this platform does not keep. `fatal`: a server with this profile does not start."""

    what: str
    why: str
    fatal: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """The ground a server stands on."""

    python: str
    openssl: str
    capabilities: dict[str, str | None]
    groups: tuple[str, ...] | None
    servers: dict[str, str | None]
    profiles: dict[str, tuple[Loss, ...]]

    def as_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries."""
        return asdict(self)

    @property
    def ready(self) -> bool:
        """Whether each profile of the package would start here."""
        return not any(loss.fatal for losses in self.profiles.values() for loss in losses)


def report() -> Report:
    """Look at this process."""
    return Report(
        python=f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        openssl=ssl.OPENSSL_VERSION,
        capabilities=asdict(_openssl.capabilities()),
        groups=_openssl.supported_groups(),
        servers={name: _server(name, floor) for name, floor in SERVERS.items()},
        profiles={name: losses(profile) for name, profile in PROFILES.items()},
    )


def losses(profile: TLSProfile) -> tuple[Loss, ...]:
    """What this profile would lose here, worst first."""
    capabilities = _openssl.capabilities()
    why = capabilities.reason or "libssl cannot be reached"
    found: list[Loss] = []
    if profile.ciphersuites and capabilities.ciphersuites is None:
        found.append(Loss(what="TLS 1.3 suites cannot be chosen", why=why, fatal=True))
    if capabilities.groups is None:
        found.append(Loss(what="groups cannot be chosen", why=why, fatal=True))
    elif capabilities.group_order is None and len(profile.groups) > 1:
        found.append(Loss(what="the client's order of groups decides", why=why, fatal=True))
    supported = _openssl.supported_groups()
    if supported is not None:
        missing = [name for name in profile.groups if name not in supported]
        usable = len(missing) < len(profile.groups)
        found += [
            Loss(what=f"no group {name}", why=f"{ssl.OPENSSL_VERSION} does not have it", fatal=not usable)
            for name in missing
        ]
    if capabilities.negotiated_group is None:
        found.append(Loss(what="the group in use is not shown", why=why, fatal=False))
    return tuple(sorted(found, key=lambda loss: not loss.fatal))


def _server(name: str, floor: tuple[int, ...]) -> str | None:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    wanted = ".".join(map(str, floor))
    return version if numbers >= floor else f"{version} is too old: {wanted} or later is needed"
