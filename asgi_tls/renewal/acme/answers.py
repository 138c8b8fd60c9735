"""What an ACME CA answers (RFC 8555 section 7.1, RFC 9773), read strictly: no answer may do harm. Pure.

Each `parse` raises ACMEError of the kind invalid-answer. Fields that we do not use are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, get_args

from asgi_tls.hostnames import parse_ip
from asgi_tls.renewal.acme.ca import ChallengeType
from asgi_tls.renewal.acme.problems import failure

CHALLENGES: Final = get_args(ChallengeType)
"""The types that can be answered. A CA may offer others (dns-account-01, dns-persist-01), which are left out."""

# RFC 8555 section 8.1: base64url, with 128 bits of entropy or more. It becomes a part of a path and of a DNS record.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,512}")
_URL: Final = re.compile(r"https://[!-~]{1,2000}")
_NAME: Final = re.compile(r"[!-~]{1,253}")
_MOST_AUTHORIZATIONS: Final = 1000
_MOST_CHALLENGES: Final = 100
_MOST_PROFILES: Final = 100


@dataclass(frozen=True)
class Directory:
    """Where each kind of request goes (RFC 8555 section 7.1.1). `profiles` has the names of what the CA issues."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke: str | None
    renewal_info: str | None
    profiles: tuple[str, ...]
    wants_external_account: bool

    @classmethod
    def parse(cls, who: str, document: object) -> Directory:
        found = _object(who, "directory", document)
        meta = found.get("meta")
        known = meta if isinstance(meta, dict) else {}
        profiles = known.get("profiles")
        names = list(profiles)[:_MOST_PROFILES] if isinstance(profiles, dict) else []
        return cls(
            new_nonce=_url(who, "newNonce", found.get("newNonce")),
            new_account=_url(who, "newAccount", found.get("newAccount")),
            new_order=_url(who, "newOrder", found.get("newOrder")),
            revoke=_optional(found.get("revokeCert")),
            renewal_info=_optional(found.get("renewalInfo")),
            profiles=tuple(name for name in names if _NAME.fullmatch(name)),
            wants_external_account=known.get("externalAccountRequired") is True,
        )


@dataclass(frozen=True)
class Order:
    """An order (section 7.1.3). `status` is pending, ready, processing, valid, invalid, or what a CA invents.

    `error` is a problem document, or anything.
    """

    status: str
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str | None
    error: object

    @classmethod
    def parse(cls, who: str, document: object) -> Order:
        found = _object(who, "order", document)
        urls = found.get("authorizations")
        if not isinstance(urls, list) or len(urls) > _MOST_AUTHORIZATIONS:
            raise failure("invalid-answer", f"{who} answers with an order without a list of authorizations")
        return cls(
            status=_status(who, "order", found),
            authorizations=tuple(_url(who, "authorization", url) for url in urls),
            finalize=_url(who, "finalize", found.get("finalize")),
            certificate=_optional(found.get("certificate")),
            error=found.get("error"),
        )


@dataclass(frozen=True)
class Challenge:
    """A challenge of one of our types (section 7.1.5). `error` is a problem document, None without one."""

    type: str
    url: str
    token: str
    status: str
    error: object


@dataclass(frozen=True)
class Authorization:
    """What the CA wants to know of one name (section 7.1.4). `name` is canonical, with `*.` for a wildcard."""

    name: str
    status: str
    challenges: tuple[Challenge, ...]

    @classmethod
    def parse(cls, who: str, document: object) -> Authorization:
        found = _object(who, "authorization", document)
        identifier = found.get("identifier")
        name = identifier.get("value") if isinstance(identifier, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise failure("invalid-answer", f"{who} answers with an authorization for no name")
        listed = found.get("challenges")
        each = listed[:_MOST_CHALLENGES] if isinstance(listed, list) else []
        name = parse_ip(name) or name.lower()
        return cls(
            name=f"*.{name}" if found.get("wildcard") is True else name,
            status=_status(who, "authorization", found),
            challenges=tuple(challenge for one in each if (challenge := _challenge(one)) is not None),
        )


@dataclass(frozen=True)
class RenewalInfo:
    """When the CA wants a certificate to be replaced (RFC 9773 section 4.2): a window, with time zones.

    `retry_after` is in seconds from now, None where the CA did not say. `explanation` is a URL for people.
    """

    start: datetime
    end: datetime
    retry_after: float | None = None
    explanation: str | None = None

    @classmethod
    def parse(cls, who: str, document: object, retry_after: float | None = None) -> RenewalInfo:
        found = _object(who, "renewal information", document)
        window = found.get("suggestedWindow")
        start, end = (
            (_moment(window.get(name)) for name in ("start", "end")) if isinstance(window, dict) else 2 * (None,)
        )
        # RFC 9773 section 4.2: a window whose end is not after its start is to be treated as none.
        if start is None or end is None or end <= start:
            raise failure("invalid-answer", f"{who} answers with renewal information without a window")
        return cls(start, end, retry_after, _optional(found.get("explanationURL")))


def _challenge(document: object) -> Challenge | None:
    """None for what cannot be answered."""
    if not isinstance(document, dict) or document.get("type") not in CHALLENGES:
        return None
    url, token, status = _optional(document.get("url")), document.get("token"), document.get("status")
    if url is None or not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return None
    shown = status if isinstance(status, str) else "pending"
    return Challenge(document["type"], url, token, shown, document.get("error"))


def _object(who: str, what: str, document: object) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise failure("invalid-answer", f"{who} does not answer with a valid {what}")
    return document


def _status(who: str, what: str, found: Mapping[str, Any]) -> str:
    status = found.get("status")
    if not isinstance(status, str) or not _NAME.fullmatch(status):
        raise failure("invalid-answer", f"{who} answers with an {what} without a status")
    return status


def _url(who: str, what: str, value: object) -> str:
    url = _optional(value)
    if url is None:
        raise failure("invalid-answer", f"{who} answers without an https URL for {what}")
    return url


def _optional(value: object) -> str | None:
    return value if isinstance(value, str) and _URL.fullmatch(value) else None


def _moment(value: object) -> datetime | None:
    """RFC 3339, which has a time zone always."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
