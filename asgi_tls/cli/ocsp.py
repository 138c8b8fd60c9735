"""`asgi-tls ocsp status CERT`: ask the CA's responder now, as a server that staples would."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asgi_tls.cli.common import SuggestingGroup

if TYPE_CHECKING:
    from cryptography import x509

    from asgi_tls.stapling.ocsp import Answer


@click.group(cls=SuggestingGroup)
def ocsp() -> None:
    """Ask the CA's OCSP responder about a certificate."""


@ocsp.command()
@click.argument("certificate", metavar="CERT", type=click.Path(path_type=Path))
@click.option("--issuer", type=click.Path(path_type=Path), help="The issuer's certificate, if it is not in CERT.")
@click.option("--url", help="Ask this responder instead of the one in the certificate.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(certificate: Path, issuer: Path | None, url: str | None, as_json: bool) -> None:
    """Fetch a response for CERT, a PEM file with the certificate and its issuer, and verify it.

    The cache is not used. The exit status is 0 if the response is good; 1 if it is not, or there is none; 3 if nobody
    can be asked: a file or the issuer is missing, or the certificate names no responder.
    """
    address, answer = _ask(certificate, issuer, url)
    if as_json:
        click.echo(json.dumps({"url": address, **_as_json(answer)}, indent=2))
    else:
        click.echo(f"status       {answer.status}: {answer.msg}")
        click.echo(f"asked        {address}")
        if answer.responder is not None:
            click.echo(f"signed by    {answer.responder}")
        for label, moment in (("this update", answer.this_update), ("next update", answer.next_update)):
            if moment is not None:
                click.echo(f"{label}  {moment:%Y-%m-%d %H:%M:%S} UTC")
    sys.exit(0 if answer.is_good else 1)


def _ask(path: Path, issuer: Path | None, url: str | None) -> tuple[str, Answer]:
    from cryptography.x509.oid import AuthorityInformationAccessOID as AccessOID

    from asgi_tls.certificate.chain import access_url, load_chain
    from asgi_tls.certificate.material import read_material
    from asgi_tls.errors import MissingIntermediateError, StaplingError
    from asgi_tls.stapling.fetch import FetchError, fetch
    from asgi_tls.stapling.ocsp import Answer, build_request, judge, subject_of

    chain: list[x509.Certificate] = []
    for file in (path, issuer):
        if file is not None:
            material = read_material(file, "certificate")
            chain += load_chain(material)
    subject = subject_of(chain)
    if subject is None:
        raise MissingIntermediateError(
            "does not contain the issuer's certificate", fix="Give it with --issuer FILE.", path=path
        )
    address = url or access_url(subject.certificate, AccessOID.OCSP)
    if address is None:
        raise StaplingError(
            "the certificate names no OCSP responder",
            fix="Its CA does not use OCSP, like Let's Encrypt since 2025: there is nothing to staple.",
            path=path,
        )
    try:
        return address, judge(fetch(address, build_request(subject)), subject, datetime.now(UTC))
    except FetchError as error:
        return address, Answer(status=error.status, msg=str(error))


def _as_json(answer: Answer) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(answer).items() if name != "der"}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
