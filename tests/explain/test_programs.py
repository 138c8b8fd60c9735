"""What OpenSSL, curl, wget, git, Node, NSS, nginx and Chromium really print is recognised."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from peers import answering, hanging_up, listening, server_context, silent
from pki import PKI, Pair

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.explain import explain

pytestmark = pytest.mark.system


@dataclass
class World:
    """Files of every kind, and programs that run beside them."""

    directory: Path
    pki: PKI = field(default_factory=lambda: PKI("Programs"))

    def __post_init__(self) -> None:
        self.file("ca.pem", self.pki.root_pem)
        self.good.write(self.directory)

    @property
    def good(self) -> Pair:
        return self.pki.leaf("localhost", "127.0.0.1")

    def file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def context(self, pair: Pair | None = None, **how: Any) -> ssl.SSLContext:
        return server_context(*(pair or self.good).write(self.directory / "served"), **how)

    def run(self, *command: str, stdin: str = "", **environment: str) -> str:
        """Both outputs of a program that must fail, or warn."""
        inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**inherited, "LC_ALL": "C", **environment},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
        return done.stdout

    def curl(self, port: int, *options: str, url: str = "https://localhost:{}/") -> str:
        return self.run("curl", "-sS", "--cacert", "ca.pem", "--max-time", "20", *options, url.format(port))

    def wget(self, port: int) -> str:
        return self.run("wget", "-t", "1", "-O", "out", "--ca-certificate=ca.pem", f"https://localhost:{port}/")

    def git(self, port: int) -> str:
        return self.run("git", "ls-remote", f"https://localhost:{port}/x", GIT_SSL_CAINFO=f"{self.directory}/ca.pem")

    def s_client(self, port: int, *options: str) -> str:
        return self.run("openssl", "s_client", "-connect", f"localhost:{port}", "-CAfile", "ca.pem", *options)

    def node(self, script: str, **environment: str) -> str:
        return self.run("node", "-e", script, **environment)

    def node_get(self, port: int) -> str:
        return self.node(f"require('https').get('https://localhost:{port}/')", NODE_EXTRA_CA_CERTS="ca.pem")

    def nginx(self, certfile: str = "fullchain.pem", keyfile: str = "privkey.pem") -> str:
        here = self.directory
        self.file(
            "nginx.conf",
            f"""
            pid {here}/nginx.pid; error_log stderr; events {{}}
            http {{ access_log off; server {{
                listen unix:{here}/nginx.sock ssl;
                ssl_certificate {here}/{certfile}; ssl_certificate_key {here}/{keyfile};
            }} }}""".encode(),
        )
        return self.run(shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx", "-t", "-q",
                        "-p", str(here), "-c", str(here / "nginx.conf"))  # fmt: skip

    def chromium(self, port: int) -> str:
        """It trusts the CA as a user of Linux makes it do so."""
        self.nss_database()
        return self.wary_chromium(port, HOME=str(self.directory))

    def nss_database(self) -> str:
        path = self.directory / ".pki/nssdb"
        path.mkdir(parents=True)
        self.run("certutil", "-N", "-d", f"sql:{path}", "--empty-password")
        self.run("certutil", "-A", "-d", f"sql:{path}", "-n", "CA", "-t", "C,,", "-i", "ca.pem")
        return f"sql:{path}"

    def nss(self, port: int, *options: str) -> str:
        """The client of NSS, Firefox's library."""
        command = ("tstclnt", "-4", "-h", "localhost", "-p", str(port), "-d", self.nss_database(), "-A", "/dev/null")
        return self.run(*command, *options)

    def wary_chromium(self, port: int, **environment: str) -> str:
        return self.run(
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
            "--disable-background-networking", "--no-first-run", f"--user-data-dir={self.directory}/profile",
            f"https://localhost:{port}/", **environment,
        )  # fmt: skip


Ask = Callable[[World, int], str]


def served(ask: Ask, make: Callable[[World], ssl.SSLContext]) -> Callable[[World], str]:
    """What the program says to a server with the context that is made."""

    def provoke(world: World) -> str:
        with listening(answering(make(world))) as port:
            return ask(world, port)

    return provoke


def met(ask: Ask, handle: Callable[..., None]) -> Callable[[World], str]:
    """What the program says to something that is no TLS server."""

    def provoke(world: World) -> str:
        with listening(handle) as port:
            return ask(world, port)

    return provoke


def expired(world: World) -> ssl.SSLContext:
    return world.context(world.pki.expired("localhost"))


def future(world: World) -> ssl.SSLContext:
    return world.context(world.pki.not_yet_valid("localhost"))


def other_name(world: World) -> ssl.SSLContext:
    return world.context(world.pki.leaf("other.example"))


def leaf_only(world: World) -> ssl.SSLContext:
    return world.context(world.good.alone())


def self_signed(world: World) -> ssl.SSLContext:
    return world.context(world.pki.leaf("localhost", self_signed=True))


def strangers(world: World) -> ssl.SSLContext:
    pki = PKI("Stranger")
    pair = pki.leaf("localhost")
    return world.context(Pair(pair.certificate, pair.key, (*pair.issuers, pki.root.certificate)))


def clients_own(world: World) -> ssl.SSLContext:
    return world.context(world.pki.leaf("localhost", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)))


def weak(world: World) -> ssl.SSLContext:
    return world.context(world.pki.leaf("localhost", key="rsa1024"), security=0)


def good(world: World) -> ssl.SSLContext:
    return world.context()


def modern(world: World) -> ssl.SSLContext:
    context = world.context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def old(world: World) -> ssl.SSLContext:
    context = world.context(security=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def mutual(world: World) -> ssl.SSLContext:
    context = world.context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(world.directory / "ca.pem")
    return context


def named(world: World) -> ssl.SSLContext:
    pair = world.pki.leaf("www.example.com").write(world.directory / "named")
    return ServerTLS({"www.example.com": PEMFiles(*pair)}).create_context()


def short_dh(world: World) -> ssl.SSLContext:
    world.run("openssl", "dhparam", "-dsaparam", "-out", "dh.pem", "1024")
    context = world.context(world.pki.leaf("localhost", key="rsa"), security=0)
    context.set_ciphers("DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    context.load_dh_params(str(world.directory / "dh.pem"))
    return context


def closed(ask: Ask) -> Callable[[World], str]:
    def provoke(world: World) -> str:
        with listening(silent) as port:
            pass
        return ask(world, port)

    return provoke


def redirecting(world: World) -> str:
    with listening(
        answering(None, b"HTTP/1.1 308 x\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    ) as port:
        return world.curl(port, "-L", "--max-redirs", "3", url="http://localhost:{}/")


def page(body: str, *fields: str) -> Callable[[World], str]:
    """What Chromium says to a page, to itself in a frame included, with these fields."""
    head = "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/html", "Connection: close", *fields])

    def provoke(world: World) -> str:
        answer = f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        with listening(answering(world.context(), answer)) as port:
            return world.chromium(port)

    return provoke


def s_server(*options: str, client: tuple[str, ...] = ()) -> Callable[[World], str]:
    """What s_server and s_client say to each other, the port being s_server's choice."""

    def provoke(world: World) -> str:
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "fullchain.pem", "-key", "privkey.pem"]
        with subprocess.Popen(
            [*command, *options], cwd=world.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        ) as server:  # fmt: skip
            assert server.stdout is not None
            for line in server.stdout:
                if line.startswith("ACCEPT "):
                    break
            text = world.s_client(int(line.rpartition(":")[2]), *client)
            server.terminate()
        return text

    return provoke


def sha1(world: World) -> str:
    world.pki.leaf("localhost", signature="sha1").write(world.directory)
    return world.run("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "fullchain.pem", "-key", "privkey.pem")


def mismatched(world: World) -> str:
    return world.file("other.pem", world.good.key_pem).name


def encrypted(world: World) -> str:
    return world.file("encrypted.pem", world.good.encrypted_key_pem(b"hunter2")).name


def secure_context(options: str) -> str:
    return f"const fs = require('fs'); require('tls').createSecureContext({{{options}}})"


def legacy_pkcs12(world: World) -> str:
    made = [
        "openssl",
        "pkcs12",
        "-export",
        "-legacy",
        "-inkey",
        "privkey.pem",
        "-in",
        "fullchain.pem",
        "-passout",
        "pass:x",
    ]
    subprocess.run([*made, "-out", "old.p12"], cwd=world.directory, check=True, capture_output=True)
    return world.run("openssl", "pkcs12", "-in", "old.p12", "-nodes", "-passin", "pass:x")


CASES: list[tuple[str, str, Callable[[World], str]]] = [
    # who says it, the code of the trouble, how it comes about
    ("curl", "certificate-expired", served(World.curl, expired)),
    ("curl", "certificate-not-yet-valid", served(World.curl, future)),
    ("curl", "name-mismatch", served(World.curl, other_name)),
    ("curl", "unknown-issuer", served(World.curl, leaf_only)),
    ("curl", "self-signed", served(World.curl, self_signed)),
    ("curl", "self-signed-in-chain", served(World.curl, strangers)),
    ("curl", "certificate-purpose", served(World.curl, clients_own)),
    ("curl", "certificate-weak-key", served(World.curl, weak)),
    ("curl", "protocol-version", served(lambda w, port: w.curl(port, "--tls-max", "1.2"), modern)),
    ("curl, old server", "protocol-version", served(lambda w, port: w.curl(port, "--tlsv1.2"), old)),
    ("curl, old server", "no-shared-signature", served(World.curl, old)),
    ("curl", "unrecognized-name", served(World.curl, named)),
    ("curl", "client-certificate-required", served(World.curl, mutual)),
    ("curl", "staple-missing", served(lambda w, port: w.curl(port, "--cert-status"), good)),
    ("curl", "pinned-key", served(lambda w, port: w.curl(port, "--pinnedpubkey", f"sha256//{'A' * 43}="), good)),
    ("curl", "ca-bundle-missing", served(lambda w, port: w.curl(port, "--cacert", "nowhere.pem"), good)),
    ("curl", "client-certificate-unusable", served(lambda w, port: w.curl(port, "--cert", "nowhere.pem"), good)),
    ("curl", "cipher-list", served(lambda w, port: w.curl(port, "--ciphers", "NONSENSE"), good)),
    ("curl", "not-tls", met(World.curl, answering(None))),
    ("curl", "handshake-timeout", met(lambda w, port: w.curl(port, "--connect-timeout", "1"), silent)),
    ("curl", "connection-closed", met(World.curl, hanging_up)),
    ("curl", "connection-refused", closed(World.curl)),
    ("curl", "redirect-loop", redirecting),
    ("s_client", "certificate-expired", served(World.s_client, expired)),
    ("s_client", "unknown-issuer", served(World.s_client, leaf_only)),
    ("s_client", "self-signed", served(World.s_client, self_signed)),
    ("s_client", "self-signed-in-chain", served(World.s_client, strangers)),
    ("s_client", "name-mismatch",
     served(lambda w, port: w.s_client(port, "-verify_hostname", "localhost"), other_name)),
    ("s_client", "not-tls", met(World.s_client, answering(None))),
    ("s_client", "connection-closed", met(World.s_client, hanging_up)),
    ("s_client", "connection-refused", closed(World.s_client)),
    ("s_client", "protocol-version", served(lambda w, port: w.s_client(port, "-tls1_2"), modern)),
    ("s_client", "no-application-protocol", s_server("-alpn", "h2", client=("-alpn", "other"))),
    ("s_client", "dh-key-too-small", served(
        lambda w, port: w.s_client(port, "-tls1_2", "-cipher", "DHE:@SECLEVEL=2"), short_dh)),
    ("s_client", "handshake-failure", s_server("-groups", "P-256", client=("-groups", "P-521"))),
    ("openssl verify", "unknown-issuer", lambda w: w.run("openssl", "verify", "-CAfile", "ca.pem", "fullchain.pem")),
    ("openssl x509", "certificate-not-pem", lambda w: w.run("openssl", "x509", "-in", "privkey.pem", "-noout")),
    ("openssl pkey", "certificate-not-pem", lambda w: w.run("openssl", "pkey", "-in", "fullchain.pem", "-noout")),
    ("openssl pkey", "certificate-password",
     lambda w: w.run("openssl", "pkey", "-in", encrypted(w), "-noout", "-passin", "pass:wrong")),
    ("openssl pkcs12", "legacy-algorithm", legacy_pkcs12),
    ("s_server", "certificate-key-mismatch", lambda w: w.run(
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "fullchain.pem", "-key", mismatched(w))),
    ("s_server", "certificate-weak-signature", sha1),
    ("wget", "certificate-expired", served(World.wget, expired)),
    ("wget", "name-mismatch", served(World.wget, other_name)),
    ("wget", "unknown-issuer", served(World.wget, leaf_only)),
    ("wget", "not-tls", met(World.wget, answering(None))),
    ("git", "name-mismatch", served(World.git, other_name)),
    ("git", "verification-failed", served(World.git, leaf_only)),
    ("node", "certificate-expired", served(World.node_get, expired)),
    ("node", "certificate-not-yet-valid", served(World.node_get, future)),
    ("node", "name-mismatch", served(World.node_get, other_name)),
    ("node", "incomplete-chain", served(World.node_get, leaf_only)),
    ("node", "self-signed", served(World.node_get, self_signed)),
    ("node", "self-signed-in-chain", served(World.node_get, strangers)),
    ("node", "protocol-version", served(World.node_get, old)),
    ("node", "unrecognized-name", served(World.node_get, named)),
    ("node", "client-certificate-required", served(World.node_get, mutual)),
    ("node", "not-tls", met(World.node_get, answering(None))),
    ("node", "connection-closed", met(World.node_get, hanging_up)),
    ("node", "connection-refused", closed(World.node_get)),
    ("node", "certificate-key-mismatch", lambda w: w.node(secure_context(
        f"cert: fs.readFileSync('fullchain.pem'), key: fs.readFileSync('{mismatched(w)}')"))),
    ("node", "certificate-not-pem", lambda w: w.node(secure_context("cert: 'none', key: 'none'"))),
    ("node", "certificate-password", lambda w: w.node(secure_context(
        f"cert: fs.readFileSync('fullchain.pem'), key: fs.readFileSync('{encrypted(w)}'), passphrase: 'wrong'"))),
    ("node", "cipher-list", lambda w: w.node(secure_context("ciphers: 'NONSENSE'"))),
    ("node", "legacy-algorithm", lambda w: w.node("require('crypto').createHash('md4')")),
    ("node", "verification-off", served(lambda w, port: w.node(
        f"require('https').get('https://localhost:{port}/')", NODE_TLS_REJECT_UNAUTHORIZED="0"), self_signed)),
    ("node", "ca-bundle-missing", served(lambda w, port: w.node(
        f"require('https').get('https://localhost:{port}/', (r) => r.resume()).on('error', () => 0)",
        NODE_EXTRA_CA_CERTS="nowhere.pem"), good)),
    ("nginx", "certificate-key-mismatch", lambda w: w.nginx(keyfile=mismatched(w))),
    ("nginx", "certificate-missing-file", lambda w: w.nginx("nowhere.pem")),
    ("nginx", "certificate-not-pem", lambda w: w.nginx("privkey.pem")),
    ("nginx", "certificate-password", lambda w: w.nginx(keyfile=encrypted(w))),
    ("nginx", "certificate-truncated-file", lambda w: w.nginx(w.file("cut.pem", w.good.cert_pem[:-9]).name)),
    ("nss", "certificate-expired", served(World.nss, expired)),
    ("nss", "name-mismatch", served(World.nss, other_name)),
    ("nss", "unknown-issuer", served(World.nss, leaf_only)),
    ("nss", "certificate-purpose", served(World.nss, clients_own)),
    ("nss", "protocol-version", served(lambda w, port: w.nss(port, "-V", "tls1.2:tls1.2"), modern)),
    ("nss", "not-tls", met(World.nss, answering(None))),
    ("chromium", "unknown-issuer", served(World.wary_chromium, good)),
    ("chromium", "certificate-expired", served(World.chromium, expired)),
    ("chromium", "name-mismatch", served(World.chromium, other_name)),
    ("chromium", "version-or-cipher", served(World.chromium, old)),
    ("chromium", "not-tls", met(World.chromium, answering(None))),
    ("chromium", "unrecognized-name", served(World.chromium, named)),
    ("chromium", "client-certificate-required", served(World.chromium, mutual)),
    ("chromium", "csp-blocked", page("<script>1</script>", "Content-Security-Policy: default-src 'none'")),
    ("chromium", "framing-blocked", page("<iframe src=/x></iframe>", "X-Frame-Options: DENY")),
    ("chromium", "mixed-content", page("<script src='http://a.example/x.js'></script>")),
]  # fmt: skip


def test_there_are_enough() -> None:
    assert len({(program, code) for program, code, _ in CASES}) == len(CASES) >= 70


@pytest.mark.parametrize(("program", "code", "provoke"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_a_message_of_a_program_is_recognised(
    tmp_path: Path, program: str, code: str, provoke: Callable[[World], str]
) -> None:
    text = provoke(World(tmp_path))
    matches = explain(text)
    assert matches, text
    assert matches[0].trouble.code == code, f"{[(m.trouble.code, m.clues) for m in matches]}\n{text}"
