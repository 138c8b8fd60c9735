"""The settings of ServerTLS: each is checked once, and an error names it as the reader typed it."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.errors import ConfigurationError
from asgi_tls.server import CHOICES
from asgi_tls.servers.given import read
from asgi_tls.servers.settings import SETTINGS

WORDS = read({}, environ={}).words

# Settings, what Python says of them, and what the command line does.
WRONG: dict[str, tuple[dict[str, object], str, str]] = {
    "profile": ({"profile": "modern"}, "profile is 'modern'", "--tls-profile is 'modern'"),
    "client_auth": (
        {"client_auth": "maybe", "client_ca": "ca.pem"},
        'client_auth is \'maybe\'. Choose "required" or "optional".',
        "--tls-client-auth is 'maybe'. Choose",
    ),
    "auth without CA": (
        {"client_auth": "optional"},
        "client_auth is set without client_ca. Set client_ca to",
        "--tls-client-auth is set without --tls-client-ca. Set --tls-client-ca to",
    ),
    "CRL without CA": (
        {"client_crl": "crl.pem"},
        "client_crl is set without client_ca. Set client_ca to",
        "--tls-client-crl is set without --tls-client-ca. Set --tls-client-ca to",
    ),
    "plain_http": (
        {"plain_http": "{client_ca}"},
        'plain_http is \'{client_ca}\'. Choose "redirect" or "reject".',
        "--tls-plain-http is '{client_ca}'. Choose",
    ),
    "plain_http None": ({"plain_http": None}, "plain_http is None", "--tls-plain-http is None"),
    "stapling": ({"stapling": "on"}, "stapling is 'on'", "--tls-stapling is 'on'"),
    **{
        f"{name} {value}": ({name: value}, f"{name} is {value!r}. Set it to seconds", f"{WORDS[name]} is {value!r}")
        for name in ("reload_interval", "handshake_timeout", "ticket_rotation")
        for value in (0, -1, math.inf, math.nan)
    },
    "allow_unsupported": (
        {"allow_unsupported": "false"},
        "allow_unsupported is 'false'. Set it to True or False",
        "--tls-allow-unsupported is 'false'",
    ),
    "reload_interval text": ({"reload_interval": "5"}, "reload_interval is '5'", "--tls-reload-interval is '5'"),
    **{
        f"ticket_rotation {value!r}": (
            {"ticket_rotation": value},
            f"ticket_rotation is {value!r}. Set it to seconds",
            f"{WORDS['ticket_rotation']} is {value!r}",
        )
        for value in ("43200", None)
    },
    "ticket_secret": (
        {"ticket_secret": "x" * 40},
        "ticket_secret is of type str. Set it to bytes",
        "ASGI_TLS_TICKET_SECRET is of type str",
    ),
}


@pytest.mark.parametrize(("settings", "in_python", "on_the_command_line"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_setting_as_it_was_typed(
    settings: dict[str, object], in_python: str, on_the_command_line: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServerTLS(PEMFiles("a"), **settings)  # type: ignore[arg-type]
    error = caught.value
    assert str(error).startswith(in_python)
    error.spell(WORDS.__getitem__)
    for same in (error, pickle.loads(pickle.dumps(error))):
        assert str(same).startswith(on_the_command_line)
    error.spell(str)
    assert str(error).startswith(in_python)


@pytest.mark.parametrize("name", ["client_ca", "client_crl"])
@pytest.mark.parametrize("value", [3, b"ca.pem", ""])
def test_what_names_no_file(name: str, value: object) -> None:
    settings: dict[str, Any] = {"client_ca": "ca.pem", name: value}
    with pytest.raises(ConfigurationError, match=rf"^{name}={value!r} is not a path\. Give a path as str or Path\."):
        ServerTLS(PEMFiles("a"), **settings)


def test_names_in_unicode_are_those_that_clients_send() -> None:
    """IDNA 2008, as in browsers; IDNA 2003 would have made `strasse`."""
    pair = PEMFiles("a")
    names = {"Stra\u00dfe.example": pair, "*.B\u00fccher.example": pair, "default": pair}
    assert [*ServerTLS(names).sources] == ["xn--strae-oqa.example", "*.xn--bcher-kva.example", "default"]


def test_the_choices_stand_in_one_table() -> None:
    listed = {setting.name: setting.kind.choices for setting in SETTINGS if setting.kind.choices}
    for name in ("profile", "quiet", "acme_challenge", "acme_key"):  # no field of ServerTLS
        del listed[name]
    assert listed == CHOICES
    for name, choices in CHOICES.items():
        for choice in choices:
            assert getattr(ServerTLS(PEMFiles("a"), client_ca="ca.pem", **{name: choice}), name) == choice  # type: ignore[arg-type]
