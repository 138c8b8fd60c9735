"""The ACME source: what it takes, and what its copies, texts and errors keep to themselves."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pki import PKI, Pair

from asgi_tls import ACME, ServerTLS
from asgi_tls.errors import ConfigurationError
from asgi_tls.renewal.acme.ca import CA, ExternalAccount
from asgi_tls.renewal.acme.dns import DNSLexicon
from asgi_tls.renewal.acme.redis import RedisStorage

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ"


DAY = timedelta(days=1)


def store(made: ACME, leaf: Pair) -> None:
    made.storage.check()
    made.path.write_bytes(leaf.chain_pem + leaf.key_pem)
    made.path.chmod(0o600)


def source(tmp_path: Path, *names: str, **more: object) -> ACME:
    return ACME(*(names or ("example.com",)), **{"storage": tmp_path / "storage", **more})  # type: ignore[arg-type]


def test_names_are_canonical_and_order_does_not_matter(tmp_path: Path) -> None:
    one = source(tmp_path, "Straße.example", "WWW.example.com.", "192.0.2.1")
    assert one.names == ("xn--strae-oqa.example", "www.example.com", "192.0.2.1")
    other = source(tmp_path, "192.0.2.1", "www.example.com", "straße.example")
    assert one.identifier.rpartition("-")[2] == other.identifier.rpartition("-")[2]
    assert source(tmp_path, key="rsa").identifier != source(tmp_path).identifier


def test_a_trial_with_another_ca_touches_nothing_of_what_is_in_use(tmp_path: Path) -> None:
    assert source(tmp_path, directory="letsencrypt-staging").path != source(tmp_path, directory="letsencrypt").path


BAD = {
    "no names": ((), {}, "no names"),
    "localhost": (("localhost",), {}, "no CA on the internet"),
    "one label": (("intranet",), {}, "no CA on the internet"),
    "no host": (("a b",), {}, "not a valid host name"),
    "a wildcard by http-01": (("*.example.com",), {}, "wildcard"),
    "an address by dns-01": (("192.0.2.1",), {"dns": DNSLexicon("x")}, "IP address"),
    "dns-01 without a provider": (("example.com",), {"challenges": ("dns-01",)}, "nothing sets DNS records"),
    "no challenge": (("example.com",), {"challenges": ()}, "acme_challenge"),
    "another challenge": (("example.com",), {"challenges": ("tls-sni-01",)}, "tls-sni-01"),
    "another key": (("example.com",), {"key": "dsa"}, "dsa"),
    "plain http": (("example.com",), {"directory": "http://ca.example/directory"}, "http://ca.example"),
    "a port that is none": (("example.com",), {"directory": "https://ca.example:99999/directory"}, "acme_directory"),
    "a password in the URL": (("example.com",), {"directory": "https://me:pw@ca.example/directory"}, "acme_directory"),
    "a fallback that is none": (("example.com",), {"fallback": ["letsencryptt"]}, "acme_fallback"),
    "a contact that is none": (("example.com",), {"contact": "admin"}, "acme_contact"),
    "a storage of another kind": (("example.com",), {"storage": "memcached://:pw@host"}, "'memcached'"),
    "a CA of its customers": (("example.com",), {"directory": "google"}, "customers"),
    "a fallback of its customers": (("example.com",), {"fallback": ["zerossl"]}, "customers"),
    "an HMAC key that is none": (("example.com",), {"external_account": ("kid", "a/b+c")}, "base64url"),
    "a storage that is none": (("example.com",), {"storage": 5}, "storage is 5"),
}


@pytest.mark.parametrize(("names", "more", "words"), BAD.values(), ids=BAD)
def test_what_is_refused(tmp_path: Path, names: tuple[str, ...], more: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ACME(*names, **{"storage": tmp_path / "storage", **more})  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_nothing_of_it_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "hmac"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    by_file = source(tmp_path, directory="zerossl", external_account=ExternalAccount("kid", file=path))
    assert SECRET.encode() not in pickle.dumps(ServerTLS(by_file))
    assert pickle.loads(pickle.dumps(by_file)).external_account.secret() == SECRET
    in_python = source(
        tmp_path,
        directory="zerossl",
        external_account=("kid", SECRET),
        fallback=[CA("own", "https://ca.example/d", external_account=ExternalAccount("kid", SECRET))],
        dns=DNSLexicon("cloudflare", {"auth_token": SECRET}),
        storage=RedisStorage(f"redis://:{SECRET}@127.0.0.1/0", directory=tmp_path / "mirror"),
    )
    for each in (by_file, in_python):
        assert SECRET not in repr(each) + str(each) + repr(each.cas) + repr(each.storage) + repr(each.dns)


def test_a_placeholder_has_the_names_and_is_the_same_for_one_process(tmp_path: Path) -> None:
    made = source(tmp_path, "example.com", "2001:db8::1")
    certificate = made.load()
    assert certificate.subject_alt_names == ("example.com", "2001:db8::1")
    assert [each.code for each in certificate.warnings] == ["acme-placeholder"]
    assert made.load() is certificate
    assert made.stored() is None


def test_what_is_changed_takes_nothing_away_until_its_certificate_is_there(tmp_path: Path) -> None:
    before = source(tmp_path, "a.test", "b.test")
    store(before, PKI("first").leaf("a.test", "b.test"))
    store(source(tmp_path, "a.test"), PKI("second").leaf("a.test"))
    for changed in (
        source(tmp_path, "new.test", "b.test", "a.test"),
        source(tmp_path, "a.test", "b.test", directory="letsencrypt-staging"),
        source(tmp_path, "a.test", "b.test", key="rsa"),
    ):
        certificate = changed.load()
        assert (certificate.subject_alt_names, certificate.key_type) == (("a.test", "b.test"), "ECDSA P-256")
        assert [each.code for each in certificate.warnings] == ["acme-placeholder"]
        assert changed.paths == (changed.path,)
    assert source(tmp_path, "c.test").load().subject_alt_names == ("c.test",)
    assert source(tmp_path, "c.test", key="rsa").load().key_type == "RSA 2048"
    # Of those with as many of the names, one with the key that is wanted.
    store(source(tmp_path, "a.test", key="rsa"), PKI("third").leaf("a.test", key="rsa"))
    assert source(tmp_path, "a.test", "c.test", key="rsa").load().key_type == "RSA 2048"
    assert source(tmp_path, "a.test", "c.test").load().key_type == "ECDSA P-256"


@pytest.mark.parametrize("stored", [False, True], ids=["at first", "with another certificate"])
def test_a_server_starts_before_there_is_a_certificate(tmp_path: Path, stored: bool) -> None:
    if stored:
        store(source(tmp_path, "a.test"), PKI("first").leaf("a.test"))
    both = [source(tmp_path, "a.test", "b.test"), source(tmp_path, "a.test", "b.test", key="rsa")]
    ServerTLS({"a.test": both, "b.test": both}).check()
    ServerTLS(both).check()


def test_what_has_expired_stands_in_for_nothing(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    store(source(tmp_path, "a.test"), PKI("old").leaf("a.test", not_before=now - 2 * DAY, not_after=now - DAY))
    assert source(tmp_path, "a.test", "b.test").load().subject_alt_names == ("a.test", "b.test")


def test_a_stored_file_that_is_damaged_is_a_placeholder_and_one_that_becomes_so_is_kept(tmp_path: Path) -> None:
    made = source(tmp_path, "example.com", "damaged.example.com")
    made.storage.check()
    made.path.write_text("damaged")
    assert [each.code for each in made.load().warnings] == ["acme-placeholder"]
