"""The pairs in a directory: which files belong together, and what is passed over."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from exhausted import no_descriptor_left
from nobody import as_nobody

from asgi_tls.certificate import PEMDirectory
from asgi_tls.certificate.directory import Pair
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


def touch(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.touch()


def listed(directory: Path, before: Sequence[Pair] = ()) -> list[tuple[str, ...]]:
    """The pairs, relative to the directory."""
    found = PEMDirectory(directory).pairs(before)
    return [tuple(os.path.relpath(file, directory) for file in pair if file is not None) for pair in found]


def test_a_key_in_a_subdirectory_is_half_a_pair(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a/privkey.pem",
        "b/privkey.pem",
        "b/cert.pem",
        "c/tls.key",
        "d/privkey.key",
        "e/privkey.pem",
        "e/tls.crt",
    )
    assert listed(tmp_path) == [
        ("a/fullchain.pem", "a/privkey.pem"), ("b/fullchain.pem", "b/privkey.pem"), ("c/tls.crt", "c/tls.key"),
        ("d/fullchain.cer", "d/privkey.key"), ("e/tls.crt", "e/tls.key"),
    ]  # fmt: skip


def test_what_tools_leave_beside_the_pairs(tmp_path: Path) -> None:
    """certbot, acme.sh before it has a certificate, lego, the kubelet, a volume that was just made."""
    touch(tmp_path, "README", "x.example_ecc/x.example.key", "x.example_ecc/x.example.csr", "accounts/key.json")
    touch(tmp_path, "..2026/tls.key", "x.example.issuer.crt.json", "ticket.key")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "old.example").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "lost+found").mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    with contextlib.chdir(tmp_path), as_nobody():
        assert listed(Path()) == []


def test_what_is_left_of_a_pair(tmp_path: Path) -> None:
    """While its key is there, its certificate is missing; under another name, with the same key, it is another pair."""
    touch(tmp_path, "a.pem", "a.key", "b.pem", "b.key", "c.pem", "d/tls.crt", "d/tls.key")
    before = PEMDirectory(tmp_path).pairs()
    for name in ("a.pem", "c.pem", "d/tls.crt"):
        (tmp_path / name).unlink()
    (tmp_path / "b.pem").rename(tmp_path / "b.crt")
    left = [("b.crt", "b.key"), ("d/tls.crt", "d/tls.key"), ("a.pem", "a.key")]
    assert listed(tmp_path, before) == left
    assert listed(tmp_path, PEMDirectory(tmp_path).pairs(before)) == left
    touch(tmp_path, "d/fullchain.pem", "d/privkey.pem")
    (tmp_path / "a.key").unlink()
    (tmp_path / "d" / "tls.key").unlink()
    assert listed(tmp_path, before) == [("b.crt", "b.key"), ("d/fullchain.pem", "d/privkey.pem")]


def test_a_link_to_a_directory_that_is_away(tmp_path: Path) -> None:
    volume, sites = tmp_path / "volume", tmp_path / "sites"
    sites.mkdir()
    touch(tmp_path, "volume/tls.crt", "volume/tls.key")
    (sites / "a").symlink_to(volume)
    before = PEMDirectory(sites).pairs()
    volume.rename(tmp_path / "away")
    assert listed(sites, before) == [("a/tls.crt", "a/tls.key")]
    (sites / "a").unlink()
    assert listed(sites, before) == []


def test_a_subdirectory_that_may_not_be_entered_has_the_pair_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/fullchain.pem", "b/tls.crt", "b/tls.key", "c/readme", "flat.pem", "flat.key")
    (tmp_path / "closed").mkdir()
    touch(tmp_path / "closed", "d/tls.crt", "e.pem")
    for name in ("d", "e.pem"):
        (tmp_path / name).symlink_to(f"closed/{name}")
    (tmp_path / "loop").symlink_to("loop")
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the directories above it are closed to others
    before = PEMDirectory(".").pairs()
    for name in ("a", "b", "c", "closed"):
        (tmp_path / name).chmod(0o700)
    expected = [
        ("a/fullchain.pem", "a/privkey.pem"), ("b/tls.crt", "b/tls.key"), ("c/fullchain.pem", "c/privkey.pem"),
        ("closed/fullchain.pem", "closed/privkey.pem"), ("d/tls.crt", "d/tls.key"), ("e.pem",),
        ("flat.pem", "flat.key"), ("loop/fullchain.pem", "loop/privkey.pem"),
    ]  # fmt: skip
    with as_nobody():
        assert listed(Path(), before) == expected
        assert listed(Path())[1] == ("b/fullchain.pem", "b/privkey.pem")  # nothing is known of it


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
