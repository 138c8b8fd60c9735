"""What is loaded of thousands of files, and what is known of them in other processes."""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from exhausted import no_descriptor_left
from files import Files
from pki import DAY, PKI

from asgi_tls import INTERMEDIATE, PEMFiles
from asgi_tls.certificate import Certificate, PEMDirectory, Purpose
from asgi_tls.certificate.sources import PEMData
from asgi_tls.errors import (
    CertificateError,
    ConfigurationError,
    MissingFileError,
    NotPEMError,
    StaplingError,
    TooManyOpenFilesError,
)
from asgi_tls.renewal.inventory import DIGEST_ROUND, Inventory, Round
from asgi_tls.renewal.state import GRACE, PATIENCE
from asgi_tls.tickets import TicketSecretFile


@dataclass
class Counting:
    """A source that counts how often it is loaded."""

    source: PEMFiles
    loads: int = 0
    broken: Exception | None = field(default=None, repr=False)

    @property
    def paths(self) -> tuple[Path, ...]:
        return self.source.paths

    def load(self, purpose: Purpose = "server") -> Certificate:
        self.loads += 1
        if self.broken is not None:
            raise self.broken
        return self.source.load(purpose)

    def __str__(self) -> str:
        return str(self.source)


def inventory_of(sources: dict[str, Counting], **more: object) -> Inventory:
    given = {name: (source,) for name, source in sources.items()}
    return Inventory(profile=INTERMEDIATE, sources=given, **more)  # type: ignore[arg-type]


def look(inventory: Inventory, now: float, *, at_once: bool = False) -> Round:
    """One look, whose outcome is taken into use."""
    found = inventory.attempt(inventory.changed(now, interval=5.0, at_once=at_once), now)
    inventory.commit(found, inventory.offer(found), now)
    return found


def counting(files: Files, directory: Path, count: int) -> dict[str, Counting]:
    return {
        f"{number}.example": Counting(PEMFiles(*files.pki.leaf(f"{number}.example").write(directory / str(number))))
        for number in range(count)
    }


@pytest.fixture
def sources(files: Files, tmp_path: Path) -> dict[str, Counting]:
    """For 40 names."""
    return counting(files, tmp_path, 40)


@pytest.fixture
def few(files: Files, tmp_path: Path) -> dict[str, Counting]:
    """For four names."""
    return counting(files, tmp_path, 4)


def test_only_what_changed_is_loaded(files: Files, sources: dict[str, Counting], tmp_path: Path) -> None:
    inventory = inventory_of(sources)
    inventory.load(0.0)
    assert {source.loads for source in sources.values()} == {1}
    for at_once in (False, True):
        assert not look(inventory, 1.0, at_once=at_once).loaded
    new = files.pki.leaf("7.example")
    new.write(tmp_path / "7")
    (tmp_path / "8" / "fullchain.pem").touch()
    assert [item.name for item in look(inventory, 2.0).loaded] == [str(sources["7.example"])]
    assert {name: source.loads for name, source in sources.items() if source.loads > 1} == {"7.example": 2}
    assert inventory.names.groups["7.example"][0].leaf_der == new.der


def test_where_the_status_lies_the_content_is_compared_by_turns(
    files: Files, sources: dict[str, Counting], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = inventory_of(sources)
    inventory.load(0.0)
    frozen = {path: path.stat() for source in sources.values() for path in source.paths}
    real = os.stat

    def lying(path: Path, **how: bool) -> os.stat_result:  # as a network file system may
        return frozen.get(path) or real(path, **how)

    monkeypatch.setattr(os, "stat", lying)
    for name in ("3.example", "39.example"):
        files.pki.leaf(name).write(tmp_path / name.partition(".")[0])
    renewed: list[str] = []
    looks = 0
    while len(renewed) < 2:
        looks += 1
        renewed += [item.name for item in look(inventory, looks * 5.0).loaded]
        assert looks * 5.0 <= DIGEST_ROUND
    assert renewed == [str(sources["3.example"]), str(sources["39.example"])]
    assert looks == 3  # 16 at a time
    # On request everything is read at once.
    files.pki.leaf("3.example").write(tmp_path / "3")
    files.pki.leaf("39.example").write(tmp_path / "39")
    assert len(look(inventory, 100.0, at_once=True).loaded) == 2


def test_a_bad_pair_is_tried_again_and_holds_up_nobody(sources: dict[str, Counting], files: Files) -> None:
    inventory = inventory_of(sources)
    inventory.load(0.0)
    bad, before = sources["5.example"], inventory.names.groups["5.example"]
    good = bad.paths[0].read_bytes()
    bad.paths[0].write_bytes(b"garbage")
    files.pki.leaf("6.example").write(sources["6.example"].paths[0].parent)
    found = look(inventory, 1.0)
    assert len(found.loaded) == len(found.refused) == 1
    assert inventory.names.groups["5.example"] == before
    assert inventory.is_unsettled()
    assert inventory.overdue(1.5) == []
    ((item, error),) = inventory.overdue(1.0 + GRACE)
    assert item.name == str(bad)
    assert isinstance(error, NotPEMError)
    assert not inventory.is_unsettled()
    look(inventory, 10.0)
    assert inventory.overdue(1e6) == []
    bad.paths[0].write_bytes(good)
    assert look(inventory, 20.0).loaded


def test_a_source_that_fails_in_its_own_way_names_its_kind_of_failure_alone(few: dict[str, Counting]) -> None:
    inventory = inventory_of(few)
    inventory.load(0.0)
    few["1.example"].broken = RuntimeError("the vault said: hunter2")
    few["1.example"].paths[0].touch()
    few["1.example"].paths[0].write_bytes(b"other")
    look(inventory, 1.0)
    ((_, error),) = inventory.overdue(2.0 + GRACE)
    assert "RuntimeError" in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_source_that_lacks_memory_is_reported_late_unless_somebody_waits(
    few: dict[str, Counting], at_once: bool
) -> None:
    inventory = inventory_of(few)
    inventory.load(0.0)
    few["1.example"].broken = OSError(errno.ENOMEM, "Cannot allocate memory")
    few["1.example"].paths[0].write_bytes(b"other")
    look(inventory, 1.0)
    assert len(inventory.overdue(1.0 + GRACE, at_once=at_once)) == at_once
    assert len(inventory.overdue(1.0 + PATIENCE)) == (not at_once)


def test_a_lack_of_descriptors_is_no_failure_of_the_files(files: Files, tmp_path: Path) -> None:
    pki, directory = files.pki, tmp_path / "pairs"
    pki.leaf("a.example").write(directory / "a")
    pki.leaf("b.example").write(directory / "b")
    inventory = inventory_of({}, directory=PEMDirectory(directory))
    inventory.load(0.0)
    served = inventory.names.groups
    with no_descriptor_left():
        found = look(inventory, 1.0, at_once=True)
        assert not found.refused
        assert inventory.overdue(2.0 + GRACE) == []
        assert inventory.names.groups == served
        # A renewal meanwhile is taken when there are descriptors again. Where that takes long, the reason is reported.
    new = pki.leaf("a.example")
    new.write(directory / "a")
    with no_descriptor_left():
        found = look(inventory, 10.0)
        assert [item.name for item in found.refused] == [str(PEMFiles(*served_paths(directory / "a")))]
        assert inventory.overdue(11.0 + GRACE) == []
        assert not inventory.is_unsettled()  # it is tried again at each look, and not more often
        reported = inventory.overdue(10.0 + PATIENCE)
    assert {item.name for item, _ in reported} == {str(directory), *(item.name for item in found.refused)}
    assert all(error.code == TooManyOpenFilesError.code for _, error in reported)
    look(inventory, 100.0)
    assert inventory.names.groups["a.example"][0].leaf_der == new.der
    assert inventory.overdue(1e6) == []


def served_paths(directory: Path) -> tuple[str, str]:
    return f"{directory}/fullchain.pem", f"{directory}/privkey.pem"


def test_a_pair_that_is_gone_is_dropped_after_a_while_and_kept_when_it_comes_back(files: Files, tmp_path: Path) -> None:
    for name in ("a", "b"):
        files.pki.leaf(f"{name}.example").write(tmp_path / name)
    inventory = inventory_of({}, directory=PEMDirectory(tmp_path))
    inventory.load(0.0)
    (tmp_path / "a").rename(tmp_path / ".a")
    assert not look(inventory, 10.0).is_news
    assert inventory.is_unsettled()
    (tmp_path / ".a").rename(tmp_path / "a")
    look(inventory, 10.5)
    assert not look(inventory, 20.0).dropped
    (tmp_path / "a").rename(tmp_path / ".a")
    look(inventory, 30.0)
    assert look(inventory, 30.0 + GRACE).dropped == [f"{tmp_path}/a/fullchain.pem"]
    assert [*inventory.names.groups] == ["b.example"]
    assert not inventory.is_unsettled()


def test_a_certificate_that_is_gone_without_its_key_is_missing_and_stays_in_use(files: Files, tmp_path: Path) -> None:
    """In a directory of its own and in a file beside others; for a worker that starts meanwhile too."""
    files.pki.leaf("a.example").write(tmp_path / "a")
    files.pki.leaf("b.example").write(tmp_path, certfile="b.crt", keyfile="b.key")
    inventory = inventory_of({}, directory=PEMDirectory(tmp_path))
    inventory.load(0.0)
    served, missing = inventory.names.groups, [tmp_path / "a" / "fullchain.pem", tmp_path / "b.crt"]
    for path in missing:
        path.unlink()
    for now in (1.0, 100.0):
        assert not look(inventory, now).dropped
    reported = {item.key: error.code for item, error in inventory.overdue(100.0)}
    assert reported == dict.fromkeys(map(str, missing), MissingFileError.code)
    worker = inventory_of({}, directory=PEMDirectory(tmp_path))
    worker.load(0.0, known=inventory.good)
    assert worker.names.groups == inventory.names.groups == served
    # A server that starts now says so, where the key is in a directory of its own: `b.key` may be anything.
    with pytest.raises(
        MissingFileError, match=r"a/fullchain\.pem: no such file\. Put it there, or remove the other file"
    ):
        inventory_of({}, directory=PEMDirectory(tmp_path)).load(0.0)
    (tmp_path / "a" / "privkey.pem").unlink()
    (tmp_path / "b.key").unlink()
    look(inventory, 200.0)
    assert len(look(inventory, 200.0 + GRACE).dropped) == 2


def test_a_bad_newcomer_to_the_directory_keeps_no_worker_from_starting(files: Files, tmp_path: Path) -> None:
    files.pki.leaf("a.example").write(tmp_path / "a")
    inventory = inventory_of({}, directory=PEMDirectory(tmp_path))
    inventory.load(0.0)
    files.pki.leaf("b.example").write(tmp_path / "b")[1].unlink()
    look(inventory, 1.0)
    worker = inventory_of({}, directory=PEMDirectory(tmp_path))
    worker.load(0.0, known=inventory.good)
    assert worker.names.groups == inventory.names.groups
    ((item, error),) = worker.overdue(GRACE)
    assert (item.value, error.code) == (None, MissingFileError.code)


def test_a_directory_that_cannot_be_listed_drops_nothing(files: Files, tmp_path: Path) -> None:
    directory = tmp_path / "pairs"
    files.pki.leaf("a.example").write(directory / "a")
    inventory = inventory_of({}, directory=PEMDirectory(directory))
    inventory.load(0.0)
    directory.rename(tmp_path / "away")
    for now in (1.0, 100.0):
        assert not look(inventory, now).dropped
    reported = {item.name: error for item, error in inventory.overdue(100.0)}
    assert isinstance(reported[str(directory)], MissingFileError)
    assert [*inventory.names.groups] == ["a.example"]


def test_a_key_that_moves_is_another_source_of_the_same_pair(files: Files, tmp_path: Path) -> None:
    pair = files.pki.leaf("a.example")
    (tmp_path / "a.pem").write_bytes(pair.chain_pem + pair.key_pem)
    (tmp_path / "a.pem").chmod(0o600)
    inventory = inventory_of({}, directory=PEMDirectory(tmp_path))
    inventory.load(0.0)
    new = files.pki.leaf("a.example")
    new.write(tmp_path, certfile="a.pem", keyfile="a.key")
    look(inventory, 1.0)
    assert inventory.names.groups["a.example"][0].leaf_der == new.der
    assert inventory.names.groups["a.example"][0].source == f"{tmp_path}/a.pem, {tmp_path}/a.key"


def test_what_all_names_share(files: Files, tmp_path: Path) -> None:
    """Each is an item of its own, named by its files, and is offered with the certificates."""
    ca, crl, secret = (tmp_path / name for name in ("ca.pem", "crl.pem", "ticket.key"))
    lists = files.pki.crl(files.pki.root)
    for path, data in ((ca, files.pki.root_pem), (crl, lists), (secret, bytes(range(32)))):
        path.write_bytes(data)
        path.chmod(0o600)
    given = {"client_ca": ca, "client_crl": crl, "ticket_secret": TicketSecretFile(secret)}
    inventory = inventory_of({"localhost": Counting(files.ecdsa)}, **given)
    inventory.load(0.0)
    assert inventory.trust is not None
    assert inventory.secret is not None
    assert (inventory.trust.name, inventory.trust.files) == (f"{ca}, {crl}", (ca, crl))
    assert (inventory.secret.name, inventory.secret.files) == (f"ticket secret {secret}", (secret,))
    shared = {"client_ca": files.pki.root_pem.decode(), "client_crl": lists.decode(), "ticket_secret": bytes(range(32))}
    assert inventory.offer(Round()).shared == shared
    assert [item.name for item in inventory.items] == [f"{ca}, {crl}", f"ticket secret {secret}", str(files.ecdsa)]
    secret.write_bytes(bytes(range(1, 33)))
    found = inventory.attempt(inventory.changed(1.0, interval=5.0), 1.0)
    assert found.loaded.keys() == {inventory.secret}
    assert found.differs
    assert inventory.offer(found).shared == {**shared, "ticket_secret": bytes(range(1, 33))}
    alone = inventory_of({"localhost": Counting(files.ecdsa)})
    alone.load(0.0)
    assert alone.offer(Round()).shared == dict.fromkeys(shared)


def test_what_could_not_be_used_is_loaded_again_though_its_files_are_the_same(few: dict[str, Counting]) -> None:
    inventory = inventory_of(few)
    inventory.load(0.0)
    source = few["1.example"]
    source.broken = RuntimeError("the vault is closed")
    source.paths[0].write_bytes(source.paths[0].read_bytes() + b"\n")
    for now in (1.0, 2.0):
        assert [item.name for item in look(inventory, now).refused] == [str(source)]
    source.broken = None
    found = look(inventory, 3.0)
    assert [item.name for item in found.loaded] == [str(source)]
    assert found.is_news
    assert not found.differs  # the certificate that was served all the time
    assert not look(inventory, 4.0).loaded


def test_what_has_no_files_is_loaded_on_request(files: Files) -> None:
    pair = files.pki.leaf("a.example")
    inventory = Inventory(profile=INTERMEDIATE, sources={"a.example": (PEMData(pair.chain_pem, pair.key_pem),)})
    inventory.load(0.0)
    assert inventory.changed(1.0, interval=5.0) == []
    assert inventory.changed(1.0, interval=5.0, at_once=True) == inventory.items


def test_a_pair_for_another_name_is_refused_and_holds_up_nobody(
    files: Files, few: dict[str, Counting], tmp_path: Path
) -> None:
    inventory = inventory_of(few)
    inventory.load(0.0)
    before = inventory.names.groups["1.example"]
    files.pki.leaf("elsewhere.example").write(tmp_path / "1")
    new = files.pki.leaf("2.example")
    new.write(tmp_path / "2")
    found = look(inventory, 1.0)
    assert [item.name for item in found.loaded] == [str(few["2.example"])]
    assert [(item.name, type(error)) for item, error in found.refused.items()] == [
        (str(few["1.example"]), ConfigurationError)
    ]
    assert inventory.names.groups["1.example"] == before
    assert inventory.names.groups["2.example"][0].leaf_der == new.der


def test_an_empty_directory_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"is {tmp_path}, which contains no key pair") as caught:
        inventory_of({}, directory=PEMDirectory(tmp_path)).load(0.0)
    assert caught.value.settings == ("directory",)
    with pytest.raises(MissingFileError, match="none"):
        inventory_of({}, directory=PEMDirectory(tmp_path / "none")).load(0.0)


class TestKnown:
    """A worker that is started again, beside a parent that knows what was good."""

    def test_the_same_files_are_not_loaded_again(self, sources: dict[str, Counting], files: Files) -> None:
        inventory = inventory_of(sources)
        inventory.load(0.0)
        known = pickle.loads(pickle.dumps(inventory.good))
        files.pki.leaf("7.example").write(sources["7.example"].paths[0].parent)
        worker = inventory_of(sources)
        worker.load(0.0, known=known)
        assert {name for name, source in sources.items() if source.loads > 1} == {"7.example"}
        assert worker.names.groups.keys() == sources.keys()
        assert worker.names.groups["7.example"] != inventory.names.groups["7.example"]

    def test_content_counts_where_the_status_is_the_same(
        self, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = Counting(PEMFiles(*files.pki.leaf("a.example").write(tmp_path)))
        inventory = inventory_of({"a.example": source})
        inventory.load(0.0)
        frozen = {path: path.stat() for path in source.paths}
        real = os.stat
        monkeypatch.setattr(os, "stat", lambda path, **how: frozen.get(path) or real(path, **how))
        new = files.pki.leaf("a.example")
        new.write(tmp_path)
        worker = inventory_of({"a.example": source})
        worker.load(0.0, known=inventory.good)
        assert worker.names.groups["a.example"][0].leaf_der == new.der

    @pytest.mark.parametrize(("count", "more"), [(1, ""), (4, " and 1 more")])
    def test_what_the_workers_cannot_read_is_told(
        self, few: dict[str, Counting], monkeypatch: pytest.MonkeyPatch, count: int, more: str
    ) -> None:
        inventory = inventory_of(few)
        inventory.load(0.0)
        assert inventory.notes == []
        closed = [source.paths[1] for source in few.values()][:count]
        monkeypatch.setattr(os, "access", lambda path, _mode: path not in closed)  # as without root's rights
        worker = inventory_of(few)
        worker.load(0.0, known=inventory.good)
        (note,) = worker.notes
        assert note.code == "unreadable-file"
        assert note.startswith(f"{', '.join(map(str, closed[:3]))}{more} cannot be read by the user of the workers")

    def test_what_is_bad_by_now_is_served_as_it_was_and_reported(self, sources: dict[str, Counting]) -> None:
        inventory = inventory_of(sources)
        inventory.load(0.0)
        sources["7.example"].paths[0].write_bytes(b"")
        worker = inventory_of(sources)
        worker.load(0.0, known=inventory.good)
        assert worker.names.groups == inventory.names.groups
        assert [item.name for item, _ in worker.overdue(GRACE)] == [str(sources["7.example"])]
        # What this process has loaded before spares the work, and stands in for nothing.
        with pytest.raises(CertificateError, match="is empty"):
            inventory_of(sources).load(0.0, loaded=inventory.good)
        # Nor does what was bad in the parent already pass for what is on disk.
        look(inventory, 1.0)
        again = inventory_of(sources)
        again.load(0.0, known=inventory.good)
        assert again.names.groups == inventory.names.groups
        assert again.overdue(GRACE)

    def test_what_does_not_fit_its_name_any_more_is_refused(self, files: Files, tmp_path: Path) -> None:
        source = Counting(PEMFiles(*files.pki.leaf("a.example").write(tmp_path)))
        inventory = inventory_of({"a.example": source})
        inventory.load(0.0)
        with pytest.raises(ConfigurationError, match="is set for 'b.example'"):
            inventory_of({"b.example": source}).load(0.0, known=inventory.good)

    def test_sources_in_memory_are_not_taken_for_each_other(self, files: Files) -> None:
        pairs = {name: files.pki.leaf(name) for name in ("a.example", "b.example")}
        given = {name: (PEMData(pair.chain_pem, pair.key_pem),) for name, pair in pairs.items()}
        inventory = Inventory(profile=INTERMEDIATE, sources=given)
        inventory.load(0.0)
        worker = Inventory(profile=INTERMEDIATE, sources=given)
        worker.load(0.0, known=inventory.good, loaded=inventory.good)
        assert {name: group[0].leaf_der for name, group in worker.names.groups.items()} == {
            name: pair.der for name, pair in pairs.items()
        }

    def test_a_directory_that_is_gone_by_now(self, files: Files, tmp_path: Path) -> None:
        directory = tmp_path / "pairs"
        files.pki.leaf("a.example").write(directory / "a")
        inventory = inventory_of({}, directory=PEMDirectory(directory))
        inventory.load(0.0)
        directory.rename(tmp_path / "away")
        worker = inventory_of({}, directory=PEMDirectory(directory))
        worker.load(0.0, known=inventory.good)
        assert worker.names.groups == inventory.names.groups

    def test_each_is_vetted_known_or_not(self, sources: dict[str, Counting]) -> None:
        def vet(certificate: Certificate) -> None:
            if "7.example" in certificate.dns_names:
                raise StaplingError("no response", fix="Ask the CA.")

        inventory = inventory_of(sources)
        inventory.load(0.0)
        for known in ({}, inventory.good):
            worker = inventory_of(sources, vet=vet)
            if known:
                worker.load(0.0, known=known)
                assert [error.code for _, error in worker.overdue(GRACE)] == [StaplingError.code]
            else:
                with pytest.raises(StaplingError, match="no response"):
                    worker.load(0.0)


def test_a_new_trust_is_tried_before_it_is_taken(files: Files, tmp_path: Path) -> None:
    """Two CAs at once: one renewal that is refused must not hold up the other."""
    bundle, source = tmp_path / "ca.pem", Counting(files.ecdsa)
    bundle.write_bytes(files.pki.root_pem)
    inventory = inventory_of({"localhost": source}, client_ca=bundle)
    inventory.load(0.0)
    bundle.write_bytes(PKI("Other").root_pem)
    found = look(inventory, 1.0)
    assert found.loaded.keys() == {inventory.trust}
    bundle.write_bytes(b"garbage")
    assert look(inventory, 2.0).refused.keys() == {inventory.trust}


def test_what_expires_first_gives_way(files: Files, tmp_path: Path) -> None:
    short = files.pki.leaf("a.example", not_after=files.pki.now + 10 * DAY)
    short.write(tmp_path / "a")
    inventory = inventory_of({}, directory=PEMDirectory(tmp_path))
    inventory.load(0.0)
    long = files.pki.leaf("a.example", not_after=files.pki.now + 80 * DAY)
    long.write(tmp_path / "b")
    for now, step in zip(itertools.count(1.0, 10.0), ("added", "gone", "dropped"), strict=False):
        if step == "gone":
            shutil.rmtree(tmp_path / "b")
        look(inventory, now)
        served = inventory.names.groups["a.example"][0].leaf_der
        assert served == (short.der if step == "dropped" else long.der), step
