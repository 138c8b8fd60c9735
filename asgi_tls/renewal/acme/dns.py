"""Who sets the TXT records of dns-01 (RFC 8555 section 8.4): a command of the user's, or dns-lexicon, which knows the
interfaces of some hundred providers.
"""

from __future__ import annotations

import contextlib
import queue
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final

from asgi_tls.errors import ConfigurationError
from asgi_tls.renewal.acme.problems import ACMEError, failure

_SECONDS: Final = 180.0
_USUAL_WAIT: Final = 30.0
_PREFIX: Final = "_acme-challenge."


@dataclass(frozen=True)
class DNSCommand:
    """`COMMAND present NAME VALUE` sets the TXT record NAME, and `COMMAND clean NAME VALUE` removes it.

    NAME is such as `_acme-challenge.example.com`. The command is split as a shell would, and run without one. It ends
    with status 0 when the record can be seen; where it does not wait for that, `wait` are seconds to wait here.
    """

    command: str
    wait: float = 0.0

    def __post_init__(self) -> None:
        try:
            is_empty = not shlex.split(self.command)
        except ValueError:
            is_empty = True
        if is_empty:
            raise ConfigurationError(
                f"{{acme_dns}} is {self.command!r}, which is not a valid command",
                fix="Give the path of a program, with arguments if it has any; close each quotation mark.",
                settings=("acme_dns",),
            )

    def check(self) -> None:
        """Raises ConfigurationError where there is no such program."""
        program = shlex.split(self.command)[0]
        if shutil.which(program) is None:
            raise ConfigurationError(
                f"{{acme_dns}} is {self.command!r}, and {program} is not found, or may not be run",
                fix="Give the whole path of the program, and make it executable (chmod +x).",
                settings=("acme_dns",),
            )

    def present(self, name: str, value: str) -> None:
        """Set the TXT record that validates `name`. Raises ACMEError."""
        self._run("present", name, value)
        time.sleep(self.wait)

    def clean(self, name: str, value: str) -> None:
        """Remove it. Raises ACMEError."""
        self._run("clean", name, value)

    def _run(self, action: str, name: str, value: str) -> None:
        command = [*shlex.split(self.command), action, record_of(name), value]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise failure("dns-record", f"{command[0]} {action} took more than {_SECONDS:.0f} s for {name}") from None
        except OSError as error:
            raise failure("dns-record", f"{command[0]} cannot be run: {error.strerror}") from None
        if done.returncode != 0:
            printed = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            words = printed[-1] if printed else "it printed nothing"
            raise failure(
                "dns-record", f"{command[0]} {action} ended with status {done.returncode} for {name}: {words}"
            )


@dataclass(frozen=True)
class DNSLexicon:
    """A provider of dns-lexicon (`pip install 'asgi-tls[acme-dns]'`), such as "cloudflare" or "route53".

    `options` are the provider's, such as `auth_token`; they are secrets, and in no repr. Those that are missing are
    read from the environment, such as LEXICON_CLOUDFLARE_AUTH_TOKEN. After a record is set, `wait` are the seconds
    until every server of the provider's has it.
    """

    provider: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    wait: float = _USUAL_WAIT

    def check(self) -> None:
        """Raises ConfigurationError where dns-lexicon is not installed."""
        if find_spec("lexicon") is None:
            raise ConfigurationError(
                f"{{acme_dns}} is lexicon:{self.provider}, and dns-lexicon is not installed",
                fix="Install it: `pip install 'asgi-tls[acme-dns]'`.",
                settings=("acme_dns",),
            )

    def present(self, name: str, value: str) -> None:
        """Set the TXT record that validates `name`. Raises ACMEError."""
        self._change("create", name, value)
        time.sleep(self.wait)

    def clean(self, name: str, value: str) -> None:
        """Remove it. Raises ACMEError."""
        self._change("delete", name, value)

    def _change(self, action: str, name: str, value: str) -> None:
        try:
            from lexicon.client import Client
            from lexicon.config import ConfigResolver, DictConfigSource
        except ImportError:
            raise failure("dns-record", "dns-lexicon is not installed: pip install 'asgi-tls[acme-dns]'") from None
        record, first = record_of(name), None
        for zone in _zones(name):
            own = {"provider_name": self.provider, "domain": zone}
            resolver: Any = ConfigResolver
            config = resolver().with_dict({**self.options, **own, self.provider: self.options}).with_env()
            try:
                client = Client(config)
                # In place of its own guess by a list of public suffixes, which has no internal domain.
                config.add_config_source(DictConfigSource({"domain": zone}), 0)
                with client as operations:
                    change = operations.create_record if action == "create" else operations.delete_record
                    change(rtype="TXT", name=record, content=value)
            except ACMEError:
                raise
            except Exception as error:  # noqa: BLE001 -- of a hundred providers
                first = first or error  # of the longest name: where the zone is another, the first one says so
                with contextlib.suppress(AttributeError):
                    first.__traceback__ = None
            else:
                return
        # The type alone: what a provider's answer says may have the credentials in it.
        kind = "no zone" if first is None else type(first).__name__
        raise failure("dns-record", f"{self.provider} did not {action} the TXT record {record}: {kind}")


def meanwhile(work: Callable[[], None], alive: Callable[[], None]) -> None:
    """Do it in a thread, and call `alive` each second until it ends: a record may take minutes, and whoever orders has
    to hold its lock. Raises what either raises.
    """
    ended = queue.SimpleQueue[BaseException | None]()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- for whoever waits
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=run, name="asgi_tls-acme-dns", daemon=True).start()
    while True:
        try:
            error = ended.get(timeout=1.0)
        except queue.Empty:
            alive()
            continue
        if error is not None:
            raise error
        return


def record_of(name: str) -> str:
    """The name of the TXT record that validates a host name or a wildcard."""
    return _PREFIX + name.removeprefix("*.")


def _zones(name: str) -> Iterator[str]:
    """What the zone of a name may be, the longest first."""
    labels = name.removeprefix("*.").split(".")
    for at in range(len(labels) - 1):
        yield ".".join(labels[at:])
