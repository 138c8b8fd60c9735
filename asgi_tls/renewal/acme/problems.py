"""What a CA refuses, as an ACMEError: problem documents (RFC 7807, RFC 8555 section 6.7) and Retry-After. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

from asgi_tls.errors import ASGITLSError

Kind = Literal[
    "unreachable",
    "unavailable",
    "invalid-answer",
    "timeout",
    "rate-limited",
    "account-unknown",
    "account-refused",
    "rejected",
    "caa",
    "profile",
    "challenge-failed",
    "no-challenge",
    "dns-record",
    "already-replaced",
    "refused",
    "clock",
]
"""Why an ACME CA did not issue. `asgi-tls explain acme-KIND` has the details of each."""


@dataclass(frozen=True)
class Problem:
    """What a CA says of one name: the type without its URN prefix (RFC 8555 section 6.7), and its words.

    `name` is None where it is about none. All text is printable and of limited length.
    """

    type: str
    detail: str
    name: str | None = None


class ACMEError(ASGITLSError, code="acme"):
    """An ACME CA did not issue, or could not be asked.

    `retry_after` is in seconds from now, None where the CA did not say. `problems` has what it said of each name.
    """

    def __init__(
        self,
        problem: str,
        *,
        fix: str,
        kind: Kind,
        retry_after: float | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(problem, fix=fix)
        self.kind = kind
        self.retry_after = retry_after
        self.problems = tuple(problems)

    @property
    def entry(self) -> str:
        """The code of the entry that explains this kind."""
        return f"acme-{self.kind}"

    @property
    def more(self) -> str:
        """A sentence that names the command with details, for people."""
        return f"More: asgi-tls explain {self.entry}"


_PREFIX: Final = "urn:ietf:params:acme:error:"
_LONGEST_TEXT: Final = 600
_MOST_PROBLEMS: Final = 100  # names in a certificate, of all CAs that we know
_LONGEST_WAIT: Final = 30 * 86_400.0
"""A CA that asks for more than this means no time: a certificate would expire in between."""

FIXES: Final[Mapping[Kind, str]] = {
    "unreachable": "Let this host reach the CA by HTTPS: look at its firewall, proxy and DNS; name the CA file "
    "of an internal CA.",
    "unavailable": "Wait: the CA has a fault of its own, and its status page says more.",
    "invalid-answer": "Check the URL of the CA's directory, and whether a proxy answers in its place.",
    "timeout": "Wait: the CA did not finish in time, and the order is tried again.",
    "rate-limited": "Wait until the CA takes orders again, and use its staging directory for trials.",
    "account-unknown": "Nothing needs to be done: the account is registered again with the next order.",
    "account-refused": "Give what this CA asks of new accounts: external account binding (key ID and HMAC key), or an "
    "e-mail address as contact.",
    "rejected": "Remove the names that this CA refuses, or use another CA.",
    "caa": "Let the CAA records of the domain allow this CA, or use a CA that they allow.",
    "profile": "Name a profile that this CA has, or none.",
    "challenge-failed": "Let the CA reach this server under each of its names: DNS (A and AAAA), firewall, port 80 for "
    "http-01, port 443 for tls-alpn-01.",
    "no-challenge": "Allow another type of challenge; a wildcard needs dns-01.",
    "dns-record": "Let the command or the provider's credentials set TXT records of the domain.",
    "already-replaced": "Nothing needs to be done: the order is made without naming the certificate that it replaces.",
    "refused": "Read what the CA says; its documentation has the rules for orders.",
    "clock": "Set the clock of this host; timedatectl shows whether it is synchronized.",
}

_KINDS: Final[Mapping[str, Kind]] = {
    "accountDoesNotExist": "account-unknown",
    "alreadyReplaced": "already-replaced",
    "badNonce": "unavailable",
    "badPublicKey": "account-refused",
    "caa": "caa",
    "connection": "challenge-failed",
    "dns": "challenge-failed",
    "dnssec": "challenge-failed",
    "externalAccountRequired": "account-refused",
    "incorrectResponse": "challenge-failed",
    "invalidContact": "account-refused",
    "invalidEmail": "account-refused",
    "invalidProfile": "profile",
    "rateLimited": "rate-limited",
    "rejectedIdentifier": "rejected",
    "serverInternal": "unavailable",
    "tls": "challenge-failed",
    "unsupportedContact": "account-refused",
    "unsupportedIdentifier": "rejected",
    "userActionRequired": "account-refused",
}


def failure(
    kind: Kind, problem: str, *, retry_after: float | None = None, problems: tuple[Problem, ...] = ()
) -> ACMEError:
    """An error of this kind with its fix. `problem` may contain a CA's own words."""
    return ACMEError(_text(problem), fix=FIXES[kind], kind=kind, retry_after=retry_after, problems=problems)


def refusal(
    who: str,
    document: object,
    *,
    status: int = 0,
    retry_after: float | None = None,
    asked: str = "",
    otherwise: Kind = "refused",
) -> ACMEError:
    """The error for a problem document of `who`, whatever it holds. `asked` says of what: "refuses the order".

    It is of the kind `otherwise` where the document has no type of a kind of its own.
    """
    problems = tuple(_problems(document))
    first = problems[0] if problems else Problem("", f"HTTP status {status}" if status else "it gives no reason")
    kind = _kind(problems, status, otherwise)
    reported = "; ".join(dict.fromkeys(_sentence(each) for each in problems if each.detail)) or first.detail
    return failure(kind, f"{who} {asked or 'refuses'}: {reported}", retry_after=retry_after, problems=problems)


def retry_after(value: str | None, date: str | None, now: datetime) -> float | None:
    """Seconds until a Retry-After (RFC 9110 section 10.2.3), in seconds or as a date; None for what is neither.

    A date is compared with the CA's own `date`, where there is one: our clock may be off.
    """
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), _LONGEST_WAIT)
    moment, reference = http_date(value), http_date(date) or now
    if moment is None:
        return None
    return min(max((moment - reference).total_seconds(), 0.0), _LONGEST_WAIT)


def http_date(value: str | None) -> datetime | None:
    """An HTTP date with its zone, or None."""
    try:
        moment = parsedate_to_datetime(value or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _problems(document: object) -> Iterator[Problem]:
    """The problem itself, and below it those of single names. The first is that of the whole."""
    if not isinstance(document, Mapping):
        return
    yield _problem(document)
    below = document.get("subproblems")
    for each in below[:_MOST_PROBLEMS] if isinstance(below, list) else ():
        if isinstance(each, Mapping):
            yield _problem(each)


def _problem(document: Mapping[str, Any]) -> Problem:
    identifier = document.get("identifier")
    name = identifier.get("value") if isinstance(identifier, Mapping) else None
    kind = document.get("type")
    detail = document.get("detail") or document.get("title")
    return Problem(
        _text(kind).removeprefix(_PREFIX) if isinstance(kind, str) else "",
        _text(detail) if isinstance(detail, str) else "",
        _text(name) if isinstance(name, str) else None,
    )


def _kind(problems: tuple[Problem, ...], status: int, otherwise: Kind) -> Kind:
    """By the type; of a compound problem by that of its parts; else by the status."""
    for each in problems:
        if each.type in _KINDS:
            return _KINDS[each.type]
    if status == 429:
        return "rate-limited"
    return "unavailable" if status >= 500 else otherwise


def _sentence(problem: Problem) -> str:
    detail = problem.detail.rstrip(". ")
    return f"{problem.name}: {detail}" if problem.name and problem.name not in detail else detail


def _text(text: str) -> str:
    """Printable, and not longer than a few lines of a log."""
    shown = "".join(char if char.isprintable() else " " for char in text[: 2 * _LONGEST_TEXT])
    shown = " ".join(shown.split())
    return shown if len(shown) <= _LONGEST_TEXT else shown[: _LONGEST_TEXT - 1] + "…"
