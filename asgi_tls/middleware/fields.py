"""Response fields from the settings: the defaults, the check of each value, and the bytes that go out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError, check_type
from asgi_tls.middleware.csp import PLACEHOLDER, check_policy
from asgi_tls.middleware.hsts import HSTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from secure import Secure
    from secure.headers import BaseHeader

# Names in lower case, as ASGI sends them. A name has several values only where several policies may stand.
Fields = dict[str, tuple[str, ...]]

HSTS_NAME = "strict-transport-security"
CORP_NAME = "cross-origin-resource-policy"
CSP_NAMES = ("content-security-policy", "content-security-policy-report-only")


def defaults() -> dict[str, str]:
    """What every response gets besides HSTS and a Content-Security-Policy: values by names in lower case."""
    from secure import headers

    fields: tuple[BaseHeader, ...] = (
        headers.XContentTypeOptions().nosniff(),
        headers.XFrameOptions().deny(),
        headers.ReferrerPolicy().strict_origin_when_cross_origin(),
        headers.PermissionsPolicy().browsing_topics().camera().geolocation().microphone(),
        headers.CrossOriginOpenerPolicy().same_origin(),
        headers.CrossOriginResourcePolicy().same_origin(),
    )
    return {field.header_name.lower(): field.header_value for field in fields}


# All values of the fields that hold one word; browsers ignore any other.
_WORDS: Mapping[str, frozenset[str]] = {
    "x-content-type-options": frozenset({"nosniff"}),
    "x-frame-options": frozenset({"deny", "sameorigin"}),
    "referrer-policy": frozenset(
        {
            "no-referrer",
            "no-referrer-when-downgrade",
            "origin",
            "origin-when-cross-origin",
            "same-origin",
            "strict-origin",
            "strict-origin-when-cross-origin",
            "unsafe-url",
        }
    ),
    "cross-origin-opener-policy": frozenset(
        {"unsafe-none", "same-origin", "same-origin-allow-popups", "noopener-allow-popups"}
    ),
    "cross-origin-embedder-policy": frozenset({"unsafe-none", "require-corp", "credentialless"}),
    "cross-origin-resource-policy": frozenset({"same-origin", "same-site", "cross-origin"}),
}

# They frame the message, or say what only the application can know.
_NOT_OURS = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "keep-alive",
        "location",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 section 5.5, without the obsolete bytes above 0x7f.
_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")


def overlaid(fields: Fields, settings: Mapping[str, str | None]) -> Fields:
    """The fields with some of them replaced, or removed by None."""
    result = dict(fields)
    seen: set[str] = set()
    for name, value in settings.items():
        key = name.lower()
        if key in seen:
            raise ConfigurationError(f"The header {name} is set twice", fix="Set it once: case is ignored.")
        seen.add(key)
        result.pop(key, None)
        if value is not None:
            result[key] = (value,)
    return result


def from_secure(secure: Secure) -> Fields:
    """The headers of a `secure.Secure`, empty ones (its presets have `Server: ""`) left out."""
    import secure as library

    fix = "Write secure=Secure.with_default_headers() (from secure import Secure)."
    check_type("secure", secure, library.Secure, fix)
    result: Fields = {}
    for name, value in secure.header_items():
        key = name.lower()
        if not value:
            continue
        if key in result and key not in CSP_NAMES:
            raise ConfigurationError(f"The Secure has {name} twice", fix="Call its deduplicate_headers() first.")
        result[key] = (*result.get(key, ()), value)
    return result


def encoded(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Check everything, and make the bytes that a response gets.

    Raises ConfigurationError for names and values that are not HTTP, and for those that browsers would not understand.
    """
    pairs = [(name, value) for name, values in fields.items() for value in values]
    for name, value in pairs:
        _check(name, value)
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in pairs)


def hsts_of(fields: Fields) -> HSTS | None:
    """The HSTS setting among the fields, checked."""
    values = fields.get(HSTS_NAME)
    return None if values is None else HSTS.parse(values[0])


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name) or name in _NOT_OURS:
        raise ConfigurationError(
            f"{name!r} cannot be a security header", fix="Use a header name that leaves the message as it is."
        )
    if type(value) is not str or not _VALUE.fullmatch(value):
        raise ConfigurationError(
            f"The value of {name} is {value!r}",
            fix="Use visible ASCII, with spaces only between words; None removes a header.",
        )
    if name == HSTS_NAME:
        HSTS.parse(value)
    elif name in CSP_NAMES:
        check_policy(value)
    elif name in _WORDS:
        _check_words(name, value)
    elif name == "permissions-policy":
        _check_unique_features(value)
    if name not in CSP_NAMES and PLACEHOLDER in value:
        raise ConfigurationError(f"{name} has {PLACEHOLDER}", fix="Only a Content-Security-Policy takes a nonce.")


def _check_words(name: str, value: str) -> None:
    words = value.split(";")[0].lower()
    # Referrer-Policy may hold a list, of which browsers take the last that they know.
    given: Iterable[str] = words.split(",") if name == "referrer-policy" else [words]
    unknown = {word.strip() for word in given} - _WORDS[name]
    if unknown:
        raise ConfigurationError(
            f"{name} has the value {value!r}", fix=f"Browsers know {', '.join(sorted(_WORDS[name]))}."
        )


def _check_unique_features(value: str) -> None:
    # Allowlists hold spaces and quotes, never a comma.
    features = [item.partition("=")[0].strip() for item in value.split(",")]
    if len(set(features)) != len(features) or not all(features):
        raise ConfigurationError(
            f"permissions-policy has an empty or repeated feature: {value!r}", fix="Name each feature once."
        )
