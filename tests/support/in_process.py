"""`asgi-tls …` in the process of the tests, which costs a hundredth of a process of its own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from click.testing import CliRunner
from servers import asgi_tls, run

from asgi_tls import INTERMEDIATE
from asgi_tls.cli import main
from asgi_tls.context.policy import enforceable

# click before 8.2 mixes the two streams, unless it is told not to.
_SEPARATE: Final[dict[str, Any]] = (
    {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
)
RUNNER: Final = CliRunner(**_SEPARATE)
"""Its results have `stdout` and `stderr`."""


def here(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command line of `asgi_tls(…)` that does not serve: its exit status and all that it printed.

    What serves is to be refused. Where it is not, it ends as well: nobody can import its application.
    """
    start = asgi_tls()
    assert [*command[: len(start)]] == start
    if not enforceable(INTERMEDIATE, server=True):  # it would start this process again, with OPENSSL_CONF
        return run(command, cwd=Path.cwd(), env=env)
    arguments = [part.replace("facts_app:", "nowhere:") for part in command[len(start) :]]
    process = os.getpid()
    with patch.dict(os.environ, env or {}):  # and nothing stays that the command sets
        done = CliRunner().invoke(main, arguments, prog_name="asgi-tls")
    if os.getpid() != process:
        os._exit(1)  # a worker that gunicorn has forked
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output
