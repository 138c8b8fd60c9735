"""One trouble that TLS users meet, and the words by which each program tells of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What happened, why, what to do, and how to see that it is done. Pure data.

    `code` is stable, kebab-case, and that of our own exception where there is one. `commands` are for a shell, with
    HOST for the server's name. `general` marks what only says that something failed: it is told after anything else.

    The rest is what it is known by: `says`, wording of any program, told apart by letters and digits alone, where …
    stands for anything in between; `names` of errors, in any case; and numbers: `alerts` (IANA, TLS Alerts), `verify`
    (OpenSSL's X509_V_ERR_…), `curl` (its exit status) and `net` (Chromium's net_error).
    """

    code: str
    title: str
    meaning: str
    causes: tuple[str, ...]
    fixes: tuple[str, ...]
    commands: tuple[str, ...]
    reference: str
    general: bool = False
    says: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    alerts: tuple[int, ...] = ()
    verify: tuple[int, ...] = ()
    curl: tuple[int, ...] = ()
    net: tuple[int, ...] = ()
