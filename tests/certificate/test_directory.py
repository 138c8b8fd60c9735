"""The pairs in a directory: which files belong together, and what is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from exhausted import no_descriptor_left

from asgi_tls.certificate import PEMDirectory
from asgi_tls.errors import ConfigurationError, MissingFileError, TooManyOpenFilesError, UnreadableFileError


def test_the_pairs_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in (
        "f.pem", "e/fullchain.cer", "d/tls.crt", "c.pem", "c.key", "b/fullchain.pem", "b/tls.crt", "a.crt", "a.key",
        ".hidden.pem", ".git/fullchain.pem", "notes.txt", "g.key", "h/cert.pem", "i.crt.old",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "j").mkdir()
    expected = [
        ("a.crt", "a.key"), ("b/fullchain.pem", "b/privkey.pem"), ("c.pem", "c.key"), ("d/tls.crt", "d/tls.key"),
        ("e/fullchain.cer", "e/privkey.key"), ("f.pem", None),
    ]  # fmt: skip
    assert PEMDirectory(tmp_path).pairs() == tuple(
        (f"{tmp_path}/{certificate}", None if key is None else f"{tmp_path}/{key}") for certificate, key in expected
    )
    assert str(PEMDirectory(tmp_path)) == str(tmp_path)


def test_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, kind, says in (
        ("none", MissingFileError, "no such directory"),
        ("file/none", MissingFileError, "no such directory"),
        ("file", UnreadableFileError, "is a file, not a directory. Name the directory"),
    ):
        with pytest.raises(kind, match=f"{name}: {says}") as caught:
            PEMDirectory(tmp_path / name).pairs()
        assert caught.value.path == tmp_path / name
    with no_descriptor_left(), pytest.raises(TooManyOpenFilesError) as exhausted:
        PEMDirectory(tmp_path).pairs()
    assert exhausted.value.path == tmp_path
    with pytest.raises(ConfigurationError, match="directory='' is not a path"):
        PEMDirectory("")
