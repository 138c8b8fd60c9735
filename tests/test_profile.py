"""What a profile accepts, what it refuses and why."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_tls import INTERMEDIATE, MODERN, TLSProfile
from asgi_tls.errors import ProfileError, UnknownNameError, VersionError, WeakCipherError, WrongListError
from asgi_tls.profile import (
    GROUPS,
    PROFILES,
    TLS12_CIPHERS,
    TLS13_CIPHERSUITES,
    cipher_number,
    cipher_string,
    group_name,
    groups_in_use,
)


def test_the_profiles_are_mozillas_guidelines_6_0() -> None:
    suites = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
    groups = ("X25519MLKEM768", "X25519", "P-256", "P-384")
    assert (MODERN.minimum_version, MODERN.ciphersuites, MODERN.groups) == ("TLSv1.3", suites, groups)
    assert (INTERMEDIATE.minimum_version, INTERMEDIATE.ciphersuites) == ("TLSv1.2", suites)
    assert INTERMEDIATE.groups == groups
    assert INTERMEDIATE.ciphers == (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
    assert {profile.hsts_max_age for profile in PROFILES.values()} == {63072000}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"minimum_version": "TLSv1.1"}, VersionError, "RFC 8996 forbids it"),
        ({"minimum_version": "TLSv1"}, VersionError, "RFC 8996 forbids it"),
        ({"minimum_version": "TLSv1.0"}, VersionError, "RFC 8996 forbids it"),
        ({"minimum_version": "SSLv3"}, VersionError, "RFC 8996 forbids it"),
        ({"minimum_version": "SSLv2"}, VersionError, "RFC 8996 forbids it"),
        ({"maximum_version": "TLSv1.4"}, VersionError, "unknown version 'TLSv1.4'"),
        ({"minimum_version": "1.3"}, VersionError, "Choose from TLSv1.2, TLSv1.3"),
        ({"minimum_version": "TLSv1.3", "maximum_version": "TLSv1.2"}, VersionError, "above the maximum"),
        ({"ciphersuites": ("TLS_AES_512_GCM_SHA1",)}, UnknownNameError, "Choose from TLS_AES_128_GCM_SHA256"),
        ({"ciphersuites": ("ECDHE-RSA-AES128-GCM-SHA256",)}, WrongListError, "Put it into ciphers; ciphersuites has"),
        ({"ciphersuites": ("TLS_AES_128_CCM_8_SHA256",)}, WeakCipherError, "too weak"),
        ({"ciphersuites": ()}, ProfileError, "TLS 1.3 without a cipher suite"),
        ({"ciphersuites": "TLS_AES_128_GCM_SHA256"}, ProfileError, "^ciphersuites is .* Give a tuple of names"),
        ({"ciphers": ("TLS_AES_128_GCM_SHA256",)}, WrongListError, "Put it into ciphersuites; ciphers has"),
        ({"ciphers": ("ECDHE-RSA-AES128-SHA256",)}, WeakCipherError, "CBC"),
        ({"ciphers": ("ECDHE-ECDSA-AES256-SHA",)}, WeakCipherError, "CBC"),
        ({"ciphers": ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",)}, WeakCipherError, "CBC"),
        ({"ciphers": ("AES128-GCM-SHA256",)}, WeakCipherError, "ephemeral"),
        ({"ciphers": ("TLS_RSA_WITH_AES_256_GCM_SHA384",)}, WeakCipherError, "ephemeral"),
        ({"ciphers": ("DHE-RSA-AES128-GCM-SHA256",)}, WeakCipherError, "ephemeral"),
        ({"ciphers": ("TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256",)}, WeakCipherError, "ephemeral"),
        ({"ciphers": ("ECDHE-RSA-RC4-SHA",)}, WeakCipherError, "broken"),
        ({"ciphers": ("ECDHE-RSA-DES-CBC3-SHA",)}, WeakCipherError, "broken"),
        ({"ciphers": ("ECDHE-ECDSA-AES128-CCM8",)}, WeakCipherError, "shortened"),
        ({"ciphers": ("HIGH:!aNULL",)}, UnknownNameError, "ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-RSA"),
        ({"ciphers": ("ECDHE-RSA-AES128-CCM",) * 2}, UnknownNameError, "unknown TLS 1.2"),
        ({"ciphers": ("ECDHE-ECDSA-AES128-CCM",) * 2}, ProfileError, "^ciphers names ECDHE-ECDSA-AES128-CCM twice"),
        ({"ciphers": ()}, ProfileError, 'minimum_version="TLSv1.3"'),
        ({"groups": ("secp256k1",)}, UnknownNameError, "Choose from X25519MLKEM768"),
        ({"groups": ("DEFAULT",)}, UnknownNameError, "Choose from"),
        ({"groups": ()}, ProfileError, "no group"),
        ({"groups": ("P-256", "prime256v1")}, ProfileError, "^groups names P-256 twice"),
        ({"groups": ("X25519MLKEM768",)}, ProfileError, "has groups of TLS 1.3 only"),
        ({"hsts_max_age": -1}, ProfileError, "whole seconds"),
        ({"hsts_max_age": 1.5}, ProfileError, "whole seconds"),
        ({"hsts_max_age": True}, ProfileError, "whole seconds"),
    ],
)
def test_a_contradiction_has_an_error_of_its_own_that_names_the_fix(
    change: dict[str, object], error: type[ProfileError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        dataclasses.replace(INTERMEDIATE, **change)  # type: ignore[arg-type]
    assert type(caught.value) is error
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).endswith(caught.value.fix)


def test_suites_of_tls_1_2_need_it() -> None:
    with pytest.raises(ProfileError, match=r"^profile 'modern' has no TLS 1\.2, and ciphers would have no effect"):
        MODERN.with_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert MODERN.with_ciphers() == MODERN


def test_an_hsts_age_of_nothing_makes_browsers_forget() -> None:
    assert dataclasses.replace(MODERN, hsts_max_age=0).hsts_max_age == 0


def test_openssls_list_of_tls_1_2_suites_has_the_security_level_behind_them() -> None:
    profile = INTERMEDIATE.with_ciphers("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-CCM")
    assert cipher_string(profile) == "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-CCM:@SECLEVEL=2"
    assert cipher_string(MODERN) == "ECDHE+AESGCM:@SECLEVEL=2"


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("TLS_AES_256_GCM_SHA384", 0x1302),
        ("ECDHE-RSA-CHACHA20-POLY1305", 0xCCA8),
        ("AES128-SHA", None),
    ],
)
def test_suites_have_ianas_numbers(name: str, number: int | None) -> None:
    assert cipher_number(name) == number


def test_tls_1_2_leaves_out_the_groups_that_it_does_not_have() -> None:
    assert groups_in_use(INTERMEDIATE) == ("X25519MLKEM768", "X25519", "P-256", "P-384")
    assert groups_in_use(MODERN) == MODERN.groups
    old = dataclasses.replace(INTERMEDIATE, maximum_version="TLSv1.2")
    assert groups_in_use(old) == ("X25519", "P-256", "P-384")


def test_names_in_either_spelling_become_one() -> None:
    profile = INTERMEDIATE.with_groups("secp384r1", "prime256v1", "x25519")
    assert profile.groups == ("P-384", "P-256", "X25519")
    profile = profile.with_ciphers("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ecdhe-ecdsa-chacha20-poly1305")
    assert profile.ciphers == ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert profile.with_ciphersuites("tls_aes_256_gcm_sha384").ciphersuites == ("TLS_AES_256_GCM_SHA384",)


def test_deriving_leaves_the_original_alone_and_a_profile_survives_pickling() -> None:
    derived = MODERN.with_ciphersuites("TLS_AES_256_GCM_SHA384").with_groups("P-384")
    assert MODERN.groups[0] == "X25519MLKEM768"
    assert pickle.loads(pickle.dumps(derived)) == derived
    with pytest.raises(dataclasses.FrozenInstanceError):
        derived.name = "other"  # type: ignore[misc]


def test_a_profile_takes_no_positional_arguments() -> None:
    with pytest.raises(TypeError):
        TLSProfile("mine")  # type: ignore[call-arg]


@given(st.text())
def test_any_text_is_a_known_name_or_a_profile_error(text: str) -> None:
    for derive in (INTERMEDIATE.with_groups, INTERMEDIATE.with_ciphers, INTERMEDIATE.with_ciphersuites):
        with pytest.raises(ProfileError, match=r"Choose from"):
            derive(text + "?")
    if text.lower() not in {name.lower() for name in GROUPS}:
        assert text not in GROUPS


@given(st.permutations(list(GROUPS)))
def test_the_order_of_groups_is_kept(groups: list[str]) -> None:
    assert INTERMEDIATE.with_groups(*groups).groups == tuple(groups)


def test_each_known_name_is_accepted() -> None:
    assert INTERMEDIATE.with_ciphers(*TLS12_CIPHERS).ciphers == tuple(TLS12_CIPHERS)
    assert INTERMEDIATE.with_ciphersuites(*TLS13_CIPHERSUITES).ciphersuites == tuple(TLS13_CIPHERSUITES)
    assert [group_name(name.upper()) for name in GROUPS] == list(GROUPS)
