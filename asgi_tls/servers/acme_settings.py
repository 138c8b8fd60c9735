"""The ACME source that the settings describe. Imported only where one of them is set, to start faster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asgi_tls.errors import ConfigurationError
from asgi_tls.renewal.acme.ca import ExternalAccount
from asgi_tls.renewal.acme.dns import DNSCommand, DNSLexicon
from asgi_tls.renewal.acme.source import ACME, DNSProvider


def ordered(values: Mapping[str, Any]) -> ACME:
    """The source. Raises ConfigurationError, also where no host name is set."""
    given = {name.removeprefix("acme_"): values[name] for name in values if name.startswith("acme_")}
    if "acme" not in values:
        for name in given:
            raise ConfigurationError(
                f"{{acme_{name}}} is set without {{acme}}",
                fix="Set {acme} to the host names of the certificate, or remove {acme_" + name + "}.",
                settings=("acme", f"acme_{name}"),
            )
        raise ConfigurationError(
            "{acme} is not set: nothing is ordered",
            fix="Give the same settings as to the server, such as {acme} example.com.",
            settings=("acme",),
        )
    if "dns" in given:
        given["dns"] = dns_provider(given["dns"])
    given["challenges"] = given.pop("challenge", None) or (
        ("dns-01",) if "dns" in given else _possible_challenges(values)
    )
    if {*given["challenges"]} == {"http-01"} and "redirect_port" not in values:
        raise ConfigurationError(
            "{acme_challenge} is http-01 alone, and no {redirect_port} answers it",
            fix="Set {redirect_port} to 80. Where something else leads port 80 here, name tls-alpn-01 as well.",
            settings=("acme_challenge", "redirect_port"),
        )
    kid, file = given.pop("eab_kid", None), given.pop("eab_key_file", None)
    if (kid is None) != (file is None):
        raise ConfigurationError(
            "{acme_eab_kid} and {acme_eab_key_file} are set one without the other",
            fix="Set both to what the CA gives for external account binding.",
            settings=("acme_eab_kid", "acme_eab_key_file"),
        )
    if file is not None:
        given["external_account"] = ExternalAccount(kid, file=Path(file))
    return ACME(*values["acme"], **given)


def dns_provider(text: str) -> DNSProvider:
    """A command, or `lexicon:PROVIDER` with its options in the variables that dns-lexicon reads."""
    scheme, _, provider = text.partition(":")
    return DNSLexicon(provider) if scheme == "lexicon" and provider else DNSCommand(text)


def _possible_challenges(values: Mapping[str, Any]) -> tuple[str, ...]:
    """By the ports: without a plain port of ours, tls-alpn-01 is tried first, since an application may have one."""
    return ("http-01", "tls-alpn-01") if "redirect_port" in values else ("tls-alpn-01", "http-01")
