"""One order from start to finish (RFC 8555 section 7.4), when a CA wants it renewed (RFC 9773), and a revocation.

No schedule, no lock, no storage: the caller has those. Every function raises ACMEError.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from asgi_tls.certificate.private_key import export_key, spki
from asgi_tls.certificate.self_signed import general_name
from asgi_tls.hostnames import parse_ip
from asgi_tls.renewal.acme.account import base64url, thumbprint
from asgi_tls.renewal.acme.answers import Authorization, Challenge, Order, RenewalInfo
from asgi_tls.renewal.acme.ca import CA, Issued, OrderRequest
from asgi_tls.renewal.acme.problems import ACMEError, failure, refusal
from asgi_tls.renewal.acme.wire import Wire

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_FINALIZED: Final = 3
"""How often an order is finalized again whose CA still calls it ready after a fault."""
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two looks where the CA says nothing; the last one counts for all that follow."""
_LONGEST_PAUSE: Final = 30.0
_SHORT_REQUEST: Final = 30.0
"""Seconds for a request that is not an order."""
# What a CA may answer to `replaces`, beside alreadyReplaced: the certificate may be of another CA or account.
_ABOUT_REPLACES: Final = frozenset({"already-replaced", "refused", "unavailable"})
_PASSING: Final = frozenset({"unreachable", "unavailable", "invalid-answer"})


class Solver(Protocol):
    """Prepares what the CA looks for. `name` has `*.` for a wildcard; both methods may raise ACMEError."""

    def present(self, name: str, challenge_type: str, token: str, key_authorization: str) -> None:
        """Returns when the CA may look."""

    def clean(self, name: str, challenge_type: str, token: str, key_authorization: str) -> None:
        """Called for each that was presented, also when the order failed."""


def obtain(
    ca: CA,
    account_key: bytes,
    account_url: str | None,
    request: OrderRequest,
    solver: Solver,
    *,
    deadline: float,
    alive: Callable[[], None] = lambda: None,
) -> Issued:
    """Order, validate, issue. Registers the account where `account_url` is None or unknown to the CA.

    `deadline` is a time of `time.monotonic`. `alive` is called before each request and each second of waiting; what it
    raises ends the order. A single request takes 30 seconds at most.
    """
    with Wire(ca, account_key, account_url, deadline=deadline, alive=alive) as wire:
        _check_profile(ca, wire, request)
        account_url, url, order = _order(wire, account_url, request)
        notes = _authorize(ca, wire, order, request.challenge, solver, thumbprint(account_key))
        key = _new_key(request.key)
        issued = _issue(ca, wire, url, _signing_request(key, request.names))
    certificates = _checked(ca, issued, key.public_key(), request.names)
    leaf = certificates[0]
    return Issued(
        pem=b"".join(one.public_bytes(Encoding.PEM) for one in certificates) + export_key(key),
        account_url=account_url,
        certificate_id=certificate_id(leaf),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        notes=notes,
    )


def renewal_info(ca: CA, certificate_id: str) -> RenewalInfo | None:
    """When the CA wants this certificate to be replaced; None where it has no such information."""
    with Wire(ca, deadline=time.monotonic() + _SHORT_REQUEST) as wire:
        return wire.renewal_info(certificate_id)


def revoke(ca: CA, pem: bytes, reason: int = 0) -> None:
    """Revoke the first certificate of `pem`, which has its private key: the key signs the request (section 7.6).

    `reason` is a CRLReason (RFC 5280 section 5.3.1): 0 unspecified, 1 the key is compromised, 4 superseded, 5 no longer
    in use.
    """
    leaf = x509.load_pem_x509_certificates(pem)[0]
    with Wire(ca, pem, deadline=time.monotonic() + 2 * _SHORT_REQUEST) as wire:
        wire.revoke(leaf, reason)


def certificate_id(certificate: x509.Certificate) -> str | None:
    """The identifier of a certificate (RFC 9773 section 4.1); None for one without a key identifier of its issuer."""
    try:
        authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (x509.ExtensionNotFound, ValueError):
        return None
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # as DER has it: with room for the sign bit
    return None if authority is None else f"{base64url(authority)}.{base64url(octets)}"


def _check_profile(ca: CA, wire: Wire, request: OrderRequest) -> None:
    """An order would count against a limit."""
    known = wire.directory.profiles
    if request.profile is not None and request.profile not in known:
        listed = f"; it has {', '.join(known)}" if known else ": it has none"
        raise failure("profile", f"{ca.name} has no profile {request.profile!r}{listed}")


def _order(wire: Wire, account_url: str | None, request: OrderRequest) -> tuple[str, str, Order]:
    """The URLs of account and order, and the order. The CA may have lost the account, or be another one by now."""
    if account_url is not None:
        try:
            return account_url, *_new_order(wire, request)
        except ACMEError as error:
            if error.kind != "account-unknown":
                raise
    account_url = wire.register()
    wire.use_account(account_url)
    return account_url, *_new_order(wire, request)


def _new_order(wire: Wire, request: OrderRequest) -> tuple[str, Order]:
    identifiers = [{"type": "ip" if parse_ip(name) else "dns", "value": name} for name in request.names]
    if request.replaces is not None:
        try:
            return wire.new_order(identifiers, request.profile, request.replaces)
        except ACMEError as error:
            if error.kind not in _ABOUT_REPLACES or error.retry_after is not None:
                raise
    return wire.new_order(identifiers, request.profile, None)


def _authorize(ca: CA, wire: Wire, order: Order, challenge_type: str, solver: Solver, print_: str) -> tuple[str, ...]:
    """Until every authorization is valid. What is prepared for it is removed again, whatever happens."""
    pending: list[tuple[str, Authorization, Challenge]] = []
    for url in order.authorizations:
        authorization, _ = wire.authorization(url)
        if authorization.status != "valid":
            pending.append((url, authorization, _chosen(ca, authorization, challenge_type)))
    notes: list[str] = []
    with ExitStack() as presented:
        for _, authorization, challenge in pending:
            task = (authorization.name, challenge.type, challenge.token, f"{challenge.token}.{print_}")
            presented.callback(_clean, solver, task, notes)
            solver.present(*task)
        for _, _, challenge in pending:
            if challenge.status == "pending":
                wire.answer(challenge)
        for url, _, _ in pending:
            _await_authorization(ca, wire, url)
    return tuple(notes)


def _chosen(ca: CA, authorization: Authorization, challenge_type: str) -> Challenge:
    if authorization.status != "pending":
        raise _invalid(ca, authorization)
    for challenge in authorization.challenges:
        if challenge.type == challenge_type:
            return challenge
    offered = ", ".join(each.type for each in authorization.challenges) or "nothing that can be answered"
    raise failure(
        "no-challenge", f"{ca.name} does not offer {challenge_type} for {authorization.name}; it offers {offered}"
    )


def _clean(solver: Solver, task: tuple[str, str, str, str], notes: list[str]) -> None:
    try:
        solver.clean(*task)
    except ACMEError as error:
        notes.append(error.problem)


def _await_authorization(ca: CA, wire: Wire, url: str) -> None:
    for pause in _pauses():
        authorization, wanted = wire.authorization(url)
        if authorization.status == "valid":
            return
        if authorization.status not in {"pending", "processing"}:
            raise _invalid(ca, authorization)
        wire.wait(pause if wanted is None else min(wanted, _LONGEST_PAUSE))


def _invalid(ca: CA, authorization: Authorization) -> ACMEError:
    """The CA's words about the challenge that failed."""
    failed = next((each for each in authorization.challenges if each.error is not None), None)
    by = "" if failed is None else f" by {failed.type}"
    return refusal(
        ca.name,
        None if failed is None else failed.error,
        asked=f"could not validate {authorization.name}{by}",
        otherwise="challenge-failed",
    )


def _issue(ca: CA, wire: Wire, url: str, request: x509.CertificateSigningRequest) -> bytes:
    """Finalize the order, and fetch what is issued. A fault on the way does not lose the certificate."""
    tries = 0
    for pause in _pauses():
        order, wanted = wire.order(url)
        if order.status == "valid" and order.certificate is not None:
            return wire.certificate(order.certificate)
        if order.status == "ready":
            tries += 1
            try:
                wire.finalize(order, request)
                continue
            except ACMEError as error:
                if error.kind not in _PASSING or tries == _FINALIZED:
                    raise
        elif order.status == "invalid":
            raise refusal(ca.name, order.error, asked="could not issue")
        wire.wait(pause if wanted is None else min(wanted, _LONGEST_PAUSE))
    raise AssertionError("unreachable")


def _pauses() -> Iterator[float]:
    """Without end: `Wire.wait` raises at the deadline."""
    return chain(_PAUSES, iter(lambda: _PAUSES[-1], None))


def _checked(ca: CA, pem: bytes, key: PublicKeyTypes, names: Sequence[str]) -> list[x509.Certificate]:
    """What can be served. Its dates are not looked at: they may be right, and our clock wrong."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        alternative = certificates[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = {*alternative.get_values_for_type(x509.DNSName)}
        found |= {str(address) for address in alternative.get_values_for_type(x509.IPAddress)}
        its_key = certificates[0].public_key()
    except (ValueError, x509.ExtensionNotFound):
        raise failure("invalid-answer", f"{ca.name} does not answer with a valid certificate") from None
    if spki(its_key) != spki(key):
        raise failure("invalid-answer", f"{ca.name} answers with a certificate for another key")
    if missing := [name for name in names if name not in {each.lower() for each in found}]:
        raise failure("invalid-answer", f"{ca.name} answers with a certificate without {', '.join(missing)}")
    return certificates


def _new_key(kind: str) -> PrivateKey:
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def _signing_request(key: PrivateKey, names: Sequence[str]) -> x509.CertificateSigningRequest:
    """Without a subject: CAs take the names from subjectAltName, and new profiles have no common name."""
    listed = [general_name(name) for name in names]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.add_extension(x509.SubjectAlternativeName(listed), critical=True).sign(key, hashes.SHA256())
