"""One conversation with an ACME CA: RFC 8555 through certbot's `acme`, and what that leaves out.

`acme.client.ClientNetwork` signs requests and keeps nonces. Added here, through its public surface (`session`, `post`,
`get`): rejected nonces are tried again up to 30 times, Retry-After is kept, answers are bounded in size and time, and
everything that goes wrong is one type of error. Only this module and `bounded` import `acme`, `josepy` and `requests`:
that takes most of a second on a busy machine, so it happens where an order is made and nowhere else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

import josepy as jose
import requests
from acme import errors, messages
from acme.client import ClientNetwork
from cryptography import x509  # noqa: TC002 -- loaded by `acme` anyway
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from asgi_tls.errors import CertificateError
from asgi_tls.renewal.acme.account import base64url, load_account_key
from asgi_tls.renewal.acme.answers import Authorization, Challenge, Directory, Order, RenewalInfo
from asgi_tls.renewal.acme.bounded import BoundedAdapter, TooLargeError, cause
from asgi_tls.renewal.acme.ca import CA, ExternalAccount
from asgi_tls.renewal.acme.problems import ACMEError, failure, http_date, refusal, retry_after

_NONCES: Final = 30
"""How many nonces in a row a CA may reject (RFC 8555 section 6.5)."""
_CLOCK: Final = 3600.0
"""Seconds that our clock may differ from the CA's: beyond, a new certificate looks not yet valid, or expired."""
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts to read what a CA has for us. A read changes nothing there."""
_PASSING: Final = frozenset({"unreachable", "unavailable", "invalid-answer", "rate-limited"})


class _Payload(jose.JSONDeSerializable):
    """Any JSON object, signed as it is."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = dict(content)

    def to_partial_json(self) -> dict[str, Any]:
        return self._content

    @classmethod
    def from_json(cls, jobj: Any) -> _Payload:
        return cls(jobj)


class _BadNonceError(Exception):
    """The CA rejects the nonce of a request: try again with another."""


class Wire:
    """A conversation: `with Wire(ca, key, account_url, …) as wire`. Every method raises ACMEError.

    `deadline` is a time of `time.monotonic` after which nothing is asked any more. `alive` is called before each
    request and each second of waiting; what it raises ends the conversation. `signer` is the PEM of the key that signs,
    by default none, for requests that are not signed.
    """

    def __init__(
        self,
        ca: CA,
        signer: bytes | None = None,
        account_url: str | None = None,
        *,
        deadline: float,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._ca = ca
        self._who = ca.name
        self._alive = alive
        self._deadline = deadline
        self._asked = "refuses"
        self._directory: Directory | None = None
        key = None if signer is None else _key(signer)
        algorithm = jose.RS256 if isinstance(key, jose.JWKRSA) else jose.ES256
        agent = f"asgi-tls/{metadata.version('asgi-tls')} acme/{metadata.version('acme')}"
        self._network = ClientNetwork(key, alg=algorithm, user_agent=agent)
        session = self._network.session
        self._adapter = BoundedAdapter(deadline, ca.ca_file)
        session.mount("https://", self._adapter)
        session.mount("http://", self._adapter)
        session.max_redirects = 0  # a signed request names its URL, and a directory that moves is for people to follow
        session.hooks["response"].append(self._check)
        if account_url is not None:
            self.use_account(account_url)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._network.session.close()

    @property
    def directory(self) -> Directory:
        """The CA's directory. The first look compares its clock with ours."""
        if self._directory is None:
            response = self._get(self._ca.url)
            self._compare_clocks(response.headers.get("Date"))
            self._directory = Directory.parse(self._who, _document(response))
        return self._directory

    def use_account(self, url: str) -> None:
        """Sign by the account that has this URL."""
        self._network.account = messages.RegistrationResource(body=messages.Registration(), uri=url)

    def register(self) -> str:
        """The URL of the account of the key; it is made where there is none. Agrees to the CA's terms of service."""
        content: dict[str, Any] = {"termsOfServiceAgreed": True}
        if self._ca.contact:
            content["contact"] = [f"mailto:{address}" for address in self._ca.contact]
        if self._ca.external_account is not None and self._network.key is not None:
            content["externalAccountBinding"] = self._bind(self._network.key, self._ca.external_account)
        elif self.directory.wants_external_account:
            raise failure("account-refused", f"{self._who} wants an external account (key ID and HMAC key)")
        self._network.account = None
        response = self._post(self.directory.new_account, content, "refuses the account")
        return self._location(response, "an account")

    def new_order(
        self, identifiers: list[dict[str, str]], profile: str | None, replaces: str | None
    ) -> tuple[str, Order]:
        """Make an order: its URL, and the order."""
        content: dict[str, Any] = {"identifiers": identifiers}
        content |= {} if profile is None else {"profile": profile}
        content |= {} if replaces is None else {"replaces": replaces}  # RFC 9773 section 5
        response = self._post(self.directory.new_order, content, "refuses the order")
        return self._location(response, "an order"), Order.parse(self._who, _document(response))

    def order(self, url: str) -> tuple[Order, float | None]:
        """An order, and the seconds after which to look again."""
        response = self._read(url)
        return Order.parse(self._who, _document(response)), _pause(response)

    def authorization(self, url: str) -> tuple[Authorization, float | None]:
        """An authorization, and the seconds after which to look again."""
        response = self._read(url)
        return Authorization.parse(self._who, _document(response)), _pause(response)

    def answer(self, challenge: Challenge) -> None:
        """Say that the challenge is prepared: the CA looks from now on."""
        self._post(challenge.url, {}, "refuses the answer to a challenge")

    def finalize(self, order: Order, request: x509.CertificateSigningRequest) -> None:
        """Ask for the certificate of an order that is ready."""
        content = {"csr": base64url(request.public_bytes(Encoding.DER))}
        self._post(order.finalize, content, "refuses to issue")

    def certificate(self, url: str) -> bytes:
        """A certificate and its chain, PEM, unread."""
        return bytes(self._read(url).content)

    def renewal_info(self, certificate_id: str) -> RenewalInfo | None:
        """None where the CA has no such thing."""
        base = self.directory.renewal_info
        if base is None:
            return None
        response = self._get(f"{base.rstrip('/')}/{certificate_id}")
        return RenewalInfo.parse(self._who, _document(response), _pause(response))

    def revoke(self, certificate: x509.Certificate, reason: int) -> None:
        """Revoke it. `reason` is a CRLReason (RFC 5280 section 5.3.1)."""
        url = self.directory.revoke
        if url is None:
            raise failure("refused", f"{self._who} has no URL for revocations")
        content = {"certificate": base64url(certificate.public_bytes(Encoding.DER)), "reason": reason}
        self._post(url, content, "refuses the revocation")

    def wait(self, seconds: float) -> None:
        """Let time pass, at most to the deadline; raises ACMEError at the deadline."""
        end = min(time.monotonic() + seconds, self._deadline)
        while (left := end - time.monotonic()) > 0:
            self._alive()
            time.sleep(min(left, 1.0))
        if time.monotonic() >= self._deadline:
            raise failure("timeout", f"{self._who} did not finish in the time that an order may take")

    def _read(self, url: str) -> requests.Response:
        """POST-as-GET (RFC 8555 section 6.3), again after a fault that may pass: what is there may be a certificate."""
        for pause in _PAUSES:
            try:
                return self._post(url, None, "refuses")
            except ACMEError as error:
                wanted = pause if error.retry_after is None else error.retry_after
                if error.kind not in _PASSING or wanted > self._deadline - time.monotonic():
                    raise
            self.wait(wanted)
        return self._post(url, None, "refuses")

    def _post(self, url: str, content: Mapping[str, Any] | None, asked: str) -> requests.Response:
        self._asked = asked
        payload = None if content is None else _Payload(content)
        for _ in range(_NONCES):
            with self._faults():
                try:
                    # It signs nothing at all for None (RFC 8555 section 6.3), which its annotation leaves out.
                    return self._network.post(url, payload, new_nonce_url=self.directory.new_nonce)
                except _BadNonceError:
                    continue
        raise failure("unavailable", f"{self._who} rejects every nonce that it gives")

    def _get(self, url: str) -> requests.Response:
        self._asked = "refuses"
        with self._faults():
            return self._network.get(url, content_type=ClientNetwork.JOSE_CONTENT_TYPE)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Everything that is not an answer becomes an ACMEError."""
        self._alive()
        try:
            yield
        except requests.exceptions.TooManyRedirects:
            raise failure("invalid-answer", f"{self._who} answers with a redirect") from None
        except TooLargeError as error:
            raise failure("invalid-answer", f"{self._who} answers with {error}") from None
        except requests.exceptions.RequestException as error:
            who = self._who if self._who == self._ca.url else f"{self._who} ({self._ca.url})"
            raise failure("unreachable", f"{who}: {cause(error)}") from None
        except (errors.Error, jose.errors.Error) as error:
            raise failure("invalid-answer", f"{self._who} answers with something else than ACME: {error}") from None

    def _check(self, response: requests.Response, *_args: object, **_kwargs: object) -> None:
        """Called for each response, before `acme` reads it, which drops Retry-After and the text of a conflict."""
        try:
            document = _document(response)
        except RecursionError:
            raise failure("invalid-answer", f"{self._who} answers with JSON that nests too deeply") from None
        if response.status_code < 400:
            return
        kind = document.get("type") if isinstance(document, dict) else None
        if isinstance(kind, str) and kind.endswith(":badNonce"):
            raise _BadNonceError
        if kind is None and response.status_code < 500 and response.status_code != 429:
            raise failure("invalid-answer", f"{self._who} answers with {_described(response)}")
        if kind is None:
            document = {"detail": _described(response)}
        wait = _pause(response)
        raise refusal(self._who, document, status=response.status_code, retry_after=wait, asked=self._asked)

    def _compare_clocks(self, date: str | None) -> None:
        theirs = http_date(date)
        off = 0.0 if theirs is None else time.time() - theirs.timestamp()
        if abs(off) > _CLOCK:
            side = "ahead of" if off > 0 else "behind"
            raise failure("clock", f"the clock of this host is {abs(off) / 3600:.1f} hours {side} that of {self._who}")

    def _bind(self, key: jose.JWK, account: ExternalAccount) -> dict[str, Any]:
        """The account outside of ACME signs for the key (RFC 8555 section 7.3.4)."""
        directory = messages.Directory({"newAccount": self.directory.new_account})
        try:
            secret = account.secret()
        except CertificateError as error:
            raise failure("account-refused", f"the HMAC key of the external account: {error.problem}") from None
        try:
            return messages.ExternalAccountBinding.from_data(key.public_key(), account.kid, secret, directory)
        except (ValueError, TypeError, jose.errors.Error):
            raise failure("account-refused", "the HMAC key of the external account is not base64url") from None

    def _location(self, response: requests.Response, what: str) -> str:
        url = response.headers.get("Location", "")
        if not url.startswith("https://"):
            raise failure("invalid-answer", f"{self._who} answers without the URL of {what}")
        return url


def _key(pem: bytes) -> jose.JWK:
    """The account's key; or, to revoke by it, the key of a certificate."""
    try:
        return jose.JWKEC(key=load_account_key(pem))
    except ValueError:
        return jose.JWKRSA(key=load_pem_private_key(pem, None))


def _document(response: requests.Response) -> object:
    """What the body is as JSON, None where it is none."""
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _pause(response: requests.Response) -> float | None:
    return retry_after(response.headers.get("Retry-After"), response.headers.get("Date"), datetime.now(UTC))


def _described(response: requests.Response) -> str:
    kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
    return f"HTTP status {response.status_code} ({kind})"
