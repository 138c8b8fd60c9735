"""Whether a context has a profile, shown by handshakes; and what becomes of one where the policy cannot be set."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import out_of_reach
import pytest
from files import Files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_tls import INTERMEDIATE, MODERN, ServerTLS, TLSProfile, _openssl, create_client_context
from asgi_tls.cli.export import for_this_python
from asgi_tls.context import proof
from asgi_tls.context.policy import settle, usable_groups
from asgi_tls.context.proof import Deviation
from asgi_tls.errors import UnsupportedError

SUPPORTED = _openssl.supported_groups()
KEEPS_ORDER = ssl.OPENSSL_VERSION_INFO >= (3, 5)
PROFILES = [
    MODERN,
    INTERMEDIATE,
    MODERN.with_groups("P-384", "X25519").with_ciphersuites("TLS_AES_256_GCM_SHA384"),
    INTERMEDIATE.with_groups("P-256"),
    TLSProfile(name="old", maximum_version="TLSv1.2", groups=("P-384", "X25519")),
]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: f"{profile.name}-{len(profile.groups)}")
@pytest.mark.parametrize("name", ["default", "*.example.org"])
def test_a_context_of_ours_has_its_profile(files: Files, profile: TLSProfile, name: str) -> None:
    """By whatever way it was set: here the proof would find nothing to say."""
    groups, _ = usable_groups(profile)
    server = ServerTLS({name: [files.wildcard]}, profile=profile, listeners=[]).create_context()
    asked = None if name == "default" else "any.example.org"
    assert proof.of_server(server, profile, groups, asked) == []
    assert proof.of_client(create_client_context(profile=profile, cafile=files.ca), profile, groups) == []


def plain_server(files: Files, groups: Sequence[str] = (), suites: Sequence[str] = ()) -> ssl.SSLContext:
    """A server of `ssl` alone, with these groups (none: OpenSSL's own) in a list whose order does not count."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, files.ecdsa.paths))
    if groups:
        lib = _openssl.library.reach()
        assert lib.SSL_CTX_ctrl(lib.context(context), 92, 0, ":".join(groups).encode()) == 1
    if suites:
        _openssl.set_ciphersuites(context, suites)
    return context


def test_what_openssl_has_by_itself_is_found(files: Files) -> None:
    groups, _ = usable_groups(INTERMEDIATE)
    (extra, *rest) = proof.of_server(plain_server(files), INTERMEDIATE, groups, None)
    assert not extra.weak
    assert extra.what.startswith("it also allows the groups ")
    assert {"X448", "P-521"} <= {*extra.what.removeprefix("it also allows the groups ").split(", ")}
    assert rest == [Deviation("the client's order of groups decides")]


@pytest.mark.parametrize(
    ("profile", "groups", "suites", "found"),
    [
        (MODERN.with_groups("X25519", "P-256"), ["X25519", "P-256"], (), ["the client's order of groups decides"]),
        (MODERN.with_groups("X25519"), ["X25519"], (), []),
        (MODERN.with_groups("P-384"), ["X25519"], (),
         ["it also allows the groups X25519", "it does not allow the groups P-384"]),
        (MODERN.with_groups("P-384", "X25519"), ["X25519"], (), ["it does not allow the groups P-384"]),
        (MODERN.with_groups("X25519").with_ciphersuites("TLS_AES_256_GCM_SHA384"), ["X25519"],
         ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"],
         ["it also allows the TLS 1.3 suites TLS_AES_128_GCM_SHA256"]),
        (MODERN.with_groups("X25519").with_ciphersuites("TLS_AES_256_GCM_SHA384"), ["X25519"],
         ["TLS_AES_128_GCM_SHA256"],
         ["it also allows the TLS 1.3 suites TLS_AES_128_GCM_SHA256",
          "it does not allow the TLS 1.3 suites TLS_AES_256_GCM_SHA384"]),
    ],
)  # fmt: skip
def test_each_difference_is_found(
    files: Files, profile: TLSProfile, groups: list[str], suites: list[str], found: list[str]
) -> None:
    server = plain_server(files, groups, suites)
    assert [each.what for each in proof.of_server(server, profile, profile.groups, None)] == found
    client = ssl.create_default_context()
    _openssl.set_groups(client, groups)
    if suites:
        _openssl.set_ciphersuites(client, suites)
    expected = [what for what in found if "order" not in what]
    assert [each.what for each in proof.of_client(client, profile, profile.groups)] == expected


def test_a_group_beside_the_curve_of_the_certificate_is_found(files: Files) -> None:
    """TLS 1.2 wants that curve in each list of the client's (RFC 8422 section 5.1), so X25519 alone is refused."""
    profile = TLSProfile(name="old", maximum_version="TLSv1.2", groups=("P-256", "X25519"))
    server = plain_server(files, profile.groups)
    server.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # as ours have it
    assert proof.of_server(server, profile, profile.groups, None) == []
    (found,) = proof.of_server(server, profile, ["P-256"], None)
    assert found == Deviation("it also allows the groups X25519")


def test_a_clients_other_order_of_groups_is_found() -> None:
    client = ssl.create_default_context()
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    _openssl.set_groups(client, ["P-256", "X25519", "secp192r1"])
    assert proof.of_client(client, MODERN, ["X25519", "P-256"]) == [
        Deviation("it also allows the groups secp192r1", weak=True),
        Deviation("the groups are offered in another order"),
    ]


def test_a_group_that_is_not_in_the_registry_is_named_by_its_number() -> None:
    found = [*proof._of_groups(["X25519"], [0x001D, 0xFE07])]
    assert found == [Deviation("it also allows the groups 0xfe07")]


def test_a_suite_with_a_short_tag_is_weak(files: Files) -> None:
    suites = [*MODERN.ciphersuites, "TLS_AES_128_CCM_8_SHA256"]
    server = plain_server(files, ["X25519"])
    _openssl.set_ciphersuites(server, suites)
    server.set_ciphers("DEFAULT:@SECLEVEL=0")
    (found,) = proof.of_server(server, MODERN.with_groups("X25519"), ["X25519"], None)
    assert found == Deviation("it also allows the TLS 1.3 suites TLS_AES_128_CCM_8_SHA256", weak=True)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.lists(st.sampled_from(SUPPORTED), min_size=1, unique=True),
    allowed=st.lists(st.sampled_from(SUPPORTED), min_size=1, unique=True),
)
def test_groups_are_told_apart(files: Files, wanted: list[str], allowed: list[str]) -> None:
    server = plain_server(files, allowed)
    profile = MODERN.with_groups(*wanted)
    found = [each.what for each in proof.of_server(server, profile, wanted, None)]
    extra = [name for name in SUPPORTED if name in allowed and name not in wanted]
    absent = [name for name in wanted if name not in allowed]
    texts = []
    if extra:
        texts.append({"it also allows the groups", *extra})
    if absent:
        texts.append({"it does not allow the groups", *absent})
    got = [what for what in found if "order" not in what]
    assert [{*words(what)} for what in got] == texts
    shared = [name for name in wanted if name in allowed]
    # A single list is one tuple: whoever sends a key share for a later group is served by it.
    assert ("the client's order of groups decides" in found) == (len(shared) > 1)


def words(what: str) -> list[str]:
    head, _, names = what.partition("groups ")
    return [f"{head}groups", *names.split(", ")]


@pytest.mark.parametrize(
    ("profile", "found", "allow", "outcome"),
    [
        (INTERMEDIATE, [], False, "nothing"),
        (INTERMEDIATE, [Deviation("it also allows the groups P-521")], False, "a note"),
        (MODERN, [Deviation("the client's order of groups decides")], False, "a note"),
        (MODERN, [Deviation("it also allows the groups P-521"), Deviation("weak", weak=True)], False, "an error"),
        (MODERN, [Deviation("weak", weak=True)], True, "a note"),
        (MODERN.with_groups("X25519"), [Deviation("it also allows the groups P-521")], False, "an error"),
        (MODERN.with_ciphersuites("TLS_AES_256_GCM_SHA384"), [Deviation("the client's order …")], False, "an error"),
        (INTERMEDIATE.with_groups("X25519"), [Deviation("it also allows the groups P-521")], True, "a note"),
        (INTERMEDIATE.with_groups("X25519"), [], False, "nothing"),
        # TLS 1.2 suites are set by Python itself.
        (INTERMEDIATE.with_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256"), [Deviation("the order")], False, "a note"),
    ],
)
def test_openssls_own_choice_is_served_only_where_nobody_chose_otherwise(
    profile: TLSProfile, found: list[Deviation], allow: bool, outcome: str
) -> None:
    if outcome == "an error":
        with pytest.raises(UnsupportedError, match=f"profile {profile.name} to OpenSSL: {found[0].what}.*OPENSSL_CONF"):
            settle(found, profile, allow_unsupported=allow)
        return
    notes = settle(found, profile, allow_unsupported=allow)
    assert len(notes) == (outcome == "a note")
    assert all(each.what in notes[0] for each in found)


OUT_OF_REACH = """
import json, logging, sys
from asgi_tls import INTERMEDIATE, MODERN, PEMFiles, ServerTLS, _openssl, create_client_context
from asgi_tls.errors import UnsupportedError

assert not _openssl.reachable()
logging.disable()
source = PEMFiles(*sys.argv[1:3])
one, two = MODERN.with_groups("X25519"), INTERMEDIATE.with_groups("X25519", "P-384")
outcomes = {}
for name, profile in {"intermediate": INTERMEDIATE, "one group": one, "two groups": two}.items():
    for end, make in {
        "server": lambda: [*ServerTLS(source, profile=profile).create_server_context().notes],
        "client": lambda: create_client_context(profile=profile) and [],
    }.items():
        try:
            outcomes[name + ", " + end] = sum("cannot apply" in note for note in make())
        except UnsupportedError as error:
            outcomes[name + ", " + end] = error.problem
print(json.dumps(outcomes))
"""


def under(files: Files, directory: Path, configuration: str | None) -> dict[str, int | str]:
    """What a Python that cannot set groups and suites makes of three profiles, with this OPENSSL_CONF."""
    if "native" in {_openssl.capabilities().groups, _openssl.capabilities().ciphersuites}:
        pytest.skip("this Python sets both by itself")
    environment = os.environ | out_of_reach.environment(directory)
    environment.pop("OPENSSL_CONF", None)
    if configuration is not None:
        environment["OPENSSL_CONF"] = configuration
    command = [sys.executable, "-c", OUT_OF_REACH, *map(str, files.ecdsa.paths)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, int | str] = json.loads(done.stdout)
    return outcomes


def test_where_libssl_is_out_of_reach_and_nothing_configures_it(files: Files, tmp_path: Path) -> None:
    for configuration in (None, str(tmp_path / "missing.cnf")):
        found = under(files, tmp_path, configuration)
        assert found["intermediate, server"] == 1
        assert found["intermediate, client"] == 0  # it is logged
        for name in ("one group", "two groups"):
            assert "it also allows the groups" in str(found[f"{name}, server"])
            assert "it also allows the groups" in str(found[f"{name}, client"])


@pytest.mark.parametrize(
    ("chosen", "works"),
    [
        (MODERN.with_groups("X25519"), {"one group"}),
        (INTERMEDIATE.with_groups("X25519", "P-384"), {"two groups"}),
        (INTERMEDIATE, {"intermediate"}),
    ],
    ids=["one group", "two groups", "intermediate"],
)
def test_what_openssl_conf_brings_is_accepted(
    files: Files, tmp_path: Path, chosen: TLSProfile, works: set[str]
) -> None:
    path = tmp_path / "openssl.cnf"
    path.write_text(for_this_python(chosen).text, encoding="utf-8")
    found = under(files, tmp_path, str(path))
    for name in ("one group", "two groups"):
        assert (found[f"{name}, client"] == 0) == (name in works)
        # Before OpenSSL 3.5 no configuration keeps the order of several groups.
        assert (found[f"{name}, server"] == 0) == (name in works and (name == "one group" or KEEPS_ORDER)), found
    assert found["intermediate, server"] == (0 if "intermediate" in works and KEEPS_ORDER else 1)


def test_a_list_with_an_unknown_group_is_not_in_force(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "openssl.cnf"
    text = for_this_python(MODERN.with_groups("X25519")).text.replace("Groups = X25519", "Groups = X25519:X25518")
    path.write_text(text, encoding="utf-8")
    found = under(files, tmp_path, str(path))
    assert "it also allows the groups" in str(found["one group, server"])
    assert "it also allows the groups" in str(found["one group, client"])
