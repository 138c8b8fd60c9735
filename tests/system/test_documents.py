"""Every command of README.md and docs/ is run, page by page, as a reader would: from top to bottom, in one shell.

Each page has a machine of its own: a network with loopback alone, in which example.com is this machine, and /etc, /var
and /run that nobody else sees, with a certificate where certbot would have put it. Servers run in the background until
the next one is started.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from documents import PAGES, REPOSITORY, Command, blocks, commands, name_of
from patience import PATIENCE
from pki import PKI

pytestmark = pytest.mark.system

INSTALLS = "it installs from the registry into an environment of its own"
CI = "it is what runs this test"
NEW = "tests/system/test_new.py::test_the_printed_commands_serve_it"
UNDER_EACH = (
    "tests/test_demo.py::test_under_each_server_it_tells_the_connection_and_its_handshake_and_ends_with_a_feed_open"
)
TRUST = "it changes the trust of the whole machine"
STORES = "tests/system/test_trust_stores.py::test_everybody_trusts_it_after_install_and_nobody_after_uninstall"
CA = "it needs Let's Encrypt; the test has pebble"
UNDER_TRAFFIC = "tests/renewal/system/test_acme_servers.py::test_the_first_certificate_under_traffic"
WILDCARD = "tests/renewal/system/test_acme_servers.py::test_an_external_account_a_wildcard_by_a_command_and_a_profile"
ACME_COMMANDS = "tests/renewal/system/test_acme_servers.py::test_the_commands"
FIRST_ACME = "asgi-tls uvicorn app:app --host 0.0.0.0 --port 443 --tls-redirect-port 80 --tls-acme example.com"
CALL = 'curl --cacert "$(.venv/bin/asgi-tls ca path)" https://localhost:8443/tls'

# What the blocks marked `elsewhere` hold, why it is not run as it stands, and the tests that stand in for it.
ELSEWHERE: dict[tuple[str, str], tuple[str, str]] = {
    ("README.md", "make demo"): (INSTALLS, "tests/test_demo.py::test_make_demo_serves_it"),
    ("README.md", CALL): (INSTALLS, NEW),
    **{("CONTRIBUTING.md", f"make {target}"): (CI, ".ci/run") for target in ("test", "test-system", "check")},
    **{
        (f"demo_app/{example}/README.md", command): (INSTALLS, NEW)
        for example in ("live", "starter")
        for command in (
            "python3 -m venv .venv",
            ".venv/bin/pip install -r requirements.txt",
            ".venv/bin/asgi-tls uvicorn app:app --port 8443",
            CALL,
        )
    },
    ("demo_app/starter/README.md", ".venv/bin/asgi-tls ca install"): (TRUST, STORES),
    ("demo_app/live/README.md", ".venv/bin/pip install 'asgi-tls[hypercorn,gunicorn]'"): (INSTALLS, UNDER_EACH),
    ("demo_app/live/README.md", ".venv/bin/asgi-tls hypercorn app:app --bind 127.0.0.1:8443"): (INSTALLS, UNDER_EACH),
    (
        "demo_app/live/README.md",
        ".venv/bin/asgi-tls gunicorn app:app --bind 127.0.0.1:8443",
    ): (INSTALLS, UNDER_EACH),
    ("README.md", FIRST_ACME): (CA, UNDER_TRAFFIC),
    ("docs/acme.md", "ASGI_TLS_ACME_STORAGE=rediss://:PASSWORD@redis.internal:6379/0 " + FIRST_ACME): (
        CA, "tests/renewal/system/test_acme_redis.py::test_two_hosts_order_once_and_both_answer"
    ),
    ("docs/acme.md", "pip install 'asgi-tls[uvicorn,acme]'"): (INSTALLS, NEW),
    ("docs/production.md", "pip install 'asgi-tls[uvicorn,acme]'"): (INSTALLS, NEW),
    ("docs/testing.md", "pip install pytest httpx"): (
        INSTALLS, "tests/middleware/test_testing_page.py::test_the_examples_of_the_page_pass"
    ),
    ("docs/production.md", FIRST_ACME.replace("app:app", "public:app")): (CA, UNDER_TRAFFIC),
    ("docs/acme.md", "pip install 'asgi-tls[acme-dns]'"): (INSTALLS, NEW),
    ("docs/acme.md", FIRST_ACME + " --tls-acme www.example.com"): (CA, UNDER_TRAFFIC),
    **{
        ("docs/acme.md", f"asgi-tls acme {command}"): (CA, ACME_COMMANDS)
        for command in (
            "status --tls-acme example.com",
            "issue --tls-acme example.com",
            "revoke --tls-acme example.com --reason key-compromise",
            "dns-record --tls-acme example.com",
        )
    },
    (
        "docs/acme.md",
        "docker run -p 80:80 -p 443:443 -v acme:/var/lib/acme -e ASGI_TLS_ACME=example.com "
        "-e ASGI_TLS_ACME_STORAGE=/var/lib/acme app",
    ): (CA, UNDER_TRAFFIC),
    **{
        (
            "docs/acme.md",
            f"{before}asgi-tls uvicorn app:app --host 0.0.0.0 --port 443 --tls-acme '*.example.com' "
            f"--tls-acme-dns {dns}",
        ): (CA, WILDCARD)
        for before, dns in (
            ("", "/usr/local/bin/set-record"),
            ("LEXICON_CLOUDFLARE_AUTH_TOKEN=… ", "lexicon:cloudflare"),
        )
    },
    ("docs/development.md", "asgi-tls ca install"): (TRUST, STORES),
    ("docs/development.md", "asgi-tls ca uninstall"): (TRUST, STORES),
    ("docs/mtls.md", "asgi-tls cert --client alice --pkcs12"): (
        "it asks for a password at a terminal",
        "tests/cli/test_client_certificates.py::test_the_password_is_asked_for_and_not_shown",
    ),
    ("docs/letsencrypt.md", "certbot certonly --webroot --webroot-path /var/www/acme -d example.com"): (
        "it needs Let's Encrypt; the test has pebble", "tests/system/test_certbot.py",
    ),
    ("docs/letsencrypt.md", "certbot renew --dry-run"): (
        "it needs Let's Encrypt; the test has pebble", "tests/system/test_certbot.py",
    ),
    (
        "docs/renewal.md",
        "acme.sh --install-cert -d example.com --fullchain-file /etc/tls/fullchain.pem --key-file /etc/tls/privkey.pem",
    ): ("it needs an ACME account; the tests write files in its way", "tests/support/renewals.py::certificate_first"),
}  # fmt: skip

MACHINE = """
set -e
ip link set lo up
mount -t tmpfs tmpfs {root}
for place in etc var; do
    mkdir -p {root}/$place {root}/work-$place
    mount -t overlay overlay -o lowerdir=/$place,upperdir={root}/$place,workdir={root}/work-$place /$place
done
mount -t tmpfs tmpfs /run
mkdir -p /etc/letsencrypt/live/example.com /etc/letsencrypt/renewal-hooks/deploy /etc/tls/sites/example.org
cp {files}/fullchain.pem {files}/privkey.pem /etc/letsencrypt/live/example.com/
cp {files}/fullchain.pem {files}/privkey.pem {files}/clients.pem /etc/tls/
cp {files}/org/*.pem /etc/tls/sites/example.org/
echo "127.0.0.1 localhost example.com www.example.com example.org api.example.com" > /etc/hosts
echo "::1 localhost" >> /etc/hosts
echo ready
exec bash --noprofile --norc
"""

_SERVER = re.compile(
    r"(?P<variables>(?:\w+=\S+ )*)(?P<command>(?:\.venv/bin/)?"
    r"(?:asgi-tls (?:uvicorn|hypercorn|gunicorn)|uvicorn|hypercorn|gunicorn|granian|python \w+\.py)(?! --help).*)"
)
_LISTENS = re.compile(r"(?:running on|Running on|Listening at:) \(?\w+://\S+?:(\d+)")
_MARK = "--- that was it: "


class Shell:
    """A shell on the page's machine. `server` is what runs in the background."""

    def __init__(self, directory: Path, process: subprocess.Popen[str]) -> None:
        self.directory = directory
        self.process = process
        self.server = ""
        self._count = 0

    def run(self, command: Command) -> tuple[int, str]:
        """Run it; a server is left running as soon as it listens, and gives what it has printed by then."""
        started = _SERVER.fullmatch(command.text)
        if started and command.status == 0:
            return self._serve(started)
        log = self._log()
        self._type(f'{{ {command.text}\n}} > {log} 2>&1 < /dev/null\necho "{_MARK}$?"\n')
        status = int(self._answer())
        return status, log.read_text(encoding="utf-8")

    def stop(self) -> None:
        """End the server, if there is one."""
        if self.server:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.server), signal.SIGTERM)
            self._type(f'wait {self.server}\necho "{_MARK}$?"\n')
            self._answer()
            self.server = ""

    def _serve(self, started: re.Match[str]) -> tuple[int, str]:
        self.stop()
        log = self._log()
        line = f"{started['variables']}exec {started['command']}"
        self._type(f'({line}) > {log} 2>&1 < /dev/null &\necho "{_MARK}$!"\n')
        self.server = self._answer()
        deadline = time.monotonic() + 180  # for a busy machine: a server that ends is noticed at once
        # gunicorn reports where it listens before it has a worker, and SIGTERM then leaves that worker behind.
        worker = "ASGI server listening" if "gunicorn" in line else ""
        while not self._listens(log, worker):
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            if not Path(f"/proc/{self.server}/exe").exists():
                self.server = ""
                return 1, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        return 0, log.read_text(encoding="utf-8")

    def _listens(self, log: Path, worker: str) -> bool:
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        ports = _LISTENS.findall(text) if worker in text else []
        sockets = Path(f"/proc/{self.process.pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        listening = {line.split()[1].rpartition(":")[2] for line in sockets if line.split()[3] == "0A"}
        return bool(ports) and all(f"{int(port):04X}" in listening for port in ports)

    def _log(self) -> Path:
        self._count += 1
        return self.directory.parent / f"{self._count}.log"

    def _type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(_MARK):
                return line.removeprefix(_MARK).strip()
        raise AssertionError("the shell has ended")


@contextlib.contextmanager
def machine(directory: Path, *, empty: bool = False, programs: Path = Path(sys.executable).parent) -> Iterator[Shell]:
    """A shell in a directory that holds an application and certificates, as most pages take for granted, or nothing."""
    root, files, home = directory / "root", directory / "files", directory / "home"
    work = directory / "work"
    for each in (root, home, work):
        each.mkdir()
    pki = PKI("Documents")
    pki.leaf("example.com", "www.example.com", "api.example.com", "localhost", "127.0.0.1").write(files)
    pki.leaf("example.org").write(files / "org")
    (files / "ca.pem").write_bytes(pki.root_pem)
    (files / "clients.pem").write_bytes(pki.root_pem)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ASGI_TLS", "PYTHON"))}
    if not empty:
        client = pki.leaf("alice", san=False, eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        client.write(work, certfile="client.pem", keyfile="client-key.pem")
        for name in ("fullchain.pem", "privkey.pem", "clients.pem"):
            shutil.copy(files / name, work)
        application = dict(step for step in steps(FROM_NOTHING) if isinstance(step, tuple))["app.py"]
        (work / "app.py").write_text(application, encoding="utf-8")
        inherited |= {"CURL_CA_BUNDLE": str(files / "ca.pem"), "SSL_CERT_FILE": str(files / "ca.pem")}
    environment = inherited | {
        "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin",
        "HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        "PIP_NO_INDEX": "1",
        "COLUMNS": "120",
    }
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    process = subprocess.Popen(
        ["unshare", *user, "--net", "--mount", "bash", "-c", MACHINE.format(root=root, files=files)],
        cwd=work,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "ready\n"
        shell = Shell(work, process)
        yield shell
        shell.stop()
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def steps(page: Path) -> list[Command | tuple[str, str]]:
    """The page's commands in their order, and its files: name and text."""
    found: list[Command | tuple[str, str]] = []
    for block in blocks(page):
        if block.info == ("console",):
            found += commands(block)
        elif named := re.match(r"(?:#|//|<!--) ([\w./-]+\.\w+)\b.*\n", block.text):
            found.append((named[1], block.text))
    return found


# This one makes the files that it uses. Its application is that of the other pages.
FROM_NOTHING = REPOSITORY / "docs/quickstart.md"
WITH_COMMANDS = [
    page for page in PAGES if page != FROM_NOTHING and any(isinstance(step, Command) for step in steps(page))
]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_the_commands_of(page: Path, tmp_path: Path) -> None:
    with machine(tmp_path) as shell:
        for step in steps(page):
            follow(step, shell, page)


def test_the_quick_start_from_the_built_wheel_in_an_environment_of_its_own(tmp_path: Path) -> None:
    environment, wheels = tmp_path / "environment", tmp_path / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(REPOSITORY)], check=True
    )
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    programs = environment / "bin"
    links = f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}"
    online = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PIP_FIND_LINKS": links, "PIP_NO_COMPILE": "1"}
    with machine(tmp_path, empty=True, programs=programs) as shell:
        for step in steps(FROM_NOTHING):
            if isinstance(step, Command) and step.text.startswith("pip install"):  # the shell's machine has no network
                subprocess.run(["bash", "-c", step.text], env=online, stdout=subprocess.DEVNULL, check=True)
            else:
                follow(step, shell, FROM_NOTHING)
    (wheel,) = wheels.iterdir()
    installed = [path.name for path in environment.glob("lib/python*/site-packages/asgi_tls-*.dist-info")]
    assert installed == [f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"]


def follow(step: Command | tuple[str, str], shell: Shell, page: Path) -> None:
    """Do what the page says: write a file, or run a command and compare what it prints."""
    if isinstance(step, tuple):
        (shell.directory / step[0]).write_text(step[1], encoding="utf-8")
        return
    status, text = shell.run(step)
    deadline = time.monotonic() + PATIENCE
    # What a server reports of its clients takes a moment.
    while step.text.startswith("curl") and missing(step, text) and time.monotonic() < deadline:
        time.sleep(0.1)
        status, text = shell.run(step)
    place = f"{name_of(page)}:{step.line}: {step.text}\n{text}"
    assert status == step.status, f"exit status {status}: {place}"
    assert not missing(step, text), f"it does not print {missing(step, text)}: {place}"


def missing(command: Command, text: str) -> list[str]:
    """The lines that the page shows after a command, and that are not in what it printed."""
    patterns = {line: r"[\s\S]*?".join(map(re.escape, line.strip().split("…"))) for line in command.output}
    return [line for line, pattern in patterns.items() if not re.search(pattern, text)]


def test_what_is_not_run_is_known_and_tested_elsewhere() -> None:
    found = {
        (name_of(page), re.split(r"\s+#", command.text)[0])
        for page in PAGES
        for block in blocks(page)
        if block.info == ("console", "elsewhere")
        for command in commands(block)
    }
    assert found == {*ELSEWHERE}
    for reason, test in ELSEWHERE.values():
        path, _, name = test.partition("::")
        assert len(reason) > 10
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        assert f"def {name}(" in text if name else text
