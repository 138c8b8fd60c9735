"""What was seen, as plain values: the one description that JSON, the table and the page all use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgi_tls.audit.judge_certificate import path_of
from asgi_tls.audit.judge_web import YEAR, hsts_of
from asgi_tls.certificate.chain import is_self_signed, name_of, printable
from asgi_tls.certificate.loaded import lifetime_left
from asgi_tls.certificate.private_key import describe_key, key_type
from asgi_tls.certificate.validation import subject_alt_names
from asgi_tls.middleware.fields import HSTS_NAME

if TYPE_CHECKING:
    from asgi_tls.audit.observed import Observed, ServedChain


def protocols(seen: Observed) -> dict[str, dict[str, Any]]:
    """By version: whether it is spoken, its suites in the server's order of choosing, and whose order decides."""
    found: dict[str, dict[str, Any]] = {}
    for version, speaks in seen.versions.items():
        found[version] = {"offered": speaks, "answer": seen.answers.get(version)}
        if version in seen.suites:
            suites = seen.suites[version]
            found[version] |= {"suites": list(suites.names), "preference": suites.preference}
    return found


def groups(seen: Observed) -> dict[str, Any]:
    """Those of the newest version, and those that only older ones can use."""
    names = [] if seen.groups is None else list(seen.groups.names)
    preference = None if seen.groups is None else seen.groups.preference
    return {"names": [*names, *seen.old_groups], "preference": preference, "dh_bits": seen.dh_bits}


def certificates(seen: Observed) -> list[dict[str, Any]]:
    """One entry for each certificate that the server has."""
    return [_certificate(served, seen) for served in seen.chains]


def handshake(seen: Observed) -> dict[str, Any] | None:
    """What a current client gets."""
    best = seen.handshake
    if best is None:
        return None
    return {"protocol": best.protocol, "cipher": best.cipher, "group": best.group, "alpn": best.alpn}


def resumption(seen: Observed) -> dict[str, dict[str, int]]:
    """By version: how many of how many."""
    return {one.version: {"resumed": one.resumed, "tried": one.tried} for one in seen.resumption}


def http(seen: Observed) -> dict[str, Any]:
    """Both kinds of plain HTTP, and HTTPS."""
    answer = seen.answer
    policy = None if answer is None else hsts_of(answer)
    preload = policy is not None and policy.include_subdomains and policy.max_age >= YEAR
    return {
        "status": None if answer is None else answer.status,
        "plain_http": None if seen.plain_http is None else printable(seen.plain_http.summary),
        "plain_http_port": seen.target.http_port,
        "plain_on_tls_port": None if seen.plain_tls is None else printable(seen.plain_tls.summary),
        "hsts": None if answer is None or (value := answer.first(HSTS_NAME)) is None else printable(value),
        "hsts_max_age": None if policy is None else policy.max_age,
        "preload_eligible": preload and not _stays_plain(seen),
        "preload_announced": policy is not None and policy.preload,
    }


def _stays_plain(seen: Observed) -> bool:
    """hstspreload.org: where port 80 answers, its first hop must be https on the same host. And no addresses."""
    plain = seen.plain_http
    if seen.target.is_address:
        return True
    if plain is None or not plain.open:
        return False
    from asgi_tls.audit.plain import first_hop

    hop = None if plain.answer is None else first_hop(plain.answer, f"http://{seen.target.host}/")
    return hop is None or hop.scheme != "https" or hop.host != seen.target.host


def _certificate(served: ServedChain, seen: Observed) -> dict[str, Any]:
    leaf = served.leaf
    path = path_of(served.certificates)
    dns_names, addresses = subject_alt_names(leaf)
    trust = served.trust
    complete = (trust is not None and trust.trusted) or (len(path) > 1 and is_self_signed(path[-1]))
    return {
        "subject": name_of(leaf),
        "issuer": printable(leaf.issuer.rfc4514_string()),
        "names": [printable(name) for name in (*dns_names, *addresses)],
        "key": key_type(leaf) or describe_key(leaf),
        "signature": None if leaf.signature_hash_algorithm is None else leaf.signature_hash_algorithm.name,
        "not_before": leaf.not_valid_before_utc.isoformat(),
        "not_after": leaf.not_valid_after_utc.isoformat(),
        "lifetime_left": round(lifetime_left(leaf.not_valid_before_utc, leaf.not_valid_after_utc, seen.at), 4),
        "chain": [name_of(one) for one in served.certificates],
        "chain_in_order": list(served.certificates[: len(path)]) == path,
        "chain_complete": complete,
        "trusted": None if trust is None else trust.trusted,
        "staple": served.staple.status if served.staple is not None else served.staple_state,
    }
