"""The argument of `ServerTLS(certificates)` in one shape."""

from __future__ import annotations

import pytest

from asgi_tls.certificate import PEMData
from asgi_tls.certificate.by_name import sources_by_name
from asgi_tls.errors import ConfigurationError

ONE, OTHER = PEMData("one"), PEMData("other")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (ONE, {"default": (ONE,)}),
        ([ONE, OTHER], {"default": (ONE, OTHER)}),
        ({"default": ONE}, {"default": (ONE,)}),
        (
            {"Example.COM": [ONE, OTHER], "*.münchen.example": (OTHER,)},
            {"example.com": (ONE, OTHER), "*.xn--mnchen-3ya.example": (OTHER,)},
        ),
    ],
)
def test_sources_by_name(given: object, named: object) -> None:
    for directory in (None, "pairs"):
        assert sources_by_name(given, directory) == named


def test_a_directory_alone_is_enough() -> None:
    assert sources_by_name({}, "pairs") == {}
    with pytest.raises(ConfigurationError, match="certificates is an empty mapping"):
        sources_by_name({}, None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("fullchain.pem", "certificates for 'default' are 'fullchain.pem'"),
        ([], r"certificates for 'default' are \[\]"),
        ([ONE, "fullchain.pem"], "certificates for 'default' are "),
        (PEMData, "certificates for 'default' are <class 'asgi_tls.certificate.sources.PEMData'>"),
        ([ONE, PEMData], "certificates for 'default' are "),
        ({"Example.com": 7}, "certificates for 'example.com' are 7"),
        ({7: ONE}, "7.* is not a valid host name"),
        ({"exa mple.com": ONE}, "is not a valid host name"),
        ({"127.0.0.1": ONE}, "'127.0.0.1'.* is an IP address"),
        ({"Example.com": ONE, "example.COM": ONE}, "certificates maps 'example.com' twice"),
    ],
)
def test_what_has_another_shape(given: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        sources_by_name(given, None)
