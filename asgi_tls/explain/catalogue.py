"""What can go wrong with TLS, read once from entries/*.toml: cause, fix, and the words by which programs report it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

# In the order of docs/errors.md: what clients meet first.
THEMES: Final = (
    "trust",
    "certificate_rules",
    "client_certificates",
    "negotiation",
    "connection",
    "records",
    "files",
    "settings",
    "startup",
    "application",
    "acme",
    "events",
)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What happened, why, what to do, and a command that shows whether it helped.

    `code` is stable, kebab-case, and that of our own exception where there is one. `commands` are for a shell, with
    HOST for the server's name. `general` marks an entry that only says that something failed: it comes last.

    The other fields are what an entry is found by: `says`, wording of any program, compared by letters and digits
    alone, where … stands for anything in between; `names` of errors, in any case; and numbers: `alerts` (IANA, TLS
    Alerts), `verify` (OpenSSL's X509_V_ERR_…), `curl` (its exit status) and `net` (Chromium's net_error).
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


@functools.cache
def catalogue() -> Mapping[str, Trouble]:
    """Every entry by its code. Reads and checks the files when it is first called."""
    commands = _read("commands")
    return by_code(trouble for theme in THEMES for trouble in parse(theme, _read(theme), commands))


@functools.cache
def reasons() -> Mapping[int, Mapping[int, str]]:
    """OpenSSL's reasons: number of the library -> number of the reason -> name."""
    return {
        int(library): {number: name for name, number in names.items()} for library, names in _read("reasons").items()
    }


def by_code(troubles: Iterable[Trouble]) -> Mapping[str, Trouble]:
    """Raises ValueError where two entries have the same code."""
    found: dict[str, Trouble] = {}
    for trouble in troubles:
        if trouble.code in found:
            raise ValueError(f"two entries have the code {trouble.code}")
        found[trouble.code] = trouble
    return MappingProxyType(found)


def parse(theme: str, tables: Mapping[str, Any], commands: Mapping[str, str]) -> Iterator[Trouble]:
    """The entries of one file: a table each, named by its code, with the fields of Trouble and no others.

    In `commands` of an entry, "@name" stands for a command of commands.toml. Raises ValueError.
    """
    known = {each.name: each for each in fields(Trouble)}
    for code, table in tables.items():
        where = f"{theme}.toml, [{code}]"
        if unknown := [key for key in table if key not in known or key == "code"]:
            raise ValueError(f"{where}: unknown key {', '.join(unknown)}")
        required = [name for name, each in known.items() if each.default is MISSING and name != "code"]
        if missing := [name for name in required if not table.get(name)]:
            raise ValueError(f"{where}: {', '.join(missing)} is missing or empty")
        values = {name: _checked(value, str(known[name].type), f"{where}: {name}") for name, value in table.items()}
        values["commands"] = tuple(_command(each, commands, where) for each in values["commands"])
        yield Trouble(code=code, **values)


def _checked(value: object, kind: str, where: str) -> Any:
    """`value`, a list as a tuple, where it is of the kind that a field of Trouble is annotated with."""
    if kind.startswith("tuple"):
        item = {"str": str, "int": int}[kind[len("tuple[") : -len(", ...]")]]
        if isinstance(value, list) and value and all(type(each) is item for each in value):
            return tuple(value)
    elif type(value) is {"str": str, "bool": bool}[kind]:
        return value
    raise ValueError(f"{where} is not of the type {kind}")


def _command(text: str, commands: Mapping[str, str], where: str) -> str:
    if not text.startswith("@"):
        return text
    if text[1:] not in commands:
        raise ValueError(f"{where}: {text} is not in commands.toml")
    return commands[text[1:]]


def _read(name: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((resources.files("asgi_tls.explain") / "entries" / f"{name}.toml").read_text(encoding="utf-8"))
