"""The mistakes of a first day: each gives one sentence that says what to do, and the same exit status, on all three
servers. None starts a server.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from pki import PKI, key_to_pem, make_key
from servers import asgi_tls, run

pytestmark = pytest.mark.system

SERVERS = ("uvicorn", "hypercorn", "gunicorn")


class Shop:
    """What a mistake may need: good files, bad files, ports that are taken."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pki = PKI("Mistakes")
        self.pair = self.pki.leaf("localhost")
        self.cert, self.key = self.pair.write(directory / "good")
        self.expired = self.pki.expired("localhost").write(directory / "expired")
        self.taken = socket.create_server(("127.0.0.1", 0))

    def __call__(self, name: str, data: bytes | str) -> str:
        path = self.directory / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        path.chmod(0o600)
        return str(path)

    def request(self) -> bytes:
        builder = x509.CertificateSigningRequestBuilder().subject_name(self.pair.certificate.subject)
        return builder.sign(self.pair.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    @property
    def port(self) -> str:
        return str(self.taken.getsockname()[1])

    @property
    def free(self) -> str:
        """One that nobody is asked for: the mistake comes first."""
        return "18443"


@dataclass(frozen=True)
class Mistake:
    """`options` and `env` are made from a shop; `words` are in the sentence, `fix` in what it says to do."""

    name: str
    words: str
    fix: str
    options: Callable[[Shop], Sequence[str]] = lambda _: ()
    env: Callable[[Shop], Mapping[str, str]] = lambda _: {}
    port: Callable[[Shop], str] = lambda _: "0"
    status: int = 3
    good: bool = True
    """Whether the good pair is set as well."""


def files(cert: Any = None, key: Any = None) -> dict[str, Any]:
    """A mistake in the files: each is made from the shop, by default the good one."""

    def env(shop: Shop) -> dict[str, Any]:
        found: dict[str, Any] = {"ASGI_TLS_CERTFILE": shop.cert if cert is None else cert(shop)}
        return {**found, "ASGI_TLS_KEYFILE": str(shop.key) if key is None else key(shop)}

    return {"env": lambda shop: {name: str(value) for name, value in env(shop).items()}}


def option(name: str, value: Any) -> dict[str, Any]:
    return {"options": lambda shop: [f"--tls-{name}={value(shop) if callable(value) else value}"]}


def toml(text: str) -> dict[str, Any]:
    return option("config", lambda shop: shop("settings.toml", text))


def beside(shop: Shop, *more: str) -> list[str]:
    """With a plain port."""
    return [f"--tls-redirect-port={shop.free}", "--tls-public-port=443", *more]


MISTAKES = [
    Mistake("a file that is not there", "gone.pem: no such file", "Check", **files(cert=lambda _: "gone.pem")),
    Mistake("a directory as a file", "is a directory", "file", **files(cert=lambda shop: shop.directory)),
    Mistake(
        "another certificate's key", "does not belong", "key",
        **files(key=lambda shop: shop("other.key", key_to_pem(make_key()))),
    ),
    Mistake("the files are swapped", "private key", "swap|certificate", **files(lambda s: s.key, lambda s: s.cert)),
    Mistake(
        "an encrypted key", "encrypted", "ASGI_TLS_KEYFILE_PASSWORD_FILE",
        **files(key=lambda shop: shop("locked.key", shop.pair.encrypted_key_pem(b"secret"))),
    ),
    Mistake(
        "a wrong password", "password", "openssl pkey",
        env=lambda shop: {
            "ASGI_TLS_KEYFILE": shop("locked.key", shop.pair.encrypted_key_pem(b"secret")),
            "ASGI_TLS_KEYFILE_PASSWORD_FILE": shop("password", "wrong"),
        },
    ),
    Mistake(
        "a webroot that is not there", "not a directory", "Create it",
        options=lambda shop: beside(shop, "--tls-redirect-webroot=gone"),
    ),
    Mistake(
        "an empty file", "is empty", "Write the certificate again",
        **files(cert=lambda shop: shop("empty.pem", b"")),
    ),
    Mistake(
        "a file that is cut", "truncated", "again",
        **files(cert=lambda shop: shop("cut.pem", shop.pair.cert_pem[:400])),
    ),
    Mistake(
        "a PKCS#12 file", "PKCS#12", "openssl pkcs12", **files(cert=lambda shop: shop("a.p12", shop.pair.pkcs12())),
    ),
    Mistake("a DER file", "DER", "openssl x509", **files(cert=lambda shop: shop("a.der", shop.pair.der))),
    Mistake("a signing request", "request", "CA", **files(cert=lambda shop: shop("a.csr", shop.request()))),
    Mistake(
        "an expired certificate", "expired", "Renew",
        **files(cert=lambda shop: shop.expired[0], key=lambda shop: shop.expired[1]),
    ),
    Mistake("a text file", "no PEM block", "PEM", **files(cert=lambda shop: shop("a.txt", "hello"))),
    Mistake(
        "a key alone", "ASGI_TLS_KEYFILE is set without", "--certfile",
        env=lambda shop: {"ASGI_TLS_KEYFILE": str(shop.key)}, good=False,
    ),
    Mistake(
        "a password for no key", "ASGI_TLS_KEYFILE_PASSWORD_FILE is set without", "--certfile",
        env=lambda shop: {"ASGI_TLS_KEYFILE_PASSWORD_FILE": shop("password", "x")}, good=False,
    ),
    Mistake("two certificates", "both set", "Keep one", env=lambda shop: {
        "ASGI_TLS_CERTFILE": str(shop.cert), "ASGI_TLS_LETSENCRYPT": "example.com"}, good=False),
    Mistake(
        "a name that certbot does not know", "no such", "certbot", good=False, **option("letsencrypt", "example.org"),
    ),
    Mistake("an unknown profile", "--tls-profile is 'strong'", "modern", **option("profile", "strong")),
    Mistake("an unknown group", "X25518", "X25519", **option("groups", "X25518")),
    Mistake("an unknown suite", "TLS_AES_512", "TLS_AES_256_GCM_SHA384", **option("ciphersuites", "TLS_AES_512_GCM")),
    Mistake("a weak suite", "RC4", "Choose from ECDHE", **option("ciphers", "RC4-SHA")),
    Mistake("a CA bundle that is not there", "cas.pem: no such file", "Check", **option("client-ca", "cas.pem")),
    Mistake(
        "a leaf as a CA", "no CA certificate", "CA",
        **option("client-ca", lambda shop: shop("leaf.pem", shop.pair.cert_pem)),
    ),
    Mistake("who is asked for no certificate", "without --tls-client-ca", "CAs", **option("client-auth", "required")),
    Mistake("a CRL without a CA", "without --tls-client-ca", "CAs", **option("client-crl", "crl.pem")),
    Mistake(
        "a plain port that is no number", "--tls-redirect-port is 'http'", "65535", **option("redirect-port", "http"),
    ),
    Mistake(
        "a plain port that is taken", "in use", "port",
        options=lambda shop: [f"--tls-redirect-port={shop.port}", "--tls-public-port=443"],
    ),
    Mistake("a TLS port that is taken", "in use", "another port", port=lambda shop: shop.port),
    Mistake(
        "one port for both", "and so is the TLS port", "another port",
        port=lambda shop: shop.free, **option("redirect-port", lambda shop: shop.free),
    ),
    Mistake("a webroot without its port", "without --tls-redirect-port", "80", **option("redirect-webroot", ".")),
    Mistake("metrics at no address", "metrics", "HOST:PORT", **option("metrics", "nowhere")),
    Mistake("allowed by no guard", "without --tls-guard", "Set --tls-guard", **option("guard-allow", "10.0.0.0/8")),
    Mistake("a Redis URL that is none", "Redis URL", "redis://", **option("guard-redis", "localhost:6379")),
    Mistake(
        "a short ticket secret", "has 5 bytes", "openssl rand",
        **option("ticket-secret-file", lambda shop: shop("short", b"short")),
    ),
    Mistake("stapling without a responder", "responder", "CA|stapling", **option("stapling", "required")),
    Mistake("no time for a handshake", "--tls-handshake-timeout is", "10", **option("handshake-timeout", "0")),
    Mistake("a word for a number", "--tls-reload-interval is 'often'", "10", **option("reload-interval", "often")),
    Mistake("a misspelt variable", "ASGI_TLS_PROFLE", "ASGI_TLS_PROFILE", env=lambda _: {"ASGI_TLS_PROFLE": "modern"}),
    Mistake("an empty option", "--tls-client-ca is empty", "remove", **option("client-ca", "")),
    Mistake("a misspelt option", "--tls-profle", "--tls-profile", status=2, **option("profle", "modern")),
    Mistake("a settings file that is not there", "absent.toml", "path", **option("config", "absent.toml")),
    Mistake("a settings file that is not TOML", "not valid TOML", "Correct", **toml("profile = modern")),
    Mistake("a misspelt key", "'proflie'", "profile", **toml('proflie = "modern"')),
    Mistake(
        "a directory without pairs", "no key pair", "NAME", good=False,
        **option("directory", lambda shop: shop.directory / "none"),
    ),
    Mistake(
        "a wildcard by a challenge of no use", "wildcard", "--tls-acme-dns", good=False,
        **option("acme", "*.example.com"),
    ),
    Mistake("a CA without a name", "without --tls-acme", "host names", **option("acme-directory", "letsencrypt")),
    Mistake("a public CA for localhost", "localhost", "full host name", good=False, **option("acme", "localhost")),
    Mistake(
        "a CA of its customers", "zerossl", "--tls-acme-eab-kid", good=False,
        options=lambda _: ["--tls-acme=example.com", "--tls-acme-directory=zerossl"],
    ),
    Mistake(
        "http-01 that nothing answers", "--tls-acme-challenge is http-01", "--tls-redirect-port to 80", good=False,
        options=lambda _: ["--tls-acme=example.com", "--tls-acme-challenge=http-01"],
    ),
    Mistake(
        "a CA that is none", "--tls-acme-directory is 'letsencript'", "letsencrypt", good=False,
        options=lambda _: ["--tls-acme=example.com", "--tls-acme-directory=letsencript"],
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("mistakes")
    (directory / "none").mkdir()
    made = Shop(directory)
    with made.taken:
        yield made


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.name)
def test_a_mistake(shop: Shop, mistake: Mistake) -> None:
    env = {"ASGI_TLS_HOME": str(shop.directory / "home")}
    if mistake.good:
        env |= {"ASGI_TLS_CERTFILE": str(shop.cert), "ASGI_TLS_KEYFILE": str(shop.key)}
    env |= mistake.env(shop)
    options = [*mistake.options(shop)]

    def start(server: str) -> tuple[int, str]:
        port = mistake.port(shop)
        listen = [f"--port={port}"] if server == "uvicorn" else [f"--bind=127.0.0.1:{port}"]
        return run(asgi_tls(server, "facts_app:app", *listen, *options), env=env)

    with ThreadPoolExecutor(3) as pool:
        ended = dict(zip(SERVERS, pool.map(start, SERVERS), strict=True))
    sentences = set()
    for server, (status, text) in ended.items():
        assert status == mistake.status, f"{server}: {status}\n{text}"
        assert "Traceback" not in text
        found = [line for line in text.splitlines() if "Error: " in line]
        assert len(found) == 1, f"{server}:\n{text}"
        # The servers have names of their own for three options.
        sentence = re.sub(r"--(ssl-)?(?=certfile|keyfile)", "--", found[0].partition("Error: ")[2])
        sentences.add(sentence)
    assert len(sentences) == 1, "\n".join(sorted(sentences))
    (sentence,) = sentences
    problem, _, fix = sentence.partition(". ")
    assert re.search(mistake.words, problem), sentence
    assert re.search(mistake.fix, fix), sentence


def test_there_are_forty() -> None:
    assert len({mistake.name for mistake in MISTAKES}) >= 40
