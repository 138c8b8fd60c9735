"""Which certificate answers for which name, after any sequence of changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from files import Files
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls.certificate import Certificate
from asgi_tls.events import Notice
from asgi_tls.renewal.names import Key, Names

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS = ("a.example", "10.0.0.1", "*.wild.example", "given.example")
KINDS = ("ECDSA P-256", "RSA 2048")

# Names, days that are left, kind of key; None takes a pair away.
Made = tuple[list[str], int, str, bool] | None
CERTIFICATES = st.none() | st.tuples(
    st.lists(st.sampled_from(HOSTS), min_size=1, unique=True), st.integers(1, 3), st.sampled_from(KINDS), st.booleans()
)
KEYS = st.sampled_from(["/d/one/fullchain.pem", "/d/two.pem", "/d/default/tls.crt", 1, 2])
CHANGES = st.lists(st.dictionaries(KEYS, CERTIFICATES, min_size=1), min_size=1, max_size=6)
GIVEN: Mapping[str, tuple[Key, ...]] = {"given.example": (1, 2)}


def expected(certificates: Mapping[Key, Certificate]) -> dict[str, set[Certificate]]:
    """The rule, spelled out."""
    groups: dict[str, set[Certificate]] = {}
    listed = {key: one for key, one in certificates.items() if isinstance(key, str)}
    for name in {*HOSTS, "default"} - {*GIVEN}:
        holders = {
            key: one
            for key, one in listed.items()
            if name in one.subject_alt_names or (name == "default" and "default" in Path(key).parts)
        }
        issued = {key: one for key, one in holders.items() if one.issuer != one.subject}
        for kind in KINDS:
            of_kind = sorted(key for key, one in (issued or holders).items() if one.key_type == kind)
            if of_kind:
                best = max(of_kind, key=lambda key: (holders[key].not_after, -of_kind.index(key)))
                groups.setdefault(name, set()).add(holders[best])
    for name, keys in GIVEN.items():
        group = {certificates[key] for key in keys if key in certificates}
        if group:
            groups[name] = group
    return groups


@given(changes=CHANGES)
def test_updates_come_to_what_the_rule_says(files: Files, changes: list[dict[Key, Made]]) -> None:
    loaded = files.ecdsa.load()
    names, certificates, number = Names(GIVEN), dict[Key, Certificate](), 0
    for change in changes:
        update: dict[Key, Certificate | None] = {}
        for key, made in change.items():
            number += 1
            if made is None:
                update[key] = None
                certificates.pop(key, None)
            else:
                hosts, days, kind, self_signed = made
                update[key] = certificates[key] = replace(
                    loaded,
                    dns_names=tuple(host for host in hosts if host[0] != "1"),
                    ip_addresses=tuple(host for host in hosts if host[0] == "1"),
                    issuer="CN=self" if self_signed else "CN=CA",
                    subject="CN=self",
                    not_after=NOW + timedelta(days=days),
                    key_type=kind,
                    fingerprint_sha256=str(number),
                )
        names = names.updated(update)
        assert {name: set(group) for name, group in names.groups.items()} == expected(certificates)


def test_what_stands_in_does_not_take_the_place_of_another(files: Files) -> None:
    """A new RSA source beside an ECDSA one: until the RSA certificate is there, the ECDSA one may stand in for it."""
    issued, renewed = files.ecdsa.load(), replace(files.ecdsa.load(), fingerprint_sha256="renewed")
    notice = Notice("acme-placeholder", "served until then")
    spare, placeholder = (replace(one.load(), warnings=(notice,)) for one in (files.ecdsa, files.rsa))
    names = Names({"given.example": (1, 2)})
    for one, other in ((issued, spare), (spare, issued)):
        assert names.updated({1: one, 2: other}).groups["given.example"] == (issued,)
    assert names.updated({1: spare, 2: replace(spare, source="other")}).groups["given.example"] == (spare,)
    assert names.updated({1: issued, 2: placeholder}).groups["given.example"] == (issued, placeholder)
    served = names.updated({1: issued, 2: spare}).updated({1: renewed})
    assert served.groups["given.example"] == (renewed,)
    assert served.updated({2: files.rsa.load()}).groups["given.example"] == (renewed, files.rsa.load())


def test_an_update_leaves_the_other_names_alone(files: Files) -> None:
    loaded = replace(files.ecdsa.load(), ip_addresses=())
    many: dict[Key, Certificate | None] = {
        f"/d/{number}/fullchain.pem": replace(loaded, dns_names=(f"{number}.example",)) for number in range(100)
    }
    names = Names({}).updated(many)
    renewed = replace(loaded, dns_names=("7.example",), not_after=loaded.not_after + timedelta(days=1))
    after = names.updated({"/d/7/fullchain.pem": renewed})
    assert after.groups["7.example"] == (renewed,)
    assert [name for name in after.groups if after.groups[name] is not names.groups[name]] == ["7.example"]
    assert "7.example" not in after.updated({"/d/7/fullchain.pem": None}).groups


def test_one_curve_is_enough_for_a_name(files: Files) -> None:
    """Clients that take one take the other: what counts is the kind of key."""
    loaded = replace(files.ecdsa.load(), ip_addresses=())
    later = replace(loaded, key_type="ECDSA P-384", not_after=loaded.not_after + timedelta(days=1))
    rsa = replace(loaded, key_type="RSA 2048")
    assert Names({}).updated({"/a": loaded, "/b": later, "/c": rsa}).groups["localhost"] == (later, rsa)
