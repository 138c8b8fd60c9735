"""What a context really does, shown by handshakes in memory.

Where Python cannot set groups and TLS 1.3 suites, OpenSSL has them from its configuration (OPENSSL_CONF) or by default.
What a file says proves nothing: OpenSSL drops a whole list of groups for one unknown name, and ignores a file that is
not there. So ClientHellos are put to the server context, and the client context's own is read.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from asgi_tls.handshake.flight import Flight, FlightReader, eliminate
from asgi_tls.handshake.groups import GROUP_NAMES, is_weak_curve
from asgi_tls.handshake.hello import TLS12, TLS13, Offer, read_hello
from asgi_tls.profile import GROUPS, TLS12_CIPHERS, TLS13_CIPHERSUITES, TLSProfile

_SUITE_NAMES: Final = {number: name for name, number in TLS13_CIPHERSUITES.items()} | {
    0x1305: "TLS_AES_128_CCM_8_SHA256"
}
_CURVES: Final = tuple(GROUPS[name][1] for name in ("P-256", "P-384", "P-521"))
_TLS12_NUMBERS: Final = frozenset(number for _, number in TLS12_CIPHERS.values())


@dataclass(frozen=True)
class Deviation:
    """One difference from the profile. `weak`: it lets in less than RFC 9325 asks for."""

    what: str
    weak: bool = False


def of_server(
    context: ssl.SSLContext, profile: TLSProfile, groups: Sequence[str], server_name: str | None
) -> list[Deviation]:
    """Where this context, which has a certificate for `server_name`, departs from the profile and from `groups`.

    In TLS 1.2 the order of groups is not checked.
    """
    new = profile.speaks("TLSv1.3")

    def ask(suites: Iterable[int], groups: Iterable[int], shares: Iterable[int] = ()) -> Flight:
        offer = Offer(
            version=TLS13 if new else TLS12,
            suites=tuple(suites) if new else (*_TLS12_NUMBERS,),
            groups=tuple(groups),
            server_name=server_name,
            shares=dict.fromkeys(shares, bytes(32)),  # not valid: a server that chooses one departs from the order
        )
        return _answer(context, offer)

    def suite(offered: Sequence[int]) -> int | None:
        hello = ask(offered, GROUP_NAMES).hello
        return None if hello is None else hello.suite

    def group(offered: Sequence[int], shares: Iterable[int] = ()) -> int | None:
        flight = ask(_SUITE_NAMES, offered, shares)
        if flight.curve is not None or flight.hello is None:
            return flight.curve
        return flight.hello.group

    own = [GROUPS[name][1] for name in groups]
    every = (*own, *(number for number in GROUP_NAMES if number not in own))
    found, _ = eliminate(every, group)
    if not new:  # where the curve of the certificate must be listed as well (RFC 8422 section 5.1)
        found += [each for each in every if each not in found and group([each, *_CURVES]) == each]
    deviations = [*_of_groups(groups, found)]
    if new:
        suites, _ = eliminate((*_SUITE_NAMES,), suite)
        deviations += _of_suites(profile, suites)
        own = [number for number in own if number in found]
        if any(group(own[at:][::-1], own[at + 1 :]) != own[at] for at in range(len(own) - 1)):
            deviations.append(Deviation("the client's order of groups decides"))
    return deviations


def of_client(context: ssl.SSLContext, profile: TLSProfile, groups: Sequence[str]) -> list[Deviation]:
    """Where what this context offers departs from the profile and from `groups`."""
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    offered = read_hello(outgoing.read())
    deviations = [*_of_groups(groups, offered.groups)]
    own = [GROUPS[name][1] for name in groups if GROUPS[name][1] in offered.groups]
    if own != [number for number in offered.groups if number in own]:
        deviations.append(Deviation("the groups are offered in another order"))
    if profile.speaks("TLSv1.3"):
        deviations += _of_suites(profile, [number for number in offered.suites if number in _SUITE_NAMES])
    return deviations


def _answer(context: ssl.SSLContext, offer: Offer) -> Flight:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(offer.record())
    with contextlib.suppress(ssl.SSLError):
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    reader = FlightReader(_TLS12_NUMBERS, frozenset())
    reader.feed(outgoing.read())
    return reader.end("closed")


def _of_groups(groups: Sequence[str], found: Sequence[int]) -> Iterator[Deviation]:
    wanted = {GROUPS[name][1]: name for name in groups}
    absent = {number: name for number, name in wanted.items() if number not in found}
    extra = {number: GROUP_NAMES.get(number, f"{number:#06x}") for number in found if number not in wanted}
    yield from _differing("groups", absent, extra, weak=any(map(is_weak_curve, extra.values())))


def _of_suites(profile: TLSProfile, found: Sequence[int]) -> Iterator[Deviation]:
    wanted = {TLS13_CIPHERSUITES[name]: name for name in profile.ciphersuites}
    absent = {number: name for number, name in wanted.items() if number not in found}
    extra = {number: _SUITE_NAMES[number] for number in found if number not in wanted}
    weak = not TLS13_CIPHERSUITES.keys() >= {*extra.values()}
    yield from _differing("TLS 1.3 suites", absent, extra, weak=weak)


def _differing(what: str, absent: Mapping[int, str], extra: Mapping[int, str], *, weak: bool) -> Iterator[Deviation]:
    if extra:
        yield Deviation(f"it also allows the {what} {', '.join(extra.values())}", weak)
    if absent:
        yield Deviation(f"it does not allow the {what} {', '.join(absent.values())}")
