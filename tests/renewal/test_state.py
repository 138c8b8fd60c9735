"""The state of what is loaded from files: each transition, and what is reported when."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from asgi_tls.certificate.material import out_of_descriptors, read_material
from asgi_tls.errors import ASGITLSError, CertificateError, EmptyFileError, MissingFileError
from asgi_tls.renewal.state import (
    GRACE,
    PATIENCE,
    Bad,
    Good,
    State,
    is_due,
    is_passing,
    is_unreported,
    refused,
    reported,
    took,
)

MISSING = MissingFileError("no such file", fix="Check the path.")
EMPTY = EmptyFileError("is empty", fix="Write it again.")


def passing(number: int) -> ASGITLSError:
    cause = OSError(number, "not now")
    error = out_of_descriptors(cause) or CertificateError("cannot be read", fix="Try again.")
    error.__cause__ = cause
    return error


def test_what_was_good_stays_in_use_while_the_files_are_bad() -> None:
    state: State[str] = refused(took("first"), MISSING, now=10.0)
    assert state == Bad("first", MISSING, since=10.0)
    state = refused(state, EMPTY, now=20.0)
    assert state == Bad("first", EMPTY, since=10.0)  # it has been bad since then, whatever the reason is
    assert took("second") == Good("second")


def test_what_was_never_good_has_no_value() -> None:
    assert refused(None, MISSING, now=1.0) == Bad(None, MISSING, since=1.0)


def test_an_error_is_reported_once_until_it_is_another_or_the_files_were_good() -> None:
    state = refused(took("first"), MISSING, now=0.0)
    assert is_unreported(state)
    assert not is_due(state, now=GRACE / 2, at_once=False)
    assert is_due(state, now=GRACE / 2, at_once=True)
    assert is_due(state, now=GRACE, at_once=False)
    state = reported(state)
    for later in (GRACE, 100 * GRACE, 1e9):
        state = refused(state, MISSING, now=later)
        assert not is_due(state, now=later, at_once=False)
        assert not is_due(state, now=later, at_once=True)
    assert is_due(refused(state, EMPTY, now=1e9), now=1e9, at_once=False)
    again = refused(took("second"), MISSING, now=1e9)
    assert not is_due(again, now=1e9 + GRACE / 2, at_once=False)
    assert is_due(again, now=1e9 + GRACE, at_once=False)


@pytest.mark.parametrize("with_cause", [True, False])
def test_an_error_that_is_kept_keeps_nothing_alive_that_was_at_work(tmp_path: Path, *, with_cause: bool) -> None:
    with pytest.raises(MissingFileError, match="no such file") as caught:
        read_material(tmp_path / "none", "certificate")
    if not with_cause:
        caught.value.__cause__ = None
    chain = [caught.value, caught.value.__context__]
    assert [one is not None and one.__traceback__ is not None for one in chain] == [True, True]
    refused(None, caught.value, now=1.0)
    assert [one is not None and one.__traceback__ is not None for one in chain] == [False, False]


def test_nothing_is_due_of_what_is_good_or_was_never_loaded() -> None:
    for state in (None, took("first")):
        assert not is_unreported(state)
        assert not is_due(state, now=1e9, at_once=True)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_lack_of_descriptors_or_memory_passes_and_is_reported_late(number: int) -> None:
    state = refused(took("first"), passing(number), now=0.0)
    assert is_passing(state.error)
    assert not is_due(state, now=PATIENCE - 0.1, at_once=False)
    assert is_due(state, now=PATIENCE, at_once=False)


def test_a_file_that_is_missing_or_forbidden_does_not_pass(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CertificateError, match=r"no such file|is a directory") as caught:
            read_material(path, "certificate")
        assert not is_passing(caught.value)
    assert not is_passing(passing(errno.EACCES))
