"""A file that this user may not read: the error names what is in the way, and the command that it prints helps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nobody import as_nobody
from pki import PKI, Pair

from asgi_tls import ServerTLS
from asgi_tls.certificate import KubernetesSecret, LetsEncrypt, PasswordFile, PEMDirectory, PEMFiles
from asgi_tls.certificate.sources import files_or_secret
from asgi_tls.certificate.trust import load_ca_bundle, load_client_trust
from asgi_tls.errors import UnreadableFileError
from asgi_tls.profile import INTERMEDIATE
from asgi_tls.renewal.inventory import Inventory
from asgi_tls.renewal.watch import DirectoryWatch
from asgi_tls.tickets import TicketSecretFile, load_secret

pytestmark = pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="only root can give files to others")


@pytest.fixture(scope="module")
def pair() -> Pair:
    return PKI().leaf("example.com")


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that everybody may search, unlike pytest's."""
    path = Path(tempfile.mkdtemp()).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def certbot(directory: Path, pair: Pair) -> Path:
    """live/ and archive/ as certbot makes them; the files have the group of the server's user already."""
    archive, live = directory / "le dir/archive/example.com", directory / "le dir/live/example.com"
    live.mkdir(parents=True)
    for file in pair.write(archive, certfile="fullchain1.pem", keyfile="privkey1.pem"):
        os.chown(file, 0, 65534)
        file.chmod(0o640)
        (live / file.name.replace("1", "")).symlink_to(f"../../archive/example.com/{file.name}")
    for path in (live.parent, archive.parent):
        path.chmod(0o700)
    return live.parent.parent


def refusal(load: Callable[[], object]) -> UnreadableFileError:
    with as_nobody(), pytest.raises(UnreadableFileError) as caught:
        load()
    return caught.value


def command(error: UnreadableFileError) -> str:
    found = re.search("`(.+)`", error.fix)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("by_name", [False, True], ids=["files", "name"])
def test_certbot_s_directories_are_named_one_after_the_other(certbot: Path, *, by_name: bool) -> None:
    live, archive = certbot / "live", certbot / "archive"
    certfile = live / "example.com/fullchain.pem"
    source = LetsEncrypt("example.com", live) if by_name else PEMFiles(certfile, certfile.with_name("privkey.pem"))
    for directory in (live, archive):
        error = refusal(source.load)
        if by_name and directory == live:
            assert str(error).startswith(f"{live}: permission denied to read the directory. ")
        else:
            says = (
                f"{certfile}: permission denied to read the certificate: the user nobody may not search {directory}. "
            )
            assert str(error).startswith(says)
        assert command(error) == f"chgrp nogroup '{directory}' && chmod g+rx '{directory}'"
        subprocess.run(command(error), shell=True, check=True)
        assert directory.stat().st_mode & 0o777 == 0o750
    with as_nobody():
        assert source.load().dns_names == ("example.com",)


def test_a_link_to_an_absolute_path_and_the_working_directory(
    directory: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    certfile, keyfile = pair.write(directory / "closed/inner")
    (directory / "work/links").mkdir(parents=True)
    (directory / "work/links/chain.pem").symlink_to(certfile.parent)
    monkeypatch.chdir(directory / "work")
    (directory / "closed").chmod(0o700)
    named = PEMFiles("links/../links/chain.pem/fullchain.pem", keyfile)
    assert f"may not search {directory}/closed. " in str(refusal(named.load))
    Path().chmod(0o700)
    assert f"may not search {directory}/work. " in str(refusal(named.load))


# Owner and group of a key, its mode, and what helps. Nobody is in nogroup.
FILES: dict[str, tuple[int, int, int, str]] = {
    "its own": (65534, 0, 0o040, "chmod u+r {}"),
    "of its group": (0, 65534, 0o600, "chmod g+r {}"),
    "of root": (0, 0, 0o640, "chgrp nogroup {} && chmod g+r {}"),
    "of a group that it is not in": (0, 1, 0o640, "usermod -aG daemon nobody"),
    "of a group that may not read it either": (0, 1, 0o600, "chgrp nogroup {} && chmod g+r {}"),
}


@pytest.mark.parametrize(("owner", "group", "mode", "fix"), FILES.values(), ids=FILES)
def test_the_command_fits_the_file(directory: Path, pair: Pair, owner: int, group: int, mode: int, fix: str) -> None:
    certfile, keyfile = pair.write(directory)
    os.chown(keyfile, owner, group)
    keyfile.chmod(mode)
    error = refusal(PEMFiles(certfile, keyfile).load)
    assert str(error).startswith(f"{keyfile}: permission denied to read the key. Let the server's user read it: `")
    assert command(error) == fix.format(keyfile, keyfile)
    if "usermod" not in fix:
        subprocess.run(command(error), shell=True, check=True)
        with as_nobody():
            PEMFiles(certfile, keyfile).load()
        assert keyfile.stat().st_mode & mode == mode


def test_every_kind_of_file_has_the_same_advice(directory: Path, pair: Pair) -> None:
    pki = PKI()
    certfile, _ = pair.write(directory)
    authorities, closed = directory / "ca.pem", directory / "closed"
    authorities.write_bytes(pki.root_pem)
    pair.write(closed, certfile="tls.crt", keyfile="tls.key")
    locked = directory / "locked.key"
    locked.write_bytes(pair.encrypted_key_pem(b"secret"))
    closed.chmod(0o700)
    file = closed / "file"
    loads: list[Callable[[], object]] = [
        PEMFiles(certfile, file).load,
        PEMFiles(certfile, locked, PasswordFile(file)).load,
        files_or_secret(closed / "tls.crt", closed / "tls.key").load,
        lambda: load_client_trust(file),
        lambda: load_client_trust(authorities, file),
        lambda: load_ca_bundle(file),
        lambda: load_secret(TicketSecretFile(file)),
        PEMDirectory(closed / "pairs").pairs,
        lambda: LetsEncrypt("example.com", closed / "live").load(),
        lambda: ServerTLS({}, directory=closed / "pairs").check(),
    ]
    for load in loads:
        error = refusal(load)
        assert f": the user nobody may not search {closed}. " in str(error)
        assert command(error) == f"chgrp nogroup {closed} && chmod g+rx {closed}"


def test_a_directory_that_may_be_searched_and_not_listed(directory: Path, pair: Pair) -> None:
    pair.write(directory / "live/example.com")
    live = directory / "live"
    live.chmod(0o711)
    for load in (PEMDirectory(live).pairs, LetsEncrypt("example.org", live).load):
        error = refusal(load)
        assert str(error).startswith(f"{live}: permission denied to read the directory. ")
        assert f"et the server's user list it: `chgrp nogroup {live} && chmod g+rx {live}`" in error.fix


def test_what_is_behind_a_closed_directory_is_not_watched(directory: Path, pair: Pair) -> None:
    """The worker of another user, whose parent has loaded the files."""
    certfile, keyfile = pair.write(directory / "closed/inner")
    inventory = Inventory(profile=INTERMEDIATE, sources={"default": (PEMFiles(certfile, keyfile),)})
    inventory.load(0)
    (directory / "closed").chmod(0o700)
    with as_nobody(), DirectoryWatch(lambda: None) as watch:
        watch.update(inventory.items, None)


def test_a_secret_in_a_closed_directory_is_not_missing(directory: Path, pair: Pair) -> None:
    pair.write(directory / "closed/tls", certfile="tls.crt", keyfile="tls.key")
    (directory / "closed/tls/..data").symlink_to(".")
    (directory / "closed").chmod(0o700)
    error = refusal(KubernetesSecret(directory / "closed/tls").load)
    assert f"may not search {directory}/closed. " in str(error)
    with as_nobody():
        source = files_or_secret(directory / "closed/tls/tls.crt", directory / "closed/tls/tls.key")
    assert source.paths == KubernetesSecret(directory / "closed/tls").paths
