"""Ticket keys as arithmetic: secrets, derivation, epochs. tests/context/test_resumption.py has the handshakes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
import pickle
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from files import Files
from hypothesis import assume, given
from hypothesis import strategies as st

from asgi_tls import INTERMEDIATE, MODERN, ServerTLS, TLSProfile
from asgi_tls.errors import ConfigurationError, EmptyFileError, MissingFileError, UnreadableFileError
from asgi_tls.tickets import (
    Epochs,
    LoadedSecret,
    Rotation,
    TicketSecretFile,
    check_tickets,
    derive_keys,
    ends_of,
    load_secret,
    name_of,
    paths_of,
    secret_from,
)

SECRET = bytes(range(32))
ENDS = hashlib.sha256(b"policy").digest()

secrets = st.binary(min_size=32, max_size=64)
rotations = st.floats(1, 604_800)
epochs = st.integers(0, 2**40)
digests = st.binary(min_size=32, max_size=32)
inputs = st.tuples(secrets, rotations, epochs, digests)


def keys_of(of: tuple[bytes, float, int, bytes]) -> bytes:
    secret, rotation, epoch, ends = of
    return derive_keys(secret, rotation=rotation, epoch=epoch, ends=ends)


def test_the_keys_are_hkdf_and_stay_what_they_are() -> None:
    """Hosts of two versions of this package must agree while one is put in the place of the other."""
    info = b"asgi_tls ticket keys 1" + bytes.fromhex("40e5180000000000") + (41_666).to_bytes(8) + ENDS
    # RFC 5869 section 2, written out.
    pseudorandom = hmac.digest(bytes(32), SECRET, "sha256")
    block, expected = b"", b""
    for number in range(1, 4):
        block = hmac.digest(pseudorandom, block + info + bytes([number]), "sha256")
        expected += block
    assert keys_of((SECRET, 43_200.0, 41_666, ENDS)) == expected[:80]


@given(inputs)
def test_the_same_gives_the_same(one: tuple[bytes, float, int, bytes]) -> None:
    keys = keys_of(one)
    assert keys == keys_of(one)
    assert len(keys) == 80


@given(inputs, inputs, st.sampled_from(["secret", "rotation", "epoch", "ends"]))
def test_anything_else_gives_other_keys_and_another_name(
    one: tuple[bytes, float, int, bytes], other: tuple[bytes, float, int, bytes], what: str
) -> None:
    at = ["secret", "rotation", "epoch", "ends"].index(what)
    # RFC 5869 pads the secret with zeros up to the block of the hash.
    assume(one[at] != other[at] and (at or one[0].rstrip(b"\0") != other[0].rstrip(b"\0")))
    changed = tuple(other[place] if place == at else value for place, value in enumerate(one))
    parts = [(keys[:16], keys[16:48], keys[48:]) for keys in (keys_of(one), keys_of(changed))]  # type: ignore[arg-type]
    assert all(before != after for before, after in zip(*parts, strict=True))


POLICIES: dict[str, tuple[TLSProfile, str | None, str | None, str | None]] = {
    "plain": (INTERMEDIATE, None, None, None),
    "modern": (MODERN, None, None, None),
    "groups": (INTERMEDIATE.with_groups("X25519"), None, None, None),
    "order of groups": (INTERMEDIATE.with_groups("P-384", "X25519"), None, None, None),
    "other order of groups": (INTERMEDIATE.with_groups("X25519", "P-384"), None, None, None),
    "suites": (INTERMEDIATE.with_ciphersuites("TLS_AES_256_GCM_SHA384"), None, None, None),
    "ciphers": (INTERMEDIATE.with_ciphers("ECDHE-RSA-AES256-GCM-SHA384"), None, None, None),
    "client CA": (INTERMEDIATE, "required", "A", None),
    "other client CA": (INTERMEDIATE, "required", "B", None),
    "optional": (INTERMEDIATE, "optional", "A", None),
    "CRL": (INTERMEDIATE, "required", "A", "list"),
    "CRL as CA": (INTERMEDIATE, "required", "Alist", None),
}


def test_each_policy_and_trust_has_a_digest_of_its_own() -> None:
    digests = {name: ends_of(*policy) for name, policy in POLICIES.items()}
    assert len({*digests.values()}) == len(POLICIES)


def test_what_is_no_policy_ends_nothing() -> None:
    named = replace(INTERMEDIATE, name="mine", hsts_max_age=300)
    turned = replace(INTERMEDIATE, ciphers=INTERMEDIATE.ciphers[::-1])  # a set: the client's order decides
    assert ends_of(named, None, None, None) == ends_of(turned, None, None, None)


moments = st.floats(1e9, 4e9)


@given(moments, rotations)
def test_an_epoch_is_a_function_of_the_clock(now: float, period: float) -> None:
    for rotation in (Rotation(period), Rotation.gentle(period)):
        found = rotation.at(now)
        assert found.current == math.floor(now / period)
        assert found.since - 1e-3 <= now <= found.until + 1e-3
        assert found.until - found.since <= period + 1e-3
        assert {found.current - 1, found.current, found.current + 1} >= {*found.also}
        assert len(found.also) <= 1
    assert Rotation(period).at(now).also == ()


@given(moments, st.floats(720, 604_800), st.floats(-60, 60))
def test_hosts_whose_clocks_differ_by_a_minute_accept_each_others_tickets(
    now: float, period: float, skew: float
) -> None:
    assume(abs(skew) < 59.999)
    one, other = Rotation.gentle(period).at(now), Rotation.gentle(period).at(now + skew)
    assert one.current in {other.current, *other.also}
    assert other.current in {one.current, *one.also}


@given(moments, rotations, st.floats(0, 3))
def test_no_ticket_outlives_its_epoch_by_more_than_the_overlap(now: float, period: float, later: float) -> None:
    rotation = Rotation.gentle(period)
    made = rotation.at(now).current
    then = now + later * period
    if then > (made + 1) * period + rotation.overlap + 1e-3:
        found = rotation.at(then)
        assert made not in {found.current, *found.also}


def test_within_the_overlap_and_not_after_it() -> None:
    rotation = Rotation.gentle(43_200)
    edge = 40_000 * 43_200.0
    expected = {-61: (39_999, ()), -59: (39_999, (40_000,)), 0: (40_000, (39_999,)), 3_599: (40_000, (39_999,)),
                3_601: (40_000, ())}  # fmt: skip
    for offset, (current, also) in expected.items():
        found = rotation.at(edge + offset)
        assert (found.current, found.also) == (current, also), offset


BAD_SECRETS: dict[str, tuple[object, str]] = {
    "text": ("x" * 40, "ticket_secret is of type str"),
    "path": (Path("ticket.key"), "ticket_secret is of type PosixPath"),
    "bytearray": (bytearray(SECRET), "ticket_secret is of type bytearray"),
    "short": (b"0123456789abcdefghijklmnopqrstu", "has 31 bytes, and 32 are needed"),
    "none": (b"", "has 0 bytes"),
    "zeros": (bytes(32), "repeats a few bytes"),
    "repeated": (b"secret" * 10, "repeats a few bytes"),
}


@pytest.mark.parametrize(("secret", "says"), BAD_SECRETS.values(), ids=BAD_SECRETS)
def test_bad_secrets(files: Files, tmp_path: Path, secret: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        ServerTLS(files.ecdsa, ticket_secret=secret)  # type: ignore[arg-type]
    assert "x" * 40 not in str(caught.value)
    if isinstance(secret, bytes):
        assert repr(secret)[2:-1] not in str(caught.value) or not secret
        assert caught.value.fix.startswith("Make one with `openssl rand -hex 32`")
        path = tmp_path / "a ticket.key"
        path.write_bytes(secret)
        with pytest.raises((ConfigurationError, EmptyFileError), match=r"ticket\.key") as in_file:
            ServerTLS(files.ecdsa, ticket_secret=TicketSecretFile(path)).check()
        assert f"`openssl rand -out '{path}' 32`" in in_file.value.fix
        with pytest.raises(ConfigurationError, match=r"callable returned .* `openssl rand -hex 32`"):
            ServerTLS(files.ecdsa, ticket_secret=lambda: secret).check()


@pytest.mark.parametrize("rotation", [0, 0.5, -1, math.inf, math.nan, 604_801])
def test_bad_rotations(files: Files, rotation: float) -> None:
    with pytest.raises(ConfigurationError, match="ticket_rotation is .* from 1 to 604800"):
        ServerTLS(files.ecdsa, ticket_rotation=rotation)


def test_files_that_cannot_be_read(files: Files, tmp_path: Path) -> None:
    make_one = f"Make one with `openssl rand -out {tmp_path}/ticket.key 32`, and give all hosts the same."
    with pytest.raises(MissingFileError, match=r"ticket\.key: no such file\. ") as caught:
        ServerTLS(files.ecdsa, ticket_secret=TicketSecretFile(tmp_path / "ticket.key")).check()
    assert caught.value.fix == make_one
    with pytest.raises(UnreadableFileError, match="is a directory"):
        ServerTLS(files.ecdsa, ticket_secret=TicketSecretFile(tmp_path)).check()
    (tmp_path / "ticket.key").touch()
    with pytest.raises(EmptyFileError, match="is empty") as empty:
        ServerTLS(files.ecdsa, ticket_secret=TicketSecretFile(tmp_path / "ticket.key")).check()
    assert empty.value.fix == make_one


def _fails() -> bytes:
    raise OSError("the vault said: hunter2")


def _returns_text() -> bytes:
    return "0123456789abcdef" * 4  # type: ignore[return-value]


@pytest.mark.parametrize(("secret", "says"), [(_fails, "failed with OSError"), (_returns_text, "returned str")])
def test_callables_that_fail(files: Files, secret: Callable[[], bytes], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        ServerTLS(files.ecdsa, ticket_secret=secret).check()
    assert "hunter2" not in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o604])
def test_a_file_that_others_can_read_is_told(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    path = tmp_path / "ticket.key"
    path.write_bytes(os.urandom(32))
    path.chmod(mode)
    with caplog.at_level(logging.WARNING, "asgi_tls"):
        ServerTLS(files.ecdsa, ticket_secret=TicketSecretFile(path)).create_context()
    said = [record.getMessage() for record in caplog.records if "ticket secret" in record.getMessage()]
    who = {0o660: "its group", 0o604: "everyone"}.get(mode)
    assert said == (
        [f"{path}: the ticket secret is open to {who} (mode {mode:04o}); chmod 0600 (open-file)"] if who else []
    )


def shows(text: object, secret: bytes) -> bool:
    """Whether a text gives a secret away, in any of its usual forms."""
    whole = str(text)
    return any(form in whole for form in (repr(secret)[2:-1], secret.hex(), str(list(secret))[1:-1]))


def test_a_secret_is_nowhere_to_be_read(files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = os.urandom(32)
    path = tmp_path / "ticket.key"
    path.write_bytes(secret)
    with caplog.at_level(logging.DEBUG):
        for tls in (
            ServerTLS(files.ecdsa, ticket_secret=secret),
            ServerTLS(files.ecdsa, ticket_secret=TicketSecretFile(path)),
        ):
            context = tls.create_server_context()
            found = [tls, context, context.resumption, context.prepare(context.certificates), tls._inventory()]
            inventory = tls._inventory()
            inventory.load(time.monotonic())
            found += [inventory, inventory.secret, inventory.secret and inventory.secret.value, vars(tls).keys()]
            assert not any(shows(repr(each), secret) or shows(each, secret) for each in found)
    assert not any(shows(record.getMessage(), secret) for record in caplog.records)
    made = ServerTLS(files.ecdsa)
    assert not shows(repr(made), made.__dict__["_made_secret"])
    with pytest.raises(Exception, match="(?i)pickle|local object") as caught:
        pickle.dumps(ServerTLS(files.ecdsa, ticket_secret=secret, listeners=[lambda _: None]))
    assert not shows(repr(caught.value), secret)


def test_copies_keep_the_secret_and_others_have_their_own(files: Files) -> None:
    one, other = ServerTLS(files.ecdsa), ServerTLS(files.ecdsa)
    copied = pickle.loads(pickle.dumps(one))
    assert copied.__dict__["_made_secret"] == one.__dict__["_made_secret"] != other.__dict__["_made_secret"]
    assert one == copied


def test_the_settings(files: Files, tmp_path: Path) -> None:
    from asgi_tls.servers.build import server_tls
    from asgi_tls.servers.given import read

    path = tmp_path / "ticket.key"
    path.write_bytes(SECRET)
    files_of = {"ASGI_TLS_CERTFILE": str(files.ecdsa.certfile), "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile)}

    def made(**variables: str) -> ServerTLS:
        return server_tls(read(environ={**files_of, **variables}))

    assert made(ASGI_TLS_TICKET_SECRET_FILE=str(path)).ticket_secret == TicketSecretFile(str(path))
    assert made(ASGI_TLS_TICKET_SECRET=SECRET.hex()).ticket_secret == SECRET.hex().encode()
    assert made(ASGI_TLS_TICKET_ROTATION="600").ticket_rotation == 600
    assert made().ticket_secret is None
    with pytest.raises(ConfigurationError, match="ASGI_TLS_TICKET_ROTATION is 'a day'"):
        made(ASGI_TLS_TICKET_ROTATION="a day")
    # Random bytes do not fit into a variable: it ends at the first zero.
    with pytest.raises(ConfigurationError, match=r"^ASGI_TLS_TICKET_SECRET has 5 bytes, .* `openssl rand -hex 32`"):
        made(ASGI_TLS_TICKET_SECRET="short")
    with pytest.raises(ConfigurationError, match="Keep one of them"):
        made(ASGI_TLS_TICKET_SECRET=SECRET.hex(), ASGI_TLS_TICKET_SECRET_FILE=str(path))


def test_what_a_secret_is_called_and_where_it_lies() -> None:
    file = TicketSecretFile("/run/ticket.key")
    assert (name_of(file), paths_of(file)) == ("ticket secret /run/ticket.key", (Path("/run/ticket.key"),))
    assert (name_of(SECRET), paths_of(SECRET)) == ("ticket secret", ())


def test_a_secret_of_the_settings_is_a_file_or_bytes() -> None:
    assert secret_from(None, None) is None
    assert secret_from("ticket.key", None) == TicketSecretFile("ticket.key")
    # As the operating system has it: any bytes but zeros may stand in a variable.
    assert secret_from(None, "\u00e4\udcff") == b"\xc3\xa4\xff"
    with pytest.raises(ConfigurationError) as caught:
        secret_from("ticket.key", "x")
    assert caught.value.settings == ("ticket_secret", "ticket_secret_file")


SEVEN, EIGHT = bytes(range(7)) + bytes(25), bytes(range(8)) + bytes(24)


def test_the_least_that_a_secret_may_be(tmp_path: Path) -> None:
    path = tmp_path / "ticket.key"
    path.write_bytes(EIGHT)
    path.chmod(0o600)
    check_tickets(EIGHT, 1)
    check_tickets(TicketSecretFile("missing"), 604_800)
    check_tickets(None, 43_200.0)
    for secret in (EIGHT, lambda: EIGHT, TicketSecretFile(path)):
        assert load_secret(secret) == LoadedSecret(EIGHT)
    path.write_bytes(SEVEN)
    for secret, what in (
        (lambda: SEVEN, "^the ticket secret that the callable returned"),
        (TicketSecretFile(path), f"^{re.escape(str(path))} repeats"),
    ):
        with pytest.raises(ConfigurationError, match=what):
            load_secret(secret)
    with pytest.raises(ConfigurationError, match="^ticket_secret repeats"):
        check_tickets(SEVEN, 1)


@pytest.mark.parametrize(
    ("secret", "rotation", "setting"), [("text", 1, "ticket_secret"), (None, 604_801, "ticket_rotation")]
)
def test_a_mistake_names_its_setting(secret: object, rotation: float, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting) as caught:
        check_tickets(secret, rotation)
    assert caught.value.settings == (setting,)


@pytest.mark.parametrize("secret", [_fails, _returns_text])
def test_a_callable_that_fails_names_its_setting(secret: Callable[[], bytes]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_secret(secret)
    assert caught.value.settings == ("ticket_secret",)


def test_the_digest_of_policy_and_trust_stays_what_it_is() -> None:
    """As with the keys: hosts of two versions of this package must agree."""
    profile = INTERMEDIATE.with_ciphers("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256")
    profile = profile.with_ciphersuites("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256").with_groups("X25519")
    said = (
        b'["TLSv1.2", "TLSv1.3", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"], '
        b'["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"], ["X25519"], "required", "A", "list"]'
    )
    assert ends_of(profile, "required", "A", "list") == hashlib.sha256(said).digest()


@pytest.mark.parametrize(
    ("rotation", "now", "epochs"),
    [
        (Rotation(100.0), 200.0, Epochs(2, (), 200.0, 300.0)),
        (Rotation(100.0), 299.0, Epochs(2, (), 200.0, 300.0)),
        (Rotation(100.0, 5.0, 10.0), 209.0, Epochs(2, (1,), 200.0, 210.0)),
        (Rotation(100.0, 5.0, 10.0), 210.0, Epochs(2, (), 210.0, 295.0)),
        (Rotation(100.0, 5.0, 10.0), 295.0, Epochs(2, (3,), 295.0, 300.0)),
        (Rotation(100.0, 60.0, 60.0), 250.0, Epochs(2, (3, 1), 240.0, 260.0)),
        (Rotation(100.0, 150.0, 0.0), 250.0, Epochs(2, (4,), 250.0, 300.0)),
    ],
)
def test_from_when_until_when_the_epochs_are_these(rotation: Rotation, now: float, epochs: Epochs) -> None:
    assert rotation.at(now) == epochs


@pytest.mark.parametrize(
    ("period", "lead", "overlap"), [(43_200.0, 60.0, 3600.0), (720.0, 60.0, 60.0), (120.0, 10.0, 10.0)]
)
def test_lead_and_overlap_are_a_twelfth_and_the_lead_is_a_minute_at_most(
    period: float, lead: float, overlap: float
) -> None:
    assert Rotation.gentle(period) == Rotation(period, pytest.approx(lead), pytest.approx(overlap))  # type: ignore[arg-type]
