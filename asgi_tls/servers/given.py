"""What somebody has set, and where: the command line first, then the environment, then a file."""

from __future__ import annotations

import contextlib
import difflib
import os
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from asgi_tls.certificate.access import refusal
from asgi_tls.errors import ASGITLSError, ConfigurationError
from asgi_tls.files import expanded
from asgi_tls.servers.settings import BY_NAME, FLAG, LIST, OTHERS, PREFIX, SETTINGS, Setting

_FILE: Final = "asgi-tls.toml"
_PROJECT: Final = "pyproject.toml"
_HERE: Final = Path()
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

# Ways to say one thing: the one that is set in a higher place overrides the others in lower ones.
_ALTERNATIVES: Final = ({"certfile", "letsencrypt", "acme"}, {"ticket_secret", "ticket_secret_file"})
# What belongs to a setting of a lower place, and is overridden with it.
_OF_CERTFILE: Final = {"keyfile", "keyfile_password_file"}
_BELONGING: Final = {"certfile": _OF_CERTFILE, "acme": {name for name in BY_NAME if name.startswith("acme_")}}


@dataclass(frozen=True)
class Given:
    """The value of each setting that somebody has set, and the word for each setting: `--tls-groups` where it was set
    on the command line or could be, `ASGI_TLS_GROUPS`, or `groups in asgi-tls.toml`.
    """

    values: Mapping[str, Any]
    words: Mapping[str, str]

    @property
    def quiet(self) -> Collection[str]:
        """The codes of notices that are not to be logged."""
        return frozenset(self.values.get("quiet", ()))

    @property
    def public_port(self) -> int | None:
        """The HTTPS port that clients connect to, None where it is the server's own."""
        return self.values.get("public_port")

    @contextlib.contextmanager
    def spelled(self) -> Iterator[None]:
        """Errors that are raised inside name the settings as the reader typed them."""
        try:
            yield
        except ASGITLSError as error:
            error.spell(lambda name: self.words.get(name, name))
            raise


@dataclass(frozen=True)
class _Layer:
    """What one place sets: texts by setting. Relative paths begin in `base`."""

    texts: Mapping[str, str | list[str]]
    words: Mapping[str, str]
    base: Path = _HERE

    def parsed(self, setting: Setting) -> Any:
        text = self.texts[setting.name]
        if setting.multiple:
            return [self._one(setting, part) for part in ([text] if isinstance(text, str) else text)]
        return self._one(setting, text if isinstance(text, str) else ":".join(text))

    def _one(self, setting: Setting, text: str) -> Any:
        if not text:
            raise _empty(self.words[setting.name])
        try:
            return setting.kind.parse(text, self.base)
        except (ValueError, LookupError, ConfigurationError) as error:
            fix = setting.kind.fix or getattr(error, "fix", "")
            raise ConfigurationError(f"{self.words[setting.name]} is {text!r}", fix=fix) from None


def read(
    options: Mapping[str, Any] | None = None,
    *,
    own: Mapping[str, tuple[str, Any]] = _NOTHING,
    environ: Mapping[str, str] | None = None,
) -> Given:
    """The settings of a command line, of the environment and of a file.

    `options` are what the command line gives for our options, by setting: text, a list of texts, True or False; None
    and () stand for an option that was not given. Without a command line of ours, `options` is None. `own` are the
    server's own options for some settings: how each is spelled, and what is given for it.

    Raises ConfigurationError, also for a variable and for a key that nothing reads: a misspelt policy must not be
    ignored.
    """
    words = {setting.name: setting.variable for setting in SETTINGS}
    if options is not None:
        words |= {setting.name: setting.option for setting in SETTINGS if setting.on_command_line}
    words |= {name: word for name, (word, _) in own.items()}
    for word, value in own.values():
        if value == "":
            raise _empty(word)
    ours = {**(options or {}), **{name: value for name, (_, value) in own.items() if name in BY_NAME}}
    command = _Layer({name: _text(value) for name, value in ours.items() if value is not None and value != ()}, words)
    variables = _from_environment(os.environ if environ is None else environ)
    path = command.texts.get("config") or variables.texts.get("config")
    file = _from_file(_found_file() if path is None else expanded(str(path)))
    values: dict[str, Any] = {}
    overridden: set[str] = set()
    lower = [command, variables, file]
    while lower:
        layer = lower.pop(0)
        found = layer.texts.keys() - values.keys() - overridden
        for name in found:
            values[name] = layer.parsed(BY_NAME[name])
        overridden |= _overridden(values, lower)
        # What belongs to the certificate is to be set in the same place.
        beside = _OF_CERTFILE - values.keys() if "certfile" in found else set()
        words |= {name: layer.words[name] for name in found | beside}
    # Not the server's own option, which shows the password to others.
    words["password"] = words["keyfile_password_file"]
    return Given(values, words)


def _overridden(values: Mapping[str, Any], lower: Iterable[_Layer]) -> set[str]:
    """What lower places cannot add to these values."""
    names = {name for ways in _ALTERNATIVES if ways & values.keys() for name in ways} - values.keys()
    certfile = values.get("certfile")
    for layer in lower:
        # The same file again has the same key.
        if certfile and "certfile" in layer.texts and layer.parsed(BY_NAME["certfile"]) != certfile:
            names.add("certfile")
    return names.union(*(_BELONGING.get(name, ()) for name in names))


def _empty(word: str) -> ConfigurationError:
    return ConfigurationError(f"{word} is empty", fix="Set it to a value, or remove it.")


def _from_environment(environ: Mapping[str, str]) -> _Layer:
    known = {setting.variable: setting for setting in SETTINGS}
    texts: dict[str, str | list[str]] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHERS or not text:
            continue
        setting = known.get(variable)
        if setting is None:
            raise ConfigurationError(
                f"the environment sets {variable}, which is not a setting", fix=_suggestion(variable, known)
            )
        texts[setting.name] = text.split() if setting.multiple else text
    return _Layer(texts, {setting.name: setting.variable for setting in SETTINGS})


def _found_file() -> Path | None:
    """The file in the current directory."""
    return next((path for path in (Path(_FILE), Path(_PROJECT)) if path.is_file()), None)


def _from_file(path: Path | None) -> _Layer:
    if path is None:
        return _Layer({}, {})
    known = {setting.key: setting for setting in SETTINGS if setting.in_file}
    texts: dict[str, str | list[str]] = {}
    for key, value in _settings_in(path).items():
        setting = known.get(key)
        if setting is None:
            raise ConfigurationError(f"{path} sets {key!r}, which is not a setting", fix=_suggestion(key, known))
        if isinstance(value, dict) or (isinstance(value, list) and not (setting.multiple or setting.kind is LIST)):
            kind = "table" if isinstance(value, dict) else "list"
            raise ConfigurationError(f"{key} in {path} is a {kind}", fix="Set it to one value.")
        if isinstance(value, bool) and setting.kind is not FLAG:  # as a text it would be the number 1 or 0
            fix = setting.kind.fix or "Set it to a value."
            raise ConfigurationError(f"{key} in {path} is {str(value).lower()}", fix=fix)
        texts[setting.name] = _text(value)
    return _Layer(texts, {setting.name: f"{setting.key} in {path}" for setting in SETTINGS}, path.parent)


def _settings_in(path: Path) -> dict[str, Any]:
    """What a settings file has, by key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        fix = f"Let this user {refusal(path)[1]}." if isinstance(error, PermissionError) else "Check the path."
        raise ConfigurationError(f"cannot read the settings file {path}: {error.strerror}", fix=fix) from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}", fix="Correct the file.") from None
    if path.name == _PROJECT:
        tools = document.get("tool")
        document = tools.get("asgi-tls", {}) if isinstance(tools, dict) else {}
        if not isinstance(document, dict):
            raise ConfigurationError(
                f"tool.asgi-tls in {path} is not a table", fix="Write [tool.asgi-tls], and the settings below it."
            )
    elif "tool" in document:
        raise ConfigurationError(
            f"{path} sets 'tool', and [tool.asgi-tls] belongs in {_PROJECT}",
            fix="Remove that line: here the settings stand at the top of the file.",
        )
    return document


def _text(value: Any) -> str | list[str]:
    if isinstance(value, bool):
        return "1" if value else "0"
    return [str(part) for part in value] if isinstance(value, list | tuple) else str(value)


def _suggestion(name: str, known: Iterable[str]) -> str:
    alike = {each.removeprefix(PREFIX): each for each in known}  # what all have in common would make any two alike
    bare = name.removeprefix(PREFIX)
    close = difflib.get_close_matches(bare.replace("_", "-") if bare.islower() else bare, alike, n=1)
    return f"Did you mean {alike[close[0]]}?" if close else f"Use one of {', '.join(sorted(known))}."
