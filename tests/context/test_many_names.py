"""Hundreds of names: the same cost for each, contexts that are made when they are first asked for, and kept."""

from __future__ import annotations

import gc
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from exhausted import no_descriptor_left
from files import Files
from handshakes import client
from memory import handshake
from pki import PKI

from asgi_tls import INTERMEDIATE, PEMFiles
from asgi_tls.certificate import Certificate
from asgi_tls.certificate.sources import PEMData
from asgi_tls.context.server_context import ServerContext

Groups = dict[str, tuple[Certificate, ...]]


@pytest.fixture(scope="module")
def many() -> Groups:
    """Names in the order in which they are asked for: the last ones have no context yet."""
    pki = PKI("Many")
    groups: Groups = {}
    for number in range(100):
        pair = pki.leaf(f"{number}.example", f"*.{number}.example", f"10.0.0.{number}", intermediate=False)
        groups[f"{number}.example"] = groups[f"*.{number}.example"] = (PEMData(pair.chain_pem, pair.key_pem).load(),)
    return groups


def served(context: ServerContext, name: str) -> tuple[bytes | None, ssl.SSLContext]:
    """The certificate that a client gets, and the context that it comes from."""
    ends = handshake(context.ssl_context, client(), server_name=name)
    return ends.client.getpeercert(binary_form=True), ends.server.context


def calls(action: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C."""
    count = 0

    def see(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    gc.disable()  # what it finalizes would be counted as well
    sys.setprofile(see)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.parametrize("host", ["0.example", "x.0.example", "x.y.0.example", "10.0.0.0", "nobody.example.net", "::1"])
def test_a_host_costs_the_same_with_any_number_of_names(many: Groups, host: str) -> None:
    few, lots = ServerContext(INTERMEDIATE), ServerContext(INTERMEDIATE)
    few.use(dict([*many.items()][:4]))
    lots.use(many)
    assert few.covers(host) == lots.covers(host) == (host in {"0.example", "x.0.example", "10.0.0.0"})
    assert calls(lambda: lots.covers(host)) == calls(lambda: few.covers(host))

    def ask(context: ServerContext) -> int:
        state = context.ssl_context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
        return calls(lambda: context._on_server_name(state, host, context.ssl_context))

    assert ask(lots) == ask(few)


def test_each_name_gets_its_certificate_and_a_renewal_touches_no_other(many: Groups, files: Files) -> None:
    context = ServerContext(INTERMEDIATE)
    context.use(many)
    contexts: dict[str, ssl.SSLContext] = {}
    for number in (0, 1, 98, 99):
        certificate, contexts[f"{number}.example"] = served(context, f"{number}.example")
        assert certificate == many[f"{number}.example"][0].leaf_der
        assert served(context, f"x.{number}.example") == (certificate, contexts[f"{number}.example"])
    pair = files.pki.leaf("1.example")
    context.use({**many, "1.example": (PEMData(pair.chain_pem, pair.key_pem).load(),)})
    assert served(context, "1.example")[0] == pair.der
    for name in ("0.example", "98.example", "99.example", "*.1.example"):
        certificate, after = served(context, name.replace("*", "x"))
        assert certificate == many[name][0].leaf_der
        assert after is contexts[name.removeprefix("*.")]


def test_a_context_that_cannot_be_made_now_is_made_for_the_next_client(
    many: Groups, caplog: pytest.LogCaptureFixture
) -> None:
    context = ServerContext(INTERMEDIATE)
    context.use(many)
    with no_descriptor_left(), pytest.raises(ssl.SSLError, match="(?i)internal.error"):
        handshake(context.ssl_context, client(), server_name="99.example")
    assert caplog.messages[-1].startswith("no TLS context for the name '99.example': ")
    assert served(context, "99.example")[0] == many["99.example"][0].leaf_der


def test_a_context_that_is_made_late_has_the_trust_that_counts_then(many: Groups, tmp_path: Path) -> None:
    first, second = PKI("First"), PKI("Second")
    visitors = {pki: client() for pki in (first, second)}
    for number, (pki, visitor) in enumerate(visitors.items()):
        pair = pki.leaf("client.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        visitor.load_cert_chain(*pair.write(tmp_path / str(number)))
    context = ServerContext(INTERMEDIATE, client_auth="required")
    names = ("0.example", "97.example", "98.example", "99.example")
    context.use(many, client_ca=first.root_pem.decode())
    for name in names[:3]:
        handshake(context.ssl_context, visitors[first], server_name=name)
    context.use(many, client_ca=second.root_pem.decode())
    for name in names:
        handshake(context.ssl_context, visitors[second], server_name=name)
        with pytest.raises(ssl.SSLError, match="(?i)unknown.ca"):
            handshake(context.ssl_context, visitors[first], server_name=name)


def test_a_final_dot_in_a_name_is_the_same_name(files: Files) -> None:
    """RFC 6066 section 3 has names without it; some clients send what the user typed."""
    context = ServerContext(INTERMEDIATE)
    groups: Mapping[str, tuple[Certificate, ...]] = {
        "www.example.com": (PEMFiles(files.example.certfile, files.example.keyfile).load(),),
        "*.example.org": (files.wildcard.load(),),
    }
    context.use(groups)
    for name, expected in (("www.example.com.", "www.example.com"), ("WWW.example.org.", "*.example.org")):
        assert served(context, name)[0] == groups[expected][0].leaf_der
