"""macOS: the system keychain, by security(1). Safari, Chrome, curl, and Firefox from 120 on read it.

Certificates of a deleted CA cannot be identified there: `uninstall` removes the CA that exists on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind, ask

_KEYCHAIN = "Library/Keychains/System.keychain"


@dataclass(frozen=True)
class Keychain:
    name: str
    security: str
    keychain: Path

    kind: ClassVar[Kind] = "system"

    def install(self, anchor: Anchor) -> tuple[Command, ...]:
        # -l: the certificate to check may be a CA's; -L: without the network.
        if ask(self.security, "verify-cert", "-l", "-L", "-q", "-c", str(anchor.path)).returncode == 0:
            return ()
        # For TLS alone: not for mail, nor for signed code.
        policies = ("-p", "ssl", "-p", "basic")
        add = (self.security, "add-trusted-cert", "-d", "-r", "trustRoot", *policies, "-k", str(self.keychain))
        return (Command((*add, str(anchor.path)), privileged=True),)

    def uninstall(self, family: str, anchor: Anchor | None) -> tuple[Command, ...]:  # noqa: ARG002 -- the protocol's
        if anchor is None:
            return ()
        listed = ask(self.security, "find-certificate", "-a", "-Z", str(self.keychain)).stdout
        if anchor.fingerprint not in listed.lower():
            return ()
        delete = (self.security, "delete-certificate", "-Z", anchor.fingerprint.upper(), str(self.keychain))
        return (
            Command((self.security, "remove-trusted-cert", "-d", str(anchor.path)), privileged=True),
            Command(delete, privileged=True),
        )


def macos(host: Host) -> Keychain | None:
    security = host.system_program("security")
    if host.platform != "darwin" or security is None:
        return None
    keychain = host.root / _KEYCHAIN
    return Keychain(f"System keychain ({keychain})", security, keychain)
