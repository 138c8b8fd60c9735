"""Change a trust store: run its commands, and check the result."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from asgi_tls.dev.stores.store import Command, Host
from asgi_tls.errors import TrustStoreError

Plan = Callable[[], tuple[Command, ...]]


@dataclass(frozen=True)
class Change:
    """The commands that a store needs. None: it is up to date."""

    plan: Plan
    commands: tuple[Command, ...]

    @classmethod
    def planned(cls, plan: Plan) -> Change:
        """Examine the store. Raises TrustStoreError."""
        return cls(plan, plan())

    def needs_sudo(self, host: Host) -> bool:
        return not host.superuser and any(command.privileged for command in self.commands)

    def carry_out(self, host: Host) -> None:
        """Run the commands. Raises TrustStoreError with the program's output and the commands to run by hand."""
        by_hand = " && ".join(host.shown(command) for command in self.commands)
        for command in self.commands:
            argv = command.as_user(superuser=host.superuser)
            try:
                # sudo, and certutil for a database with a password, ask on the terminal itself.
                done = subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    check=False,
                )
            except OSError as error:
                raise TrustStoreError(f"{argv[0]}: {error.strerror}", fix=f"Run it by hand: {by_hand}") from error
            if done.returncode:
                output = done.stdout.strip() or "no output"
                raise TrustStoreError(
                    f"{host.shown(command)} failed with status {done.returncode}: {output}",
                    fix=f"Run it by hand: {by_hand}",
                )
        if self.plan():
            raise TrustStoreError(
                "the commands succeeded, but changed nothing", fix=f"Run them by hand to see why: {by_hand}"
            )
