"""Challenge files come out of the webroot, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from asgi_servers import call, hello, http_scope, websocket_scope
from nobody import as_nobody

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware import HTTPSRedirectMiddleware, TLSMiddleware, redirect_app
from asgi_tls.middleware.acme import CHALLENGE_PATH, ChallengeFiles
from asgi_tls.renewal.acme.account import new_account_key, thumbprint
from asgi_tls.renewal.acme.board import answer_by
from asgi_tls.renewal.acme.storage import DirectoryStorage

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
CONTENT = TOKEN.encode() + b".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"


@pytest.fixture
def webroot(tmp_path: Path) -> Path:
    """Something to find, and things beside it that must not be found."""
    root = tmp_path / "webroot"
    challenges = root / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / TOKEN).write_bytes(CONTENT)
    (tmp_path / "secret").write_text("secret")
    (root / "secret").write_text("secret")
    (challenges / "link").symlink_to(tmp_path / "secret")
    (challenges / "inner-link").symlink_to(TOKEN)
    (challenges / "directory").mkdir()
    (challenges / "large").write_bytes(b"x" * 5000)
    (challenges / "dotted.txt").write_text("secret")
    (challenges / "a b").write_text("secret")
    os.mkfifo(challenges / "fifo")
    return root


def get(webroot: Path, path: str, **changes: Any) -> Any:
    app = redirect_app(hosts=["example.com"], webroot=webroot)
    return call(app, http_scope(path=path, raw_path=path.encode("utf-8", "surrogatepass"), **changes))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_challenge_is_served_over_both_schemes_and_for_any_host(webroot: Path, scheme: str) -> None:
    scope = http_scope(scheme=scheme, path=CHALLENGE_PATH + TOKEN, headers=[(b"host", b"other.example")])
    for app in (
        HTTPSRedirectMiddleware(hello, hosts=["example.com"], webroot=webroot),
        TLSMiddleware(hello, hosts=["example.com"], webroot=webroot),
        redirect_app(hosts=["example.com"], webroot=webroot),
    ):
        call(app, scope)
        reply = call(app, scope)  # once more: the host is known by now
        assert (reply.status, reply.body) == (200, CONTENT)
        assert reply["content-type"] == "application/octet-stream"
        assert reply["content-length"] == str(len(CONTENT))
        assert len(reply.all("x-content-type-options")) == 1


def test_head_has_the_same_fields_and_no_body(webroot: Path) -> None:
    reply = get(webroot, CHALLENGE_PATH + TOKEN, method="HEAD")
    assert (reply.status, reply["content-length"], reply.body) == (200, str(len(CONTENT)), b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_redirected(webroot: Path, method: str) -> None:
    assert get(webroot, CHALLENGE_PATH + TOKEN, method=method).status == 308


@pytest.mark.parametrize("name", ["link", "inner-link", "directory", "large", "fifo", "missing", "a" * 512])
def test_only_small_regular_files_are_served(webroot: Path, name: str) -> None:
    assert get(webroot, CHALLENGE_PATH + name).status == 404


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "..",
        "../../secret",
        "../../../secret",
        "/etc/passwd",
        "./" + TOKEN,
        TOKEN + "/",
        TOKEN + "\x00",
        TOKEN + "\x00.txt",
        "\x00",
        TOKEN + "\n",
        "dotted.txt",
        "a b",
        "..\\..\\secret",
        "%2e%2e/secret",
        "é",
        "\udcff",
        "a" * 513,
    ],
)
def test_there_is_no_way_out(webroot: Path, rest: str) -> None:
    # As the path would be after decoding, whatever its escapes were.
    reply = get(webroot, CHALLENGE_PATH + rest)
    assert reply.status == 308
    assert b"secret" not in reply.body


@pytest.mark.parametrize("prefix", ["/x", "/..", "//", "/.well-known/acme-challenge"])
def test_the_path_begins_where_it_should(webroot: Path, prefix: str) -> None:
    assert get(webroot, prefix + CHALLENGE_PATH + TOKEN).status == 308


def test_root_path_may_stand_before_it(webroot: Path) -> None:
    assert get(webroot, "/api" + CHALLENGE_PATH + TOKEN, root_path="/api").body == CONTENT


def test_links_below_the_webroot_are_not_followed_and_the_webroot_may_be_one(webroot: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "acme-challenge").mkdir(parents=True)
    (outside / "acme-challenge" / "stolen").write_text("secret")
    crooked = tmp_path / "crooked"
    crooked.mkdir()
    (crooked / ".well-known").symlink_to(outside)
    assert get(crooked, CHALLENGE_PATH + "stolen").status == 404
    (tmp_path / "linked").symlink_to(webroot)
    assert get(tmp_path / "linked", CHALLENGE_PATH + TOKEN).body == CONTENT


def test_directories_may_come_later_and_no_descriptor_leaks(tmp_path: Path) -> None:
    files = ChallengeFiles(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert files.read("token") is None
    directory = tmp_path / CHALLENGE_PATH.strip("/")
    directory.mkdir(parents=True)
    assert files.read("token") is None
    (directory / "token").write_bytes(b"x")
    assert files.read("token") == b"x"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_webroot_must_be_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", __file__):
        with pytest.raises(ConfigurationError, match="webroot"):
            ChallengeFiles(path)


def test_without_a_webroot_the_application_answers() -> None:
    app = TLSMiddleware(hello, hosts=["example.com"])
    assert call(app, http_scope(path=CHALLENGE_PATH + TOKEN)).body == b"hello\n"


@pytest.fixture
def account(tmp_path: Path) -> str:
    """The thumbprint of an account of this server's own."""
    return own_account(tmp_path)


def own_account(tmp_path: Path) -> str:
    key = new_account_key()
    (tmp_path / "account.pem").touch(mode=0o600)
    (tmp_path / "account.pem").write_bytes(key)
    answer_by(DirectoryStorage(tmp_path))
    return thumbprint(key)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_servers_own_account_answers_any_token_without_a_webroot(account: str, scheme: str) -> None:
    headers = [(b"host", b"other.example")]
    for app in (
        HTTPSRedirectMiddleware(hello, hosts=["example.com"]),
        TLSMiddleware(hello, hosts=["example.com"]),
        redirect_app(hosts=["example.com"]),
    ):
        reply = call(app, http_scope(scheme=scheme, path=CHALLENGE_PATH + TOKEN, headers=headers))
        assert (reply.status, reply.body) == (200, f"{TOKEN}.{account}".encode())
        for other in ("a.b", "..", "", "%2e", "x" * 600):
            reply = call(app, http_scope(scheme=scheme, path=CHALLENGE_PATH + other, headers=headers))
            assert account.encode() not in reply.body


def test_an_application_that_is_older_than_the_account(tmp_path: Path) -> None:
    """Where the server is started in Python code, it is built first."""
    app = TLSMiddleware(hello, hosts=["example.com"])
    account = own_account(tmp_path)
    for _ in range(2):  # the host is known then
        assert call(app, http_scope(scheme="https", path=CHALLENGE_PATH + TOKEN)).body == f"{TOKEN}.{account}".encode()


def test_a_file_of_the_webroot_comes_before_the_servers_own_account(webroot: Path, account: str) -> None:
    assert get(webroot, CHALLENGE_PATH + TOKEN).body == CONTENT
    assert get(webroot, CHALLENGE_PATH + "another").body == f"another.{account}".encode()


def test_a_websocket_is_no_challenge(webroot: Path) -> None:
    app = redirect_app(hosts=["example.com"], webroot=webroot)
    assert call(app, websocket_scope(path=CHALLENGE_PATH + TOKEN)).status == 308


@pytest.mark.skipif(
    getattr(os, "geteuid", int)() != 0, reason="only root can have a directory that is closed to others"
)
def test_a_webroot_that_this_user_may_not_see(webroot: Path) -> None:
    with as_nobody(), pytest.raises(ConfigurationError) as caught:
        redirect_app(hosts=["example.com"], webroot=webroot)
    assert str(caught.value).startswith(f"The webroot {webroot} cannot be read: the user nobody may not search /")
    assert "Let the server's user search it: `ch" in caught.value.fix
    closed = next(each for each in reversed(webroot.parents) if not each.stat().st_mode & 0o005)
    assert f" {closed}`" in caught.value.fix
