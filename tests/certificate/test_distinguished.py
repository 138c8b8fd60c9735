"""Names and serial numbers as `ssl` gives them, written as RFC 4514 says."""

from __future__ import annotations

import pytest

from asgi_tls.certificate.distinguished import rfc4514, serial_number


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ((), ""),
        (((("countryName", "DE"),), (("commonName", "a"), ("userId", "b"))), "CN=a+UID=b,C=DE"),
        (((("emailAddress", "a@b.example"),),), "1.2.840.113549.1.9.1=a@b.example"),
        (((("1.3.6.1.4.1.311.95", "x"),),), "1.3.6.1.4.1.311.95=x"),
    ],
)
def test_parts(name: tuple[tuple[tuple[str, str], ...], ...], text: str) -> None:
    assert rfc4514(name) == text


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("plain #x y", "plain #x y"),
        ("#x", r"\#x"),
        (" x", r"\ x"),
        ("x ", r"x\ "),
        (" ", "\\ "),
        ("  ", "\\ \\ "),
        ("", ""),
        ('\\"+,;<>', r"\\\"\+\,\;\<\>"),
        ("a\0b", r"a\00b"),
    ],
)
def test_escapes(value: str, escaped: str) -> None:
    assert rfc4514(((("commonName", value),),)) == f"CN={escaped}"


def test_serial_numbers() -> None:
    assert serial_number("0ABC") == "abc"
    assert serial_number("0A" * 20 + "\\\n" + "FF") == "a" + "0a" * 19 + "ff"
    with pytest.raises(ValueError, match="invalid literal"):
        serial_number("")
