"""`asgi-tls ca`, on machines that are directories."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from in_process import here
from machine import Machine
from servers import asgi_tls

from asgi_tls.cli.authority import ca
from asgi_tls.dev.ca import LocalCA
from asgi_tls.errors import ConfigurationError


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture
def place(machine: Machine) -> Path:
    return machine.distribution("debian")


def local_ca(machine: Machine) -> LocalCA:
    return LocalCA(machine.home / "data")


def invoke(machine: Machine, *arguments: str, superuser: bool = True, **env: str) -> Result:
    env = {"ASGI_TLS_HOME": str(local_ca(machine).directory), **env}
    return CliRunner().invoke(ca, list(arguments), obj=machine.host(superuser=superuser), env=env)


def test_it_comes_once_and_goes_once(machine: Machine, place: Path) -> None:
    first = invoke(machine, "install")
    assert first.exit_code == 0, first.output
    store = f"System store ({place})"
    assert f"{store}: now trusts it\n    install -m 0644" in first.output
    assert f"Anyone who can read {local_ca(machine).key_path} can impersonate any site" in first.output
    assert "To undo this: asgi-tls ca uninstall" in first.output
    assert "SSL_CERT_FILE" in first.output
    assert len(list(place.iterdir())) == 1
    assert len(machine.log) == 1
    again = invoke(machine, "install")
    assert (again.exit_code, again.output.splitlines()[-1]) == (0, f"{store}: already trusts it")
    gone = invoke(machine, "uninstall")
    assert gone.exit_code == 0
    assert gone.output.startswith(f"{store}: no longer trusts it\n")
    assert list(place.iterdir()) == []
    assert len(machine.log) == 2
    last = invoke(machine, "uninstall")
    assert (last.exit_code, last.output) == (0, f"{store}: did not trust it\n")
    assert len(machine.log) == 2
    assert local_ca(machine).certificate_path.exists()


def test_a_dry_run_prints_and_runs_nothing(machine: Machine, place: Path) -> None:
    result = invoke(machine, "install", "--dry-run", superuser=False)
    assert result.exit_code == 0
    assert (
        f"would run\n    sudo -- install -m 0644 {local_ca(machine).certificate_path} {place}/asgi-tls-"
        in result.output
    )
    assert f"    sudo -- {machine.root}/usr/sbin/update-ca-certificates\n" in result.output
    assert (list(place.iterdir()), machine.log) == ([], [])
    invoke(machine, "install")
    result = invoke(machine, "uninstall", "--dry-run")
    assert "would run\n    rm -f" in result.output
    assert len(list(place.iterdir())) == 1


def test_uninstall_makes_no_ca(machine: Machine, place: Path) -> None:
    assert invoke(machine, "uninstall").exit_code == 0
    assert not local_ca(machine).directory.exists()


def test_left_overs_go_when_the_ca_itself_is_gone(machine: Machine, place: Path) -> None:
    invoke(machine, "install")
    for file in local_ca(machine).certificate_path.parent.iterdir():
        file.unlink()
    assert invoke(machine, "uninstall").exit_code == 0
    assert list(place.iterdir()) == []


def test_sudo_is_not_used_unasked(machine: Machine, place: Path) -> None:
    result = invoke(machine, "install", superuser=False)
    assert result.exit_code == 1
    assert "changing it requires root, and sudo is not installed" in result.output
    machine.program("usr/bin/sudo", 'shift; exec "$@"')
    result = invoke(machine, "install", superuser=False)
    assert result.exit_code == 1
    assert "there is no terminal to ask on. Add --yes" in result.output
    assert "Run as root:\n    install -m 0644" in result.output
    assert (list(place.iterdir()), machine.log) == ([], [])


ANSWER = """
import sys
from pathlib import Path
from machine import Machine
from asgi_tls.cli.authority import ca
ca(["install"], obj=Machine(Path(sys.argv[1])).host(superuser=False))
"""


@pytest.mark.parametrize(("answer", "status", "calls"), [("n", 1, 0), ("", 1, 0), ("y", 0, 3)])
def test_it_asks_before_it_uses_sudo(
    machine: Machine, place: Path, tmp_path: Path, answer: str, status: int, calls: int
) -> None:
    sudo = machine.program("usr/bin/sudo", 'shift; exec "$@"')
    environ = {
        **os.environ,
        "ASGI_TLS_HOME": str(local_ca(machine).directory),
        "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
        "PATH": f"{sudo.parent}:{os.environ['PATH']}",
    }
    near, far = pty.openpty()
    try:
        os.write(near, f"{answer}\n".encode())
        done = subprocess.run(
            [sys.executable, "-P", "-c", ANSWER, str(machine.root)],
            stdin=far,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ,
            timeout=60,
            check=False,
        )
    finally:
        os.close(near)
        os.close(far)
    assert done.returncode == status, done.stdout
    assert f"System store ({place}): sudo is required for\n    sudo -- install" in done.stdout
    assert ("not changed" in done.stdout) == (status == 1)
    assert len(machine.log) == calls
    assert len(list(place.iterdir())) == bool(calls)


def test_yes_uses_sudo_for_what_takes_root_alone(
    machine: Machine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo = machine.program("usr/bin/sudo", 'shift; exec "$@"')
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    machine.program("usr/bin/chromium")
    # Adding is trusting, to this stand-in.
    database = machine.home / ".pki/nssdb"
    create, add = f"touch {database}/cert9.db", f'echo "$5  C,," > {database}/list'
    machine.program("usr/bin/certutil", f"case $1 in -N) {create};; -A) {add};; *) cat {database}/list;; esac")
    result = invoke(machine, "install", "--yes", superuser=False)
    assert result.exit_code == 0, result.output
    used = [line.split()[0:3] for line in machine.log if not line.startswith("certutil -L")]
    assert [words[:1] if words[0] == "certutil" else words for words in used] == [
        ["sudo", "--", "install"],
        ["sudo", "--", f"{machine.root}/usr/sbin/update-ca-certificates"],
        ["update-ca-certificates"],
        ["certutil"],
        ["certutil"],
    ]


def test_what_one_store_lacks_keeps_none_of_the_others(machine: Machine, place: Path) -> None:
    machine.program("usr/bin/chromium")
    machine.program("usr/bin/apt-get")
    result = invoke(machine, "install")
    assert result.exit_code == 1
    assert f"System store ({place}): now trusts it" in result.output
    assert "Chromium: certutil of NSS is not installed. Run `apt-get install libnss3-tools`" in result.output
    result = invoke(machine, "uninstall", "--store", "system")
    assert result.exit_code == 0
    assert list(place.iterdir()) == []


def test_a_store_that_was_asked_for_must_be_there(machine: Machine) -> None:
    result = invoke(machine, "install", "--store", "nss")
    assert result.exit_code == 1
    assert "No database of Firefox or Chromium" in result.output
    result = invoke(machine, "install")
    assert result.exit_code == 1
    assert "none that asgi-tls supports" in result.output
    assert invoke(machine, "install", "--store", "java").exit_code == 2
    # Where there is nothing, nothing has to go.
    assert (invoke(machine, "uninstall").exit_code, invoke(machine, "uninstall", "--store", "nss").output) == (0, "")


def test_a_program_that_fails_is_quoted(machine: Machine, place: Path) -> None:
    machine.program("usr/sbin/update-ca-certificates", "echo the disk is full; exit 7")
    result = invoke(machine, "install")
    assert result.exit_code == 1
    assert "failed with status 7: the disk is full" in result.output
    assert "To undo it" not in result.output


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_through_sudo_it_would_be_roots_ca(machine: Machine, place: Path, command: str) -> None:
    result = invoke(machine, command, SUDO_USER="me", ASGI_TLS_HOME="")
    assert isinstance(result.exception, ConfigurationError)
    assert "and not that of me. Run it without sudo" in str(result.exception)
    assert (list(place.iterdir()), machine.log) == ([], [])
    assert invoke(machine, command, SUDO_USER="me").exit_code == 0


def test_the_command_names_its_parts(tmp_path: Path) -> None:
    status, text = here(asgi_tls("ca", "--help"))
    assert status == 0
    for command in ("install", "path", "uninstall"):
        assert f"\n  {command} " in text
    status, text = here(asgi_tls("ca", "install"), env={"SUDO_USER": "me", "ASGI_TLS_HOME": "", "HOME": str(tmp_path)})
    assert status == 3
    assert text.startswith("Error: under sudo")
    assert "Traceback" not in text
