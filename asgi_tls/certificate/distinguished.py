"""Names and numbers in a certificate as `ssl` gives them (`getpeercert`), in the form in which we show them."""

from __future__ import annotations

from _ssl import txt2obj
from collections.abc import Sequence
from typing import Final

# RFC 4514 section 3. Other types are written as dotted numbers (section 2.3).
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
# RFC 4514 section 2.4.
_ESCAPES: Final = str.maketrans({each: f"\\{each}" for each in '\\"+,;<>'} | {"\0": "\\00"})

RDN = Sequence[tuple[str, str]]


def rfc4514(name: Sequence[RDN]) -> str:
    """A distinguished name as text: the last part first (RFC 4514 section 2.1)."""
    return ",".join("+".join(f"{_type(kind)}={_escape(value)}" for kind, value in rdn) for rdn in reversed(name))


def serial_number(number: str) -> str:
    """A serial number in lower-case hexadecimal. Raises ValueError."""
    joined = number.replace("\\\n", "")  # OpenSSL breaks long numbers into lines
    return f"{int(joined, 16):x}"


def _type(long_name: str) -> str:
    if long_name[:1].isdigit():  # a type that OpenSSL does not know, and `txt2obj` refuses
        return long_name
    return _SHORT_NAMES.get(long_name) or txt2obj(long_name, name=True)[3]


def _escape(value: str) -> str:
    escaped = value.translate(_ESCAPES)
    if value[:1] in {"#", " "}:
        escaped = f"\\{escaped}"
    return f"{escaped[:-1]}\\ " if len(value) > 1 and value.endswith(" ") else escaped
