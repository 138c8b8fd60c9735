"""What is known of one thing that is loaded from files, as a state machine: each transition is a function of its own.

    None -- took --> Good -- refused --> Bad -- took --> Good
    None -- refused --> Bad(value=None)

A Bad state keeps the last good value, which stays in use, and remembers whether its error has been reported.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeAlias, TypeVar

from asgi_tls.errors import ASGITLSError, TooManyOpenFilesError

T = TypeVar("T")

GRACE: Final = 1.0
"""Seconds that files may be bad before that is reported, and a pair be missing before it is dropped."""

PATIENCE: Final = 30.0
"""Seconds before an error is reported that is not the files' own and passes by itself."""


@dataclass(frozen=True)
class Good(Generic[T]):
    """The files hold `value`, which is in use."""

    value: T


@dataclass(frozen=True)
class Bad(Generic[T]):
    """The files cannot be used, since `since` (monotonic). `value` was loaded before and is in use, None at a start."""

    value: T | None
    error: ASGITLSError
    since: float
    reported: str | None = None


State: TypeAlias = Good[T] | Bad[T]


def took(value: T) -> Good[T]:
    """The files were loaded, and their value was taken into use."""
    return Good(value)


def refused(state: State[T] | None, error: ASGITLSError, now: float) -> Bad[T]:
    """The files cannot be used. A failure that goes on keeps its beginning, and what was reported of it."""
    found: BaseException | None = error
    while found is not None:  # a traceback would keep alive whatever was at work
        found.__traceback__, found = None, found.__cause__ or found.__context__
    if isinstance(state, Bad):
        return replace(state, error=error)
    return Bad(None if state is None else state.value, error, now)


def is_unreported(state: State[T] | None) -> bool:
    """Whether an error waits to be reported: each text is reported once, until the files are good again."""
    return isinstance(state, Bad) and state.reported != str(state.error)


def is_due(state: State[T] | None, now: float, *, at_once: bool) -> bool:
    """Whether to report the error now."""
    if not isinstance(state, Bad) or not is_unreported(state):
        return False
    return at_once or now - state.since >= (PATIENCE if is_passing(state.error) else GRACE)


def reported(state: Bad[T]) -> Bad[T]:
    """The error was reported."""
    return replace(state, reported=str(state.error))


def is_passing(error: ASGITLSError) -> bool:
    """Whether another attempt may succeed with the same files: descriptors and memory may run out for a while."""
    cause = error.__cause__
    return isinstance(error, TooManyOpenFilesError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
