"""What each trust store would run, as data, on machines that are directories."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import DISTRIBUTIONS, Machine
from pki import PKI

from asgi_tls.dev.ca import LocalCA
from asgi_tls.dev.stores import Anchor, Command, TrustStore, family_of, find_stores
from asgi_tls.dev.stores.change import Change
from asgi_tls.errors import TrustStoreError

LINUX = ("debian", "fedora", "arch")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture
def ca(machine: Machine) -> LocalCA:
    local = LocalCA(machine.home / "data")
    local.ensure()
    return local


def anchor_of(ca: LocalCA) -> Anchor:
    return Anchor.read(ca.certificate_path)


def make_anew(ca: LocalCA) -> Anchor:
    shutil.rmtree(ca.certificate_path.parent)
    ca.ensure()
    return anchor_of(ca)


def system_store(machine: Machine) -> TrustStore:
    (store,) = find_stores(machine.host(), ["system"])
    return store


@pytest.mark.parametrize("name", LINUX)
def test_what_a_linux_store_runs(machine: Machine, ca: LocalCA, name: str) -> None:
    place = machine.distribution(name)
    store, anchor = system_store(machine), anchor_of(ca)
    refresh = [str(machine.root / "usr/sbin" / DISTRIBUTIONS[name][2]), *(["extract"] if name == "fedora" else [])]
    target = place / f"{anchor.label}.crt"
    assert store.install(anchor) == (
        Command(("install", "-m", "0644", str(anchor.path), str(target)), privileged=True),
        Command(tuple(refresh), privileged=True),
    )
    assert store.uninstall(family_of(anchor.path), anchor) == ()
    assert machine.log == []


@pytest.mark.parametrize("name", LINUX)
def test_a_linux_store_comes_and_goes(machine: Machine, ca: LocalCA, name: str) -> None:
    place, host = machine.distribution(name), machine.host()
    foreign = place / "company.crt"
    foreign.write_bytes(PKI().root_pem)
    neighbour = place / "asgi-tls-00000000-0123456789abcdef.crt"  # another user's
    neighbour.write_bytes(PKI().root_pem)
    store, anchor = system_store(machine), anchor_of(ca)
    family = family_of(anchor.path)
    Change.planned(lambda: store.install(anchor)).carry_out(host)
    assert (place / f"{anchor.label}.crt").read_text() == anchor.pem
    assert anchor.pem in (machine.root / DISTRIBUTIONS[name][1]).read_text()
    assert store.install(anchor) == ()
    Change.planned(lambda: store.uninstall(family, anchor)).carry_out(host)
    assert store.uninstall(family, anchor) == ()
    assert sorted(place.iterdir()) == sorted([foreign, neighbour])
    assert anchor.pem not in (machine.root / DISTRIBUTIONS[name][1]).read_text()


def test_a_bundle_that_was_not_made_anew_is_noticed(machine: Machine, ca: LocalCA) -> None:
    place, host = machine.distribution("debian"), machine.host()
    bundle = machine.root / DISTRIBUTIONS["debian"][1]
    store, anchor = system_store(machine), anchor_of(ca)
    Change.planned(lambda: store.install(anchor)).carry_out(host)
    bundle.write_text("")
    assert [command.argv[0] for command in store.install(anchor)][-1].endswith("update-ca-certificates")
    bundle.write_text(anchor.pem.replace("\n", "\r\n"))
    assert store.install(anchor) == ()
    (place / f"{anchor.label}.crt").unlink()
    assert len(store.uninstall(family_of(anchor.path), anchor)) == 1


def test_the_links_to_it_go_with_it(machine: Machine, ca: LocalCA) -> None:
    """update-ca-certificates leaves them, where nothing else changes."""
    place, host = machine.distribution("debian"), machine.host()
    store, anchor = system_store(machine), anchor_of(ca)
    Change.planned(lambda: store.install(anchor)).carry_out(host)
    certs = machine.root / "etc/ssl/certs"
    (certs / f"{anchor.label}.pem").symlink_to(place / f"{anchor.label}.crt")
    (certs / "0a1b2c3d.0").symlink_to(f"{anchor.label}.pem")
    (certs / "4e5f6071.0").symlink_to("company.pem")
    Change.planned(lambda: store.uninstall(family_of(anchor.path), anchor)).carry_out(host)
    assert sorted(path.name for path in certs.iterdir()) == ["4e5f6071.0", "ca-certificates.crt"]


def test_javas_keystore_on_debian(machine: Machine, ca: LocalCA) -> None:
    machine.program("usr/bin/keytool")
    assert find_stores(machine.host()) == ()
    keystore = machine.directory("etc/ssl/certs/java") / "cacerts"
    keystore.touch()
    store, anchor = system_store(machine), anchor_of(ca)
    listing = machine.root / "listing"
    keytool = str(machine.program("usr/bin/keytool", f"cat {listing}"))
    password = ("-keystore", str(keystore), "-storepass", "changeit")

    def alias(label: str) -> str:
        return f"debian:{label}.pem"

    def listed(*labels: str) -> None:
        entries = (f"{alias(label)}, Nov 24, 2026, trustedCertEntry, \n" for label in ("company", *labels))
        listing.write_text("Your keystore contains these:\n" + "".join(entries))

    def deletion(label: str) -> Command:
        return Command((keytool, "-delete", "-alias", alias(label), *password), privileged=True)

    listed()
    add = (keytool, "-importcert", "-noprompt", "-alias", alias(anchor.label), "-file", str(anchor.path), *password)
    assert store.install(anchor) == (Command(add, privileged=True),)
    assert store.uninstall(family_of(anchor.path), anchor) == ()
    old, foreign = f"{anchor.family}-0123456789abcdef", "asgi-tls-00000000-0123456789abcdef"
    listed(anchor.label, old, foreign)
    assert store.install(anchor) == (deletion(old),)
    assert store.uninstall(anchor.family, None) == tuple(map(deletion, sorted([anchor.label, old])))
    machine.program("usr/bin/keytool", "echo 'keystore password was incorrect'; exit 1")
    with pytest.raises(TrustStoreError, match="cacerts: keystore password was incorrect"):
        store.install(anchor)


def test_a_ca_that_was_made_anew_takes_the_place_of_the_old(machine: Machine, ca: LocalCA) -> None:
    place, host = machine.distribution("debian"), machine.host()
    store, old = system_store(machine), anchor_of(ca)
    Change.planned(lambda: store.install(old)).carry_out(host)
    new = make_anew(ca)
    assert new.label != old.label
    Change.planned(lambda: store.install(new)).carry_out(host)
    assert [path.name for path in place.iterdir()] == [f"{new.label}.crt"]
    newer = make_anew(ca)
    Change.planned(lambda: store.uninstall(family_of(newer.path), newer)).carry_out(host)
    assert list(place.iterdir()) == []


def test_a_ca_that_is_gone_or_was_moved_is_found_by_its_label(machine: Machine, ca: LocalCA) -> None:
    place, host = machine.distribution("debian"), machine.host()
    store, anchor = system_store(machine), anchor_of(ca)
    Change.planned(lambda: store.install(anchor)).carry_out(host)
    moved = machine.home / "elsewhere"
    ca.directory.rename(moved)
    assert store.uninstall(family_of(ca.certificate_path), None)[0].argv[-1] == str(place / f"{anchor.label}.crt")
    there = anchor_of(LocalCA(moved))
    assert there.label != anchor.label
    assert store.uninstall(family_of(there.path), there)[0].argv[-1] == str(place / f"{anchor.label}.crt")
    Change.planned(lambda: store.install(there)).carry_out(host)
    assert [path.name for path in place.iterdir()] == [f"{there.label}.crt"]


def test_a_store_needs_its_directory_and_its_program(machine: Machine) -> None:
    assert find_stores(machine.host()) == ()
    machine.directory("usr/local/share/ca-certificates")
    assert find_stores(machine.host()) == ()
    # A program that root is to run is not taken from where the user may write.
    machine.program("home/me/bin/update-ca-certificates")
    assert find_stores(machine.host()) == ()
    machine.program("usr/sbin/update-ca-certificates")
    assert len(find_stores(machine.host())) == 1
    assert find_stores(machine.host(), ["nss"]) == ()


def test_a_failure_says_what_the_program_said_and_what_to_run(machine: Machine, ca: LocalCA) -> None:
    machine.distribution("debian")
    machine.program("usr/sbin/update-ca-certificates", "echo 'the disk is full' >&2; exit 7")
    store, anchor = system_store(machine), anchor_of(ca)
    with pytest.raises(TrustStoreError, match="status 7: the disk is full") as caught:
        Change.planned(lambda: store.install(anchor)).carry_out(machine.host())
    assert f"install -m 0644 {anchor.path}" in caught.value.fix
    machine.program("usr/sbin/update-ca-certificates", "true")
    with pytest.raises(TrustStoreError, match="changed nothing"):
        Change.planned(lambda: store.install(anchor)).carry_out(machine.host())


def test_what_macos_runs(machine: Machine, ca: LocalCA) -> None:
    machine.platform = "darwin"
    keychain = machine.root / "Library/Keychains/System.keychain"
    anchor = anchor_of(ca)
    listed = f"SHA-256 hash: {anchor.fingerprint.upper()}"
    program = str(machine.program("usr/bin/security", "[ $1 != verify-cert ]"))
    store = system_store(machine)
    policies = ("-r", "trustRoot", "-p", "ssl", "-p", "basic", "-k", str(keychain))
    assert store.install(anchor) == (
        Command((program, "add-trusted-cert", "-d", *policies, str(anchor.path)), privileged=True),
    )
    assert store.uninstall(family_of(anchor.path), anchor) == ()
    machine.program("usr/bin/security", f"echo '{listed}'")
    assert store.install(anchor) == ()
    assert store.uninstall(family_of(anchor.path), anchor) == (
        Command((program, "remove-trusted-cert", "-d", str(anchor.path)), privileged=True),
        Command((program, "delete-certificate", "-Z", anchor.fingerprint.upper(), str(keychain)), privileged=True),
    )
    assert (
        machine.log
        == [
            f"security verify-cert -l -L -q -c {anchor.path}",
            f"security find-certificate -a -Z {keychain}",
        ]
        * 2
    )


def test_what_windows_runs(machine: Machine, ca: LocalCA) -> None:
    machine.platform = "win32"
    machine.environ = {"SystemRoot": str(machine.root / "Windows")}
    anchor = anchor_of(ca)
    program = str(machine.program("Windows/System32/certutil.exe", "exit 2"))
    store = system_store(machine)
    serial = f"{anchor.certificate.serial_number:040x}"
    assert store.install(anchor) == (Command((program, "-user", "-addstore", "Root", str(anchor.path))),)
    assert store.uninstall(family_of(anchor.path), anchor) == ()
    machine.program("Windows/System32/certutil.exe")
    assert store.install(anchor) == ()
    assert store.uninstall(family_of(anchor.path), anchor) == (
        Command((program, "-user", "-delstore", "Root", serial)),
    )
    assert machine.log == [f"certutil.exe -user -store Root {serial}"] * 4
    assert find_stores(machine.host(), ["nss"]) == ()
    assert machine.host().shown(Command(("a b", "c"))) == '"a b" c'


def names(machine: Machine) -> list[str]:
    return [store.name.replace(f"({machine.home}/", "(") for store in find_stores(machine.host(), ["nss"])]


@pytest.mark.parametrize(
    ("place", "browser"),
    [
        (".pki/nssdb", "Chromium"),
        (".local/share/pki/nssdb", "Chromium"),
        ("snap/chromium/current/.pki/nssdb", "Chromium"),
        ("snap/chromium/current/.local/share/pki/nssdb", "Chromium"),
        (".var/app/com.google.Chrome/.pki/nssdb", "Chromium"),
        (".var/app/org.chromium.Chromium/data/pki/nssdb", "Chromium"),
        (".mozilla/firefox/ab12.default", "Firefox"),
        (".config/mozilla/firefox/ab12.default", "Firefox"),
        ("snap/firefox/common/.mozilla/firefox/ab12.default", "Firefox"),
        (".var/app/org.mozilla.firefox/.mozilla/firefox/ab12.default", "Firefox"),
        (".var/app/org.mozilla.firefox/config/mozilla/firefox/ab12.default", "Firefox"),
        ("Library/Application Support/Firefox/Profiles/ab12.default", "Firefox"),
    ],
)
def test_where_nss_databases_are_found(machine: Machine, place: str, browser: str) -> None:
    machine.program("usr/bin/certutil")
    machine.directory("home/me/.mozilla/firefox/Crash Reports")
    assert names(machine) == []
    (machine.directory(f"home/me/{place}") / "cert9.db").touch()
    assert names(machine) == [f"{browser} ({place})"]


def test_the_directories_that_the_user_has_chosen(machine: Machine) -> None:
    machine.program("usr/bin/certutil")
    machine.data_home, machine.config_home = "d", "c"
    for place in ("d/pki/nssdb", "c/mozilla/firefox/p"):
        (machine.directory(f"home/me/{place}") / "cert9.db").touch()
    assert names(machine) == ["Chromium (d/pki/nssdb)", "Firefox (c/mozilla/firefox/p)"]


@pytest.mark.parametrize("program", ["usr/bin/chromium", "home/me/bin/google-chrome"])
def test_a_chromium_without_a_database_gets_one(machine: Machine, ca: LocalCA, program: str) -> None:
    certutil = str(machine.program("usr/bin/certutil"))
    machine.program(program)
    (store,) = find_stores(machine.host(), ["nss"])
    anchor, directory = anchor_of(ca), machine.home / ".pki/nssdb"
    database = ("-d", f"sql:{directory}")
    add = Command((certutil, "-A", "-t", "C,,", "-n", anchor.label, "-i", str(anchor.path), *database))
    create = Command((certutil, "-N", "--empty-password", *database))
    assert store.install(anchor) == (Command(("mkdir", "-p", "-m", "0700", str(directory))), create, add)
    assert store.uninstall(family_of(anchor.path), anchor) == ()
    directory.mkdir(parents=True)
    assert store.install(anchor) == (create, add)
    assert machine.log == []
    # The new place is left alone where it is the only one: making the old one would hide it.
    directory.rmdir()
    machine.directory("home/me/.local/share/pki/nssdb")
    assert names(machine) == ["Chromium (.local/share/pki/nssdb)"]


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "apt-get install libnss3-tools"),
        ("dnf", "dnf install nss-tools"),
        ("pacman", "pacman -S nss"),
        ("zypper", "zypper install mozilla-nss-tools"),
        ("apk", "apk add nss-tools"),
        (None, "your package manager"),
    ],
)
def test_without_certutil_it_says_what_to_install(
    machine: Machine, ca: LocalCA, manager: str | None, command: str
) -> None:
    machine.program("usr/bin/chromium")
    (machine.directory("home/me/.mozilla/firefox/a") / "cert9.db").touch()
    (machine.directory("home/me/.mozilla/firefox/b") / "cert9.db").touch()
    if manager:
        machine.program(f"usr/bin/{manager}")
    (store,) = find_stores(machine.host(), ["nss"])
    assert store.name == "Chromium and Firefox"
    anchor = anchor_of(ca)
    plans: tuple[Callable[[], object], ...] = (
        lambda: store.install(anchor),
        lambda: store.uninstall(family_of(anchor.path), anchor),
    )
    for plan in plans:
        with pytest.raises(TrustStoreError, match="certutil of NSS is not installed") as caught:
            plan()
        assert command in caught.value.fix
    machine.platform = "darwin"  # Firefox reads the keychain there
    assert find_stores(machine.host(), ["nss"]) == ()


def test_homebrews_certutil_is_found(machine: Machine) -> None:
    machine.platform = "darwin"
    (machine.directory("home/me/Library/Application Support/Firefox/Profiles/a") / "cert9.db").touch()
    machine.program("opt/homebrew/opt/nss/bin/certutil")
    assert names(machine) == ["Firefox (Library/Application Support/Firefox/Profiles/a)"]


LISTING = """
Certificate Nickname                                         Trust Attributes
                                                             SSL,S/MIME,JAR/XPI

{entries}
"""


def test_nss_entries_are_read_from_the_listing(machine: Machine, ca: LocalCA) -> None:
    """How certutil itself behaves is in tests/system/test_trust_stores.py."""
    anchor = anchor_of(ca)
    family = family_of(anchor.path)
    listing = machine.root / "listing"
    machine.program("usr/bin/certutil", f"[ $2 = -d ] && cat {listing}")
    (machine.directory("home/me/.pki/nssdb") / "cert9.db").touch()
    (store,) = find_stores(machine.host(), ["nss"])

    def listed(*entries: str) -> None:
        listing.write_text(LISTING.format(entries="\n".join(entries)))

    listed(f"{anchor.label:<60} C,,  ", f"{'Company C,x,y CA':<60} CT,C,C", f"{'alice':<60} u,u,u")
    assert store.install(anchor) == ()
    listed(f"{anchor.label:<60} ,,   ", f"{family}-0123456789abcdef   C,,")
    deletion, addition = store.install(anchor)
    assert deletion.argv[1:4] == ("-D", "-n", f"{family}-0123456789abcdef")
    assert addition.argv[1:6] == ("-A", "-t", "C,,", "-n", anchor.label)
    uninstall = store.uninstall(family, anchor)
    assert sorted(command.argv[3] for command in uninstall) == sorted([anchor.label, f"{family}-0123456789abcdef"])
    machine.program("usr/bin/certutil", "echo 'bad database' >&2; exit 255")
    with pytest.raises(TrustStoreError, match="nssdb: bad database"):
        store.install(anchor)
