"""Certificates and HTTP as plain values: the one description that JSON, the terminal and the page use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm

from asgi_tls.audit.judges.certificate import path_of
from asgi_tls.audit.judges.findings import shown
from asgi_tls.audit.judges.web import hsts_of, preload_eligible
from asgi_tls.audit.probes.observed import Observed, ServedChain
from asgi_tls.certificate.chain import is_self_signed, name_of
from asgi_tls.certificate.loaded import lifetime_left
from asgi_tls.certificate.private_key import describe_key, key_type
from asgi_tls.certificate.validation import subject_alt_names
from asgi_tls.middleware.fields import HSTS_NAME

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """One certificate of the server, and the chain that came with it. Times are ISO 8601 in UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    key: str
    signature: str | None
    not_before: str
    not_after: str
    lifetime_left: float
    chain: tuple[str, ...]
    chain_in_order: bool
    chain_complete: bool
    trusted: bool | None
    staple: str


@dataclass(frozen=True, kw_only=True)
class HTTP:
    """The response over HTTPS, and that of plain HTTP on both ports."""

    status: int | None
    plain_http: str | None
    plain_http_port: int
    plain_on_tls_port: str | None
    hsts: str | None
    hsts_expected: bool
    hsts_max_age: int | None
    preload_eligible: bool
    preload_announced: bool


def describe_http(seen: Observed) -> HTTP:
    """The server's text is printable and on one line."""
    answer = seen.answer
    policy = None if answer is None else hsts_of(answer)
    return HTTP(
        status=None if answer is None else answer.status,
        plain_http=None if seen.plain_http is None else shown(seen.plain_http.summary),
        plain_http_port=seen.target.http_port,
        plain_on_tls_port=None if seen.plain_tls is None else shown(seen.plain_tls.summary),
        hsts=None if answer is None or (value := answer.first(HSTS_NAME)) is None else shown(value),
        hsts_expected=seen.target.needs_hsts,
        hsts_max_age=None if policy is None else policy.max_age,
        preload_eligible=preload_eligible(seen),
        preload_announced=policy is not None and policy.preload,
    )


def describe_certificate(served: ServedChain, seen: Observed) -> Certificate:
    """The server's text is printable and on one line."""
    leaf = served.leaf
    path = path_of(served.certificates)
    dns_names, addresses = subject_alt_names(leaf)
    trust = served.trust
    return Certificate(
        subject=shown(name_of(leaf)),
        issuer=shown(leaf.issuer.rfc4514_string()),
        names=tuple(shown(name) for name in (*dns_names, *addresses)),
        key=key_type(leaf) or describe_key(leaf),
        signature=_digest(leaf),
        not_before=leaf.not_valid_before_utc.isoformat(),
        not_after=leaf.not_valid_after_utc.isoformat(),
        lifetime_left=round(lifetime_left(leaf.not_valid_before_utc, leaf.not_valid_after_utc, seen.at), 4),
        chain=tuple(shown(name_of(one)) for one in served.certificates),
        chain_in_order=list(served.certificates[: len(path)]) == path,
        chain_complete=(trust is not None and trust.trusted) or (len(path) > 1 and is_self_signed(path[-1])),
        trusted=None if trust is None else trust.trusted,
        staple=served.staple.status if served.staple is not None else served.staple_state,
    )


def _digest(certificate: x509.Certificate) -> str | None:
    """The hash of its signature, None if it is built in; the algorithm's number if `cryptography` does not know it."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return certificate.signature_algorithm_oid.dotted_string
    return None if algorithm is None else algorithm.name
