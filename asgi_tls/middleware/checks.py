"""The types of settings. Values come from variables and files too: a wrong one is refused in words, and never used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asgi_tls.errors import ConfigurationError, check_type


def check_switch(name: str, value: object) -> None:
    """Raise ConfigurationError unless it is True or False: any string would count as True, "false" too."""
    check_type(name, value, bool, f"Write {name}=True or {name}=False, without quotes.")


def checked_strings(name: str, values: object, example: str) -> list[str]:
    """The strings of a list, or of any other iterable but a string."""
    if isinstance(values, str):
        raise ConfigurationError(f"{name} is the string {values!r}", fix=f"Write {name}=[{values!r}].")
    strings: list[Any] = [*values] if isinstance(values, Iterable) else [values]
    if not all(isinstance(each, str) for each in strings):
        raise ConfigurationError(f"{name} is {values!r}", fix=f'Write a list of strings, as in {name}=["{example}"].')
    return strings


def checked_mapping(name: str, value: object, example: str) -> Mapping[str, Any]:
    """A mapping whose keys are strings."""
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value):
        raise ConfigurationError(f"{name} is {value!r}", fix=f"Write a dict with strings as keys, as in {example}.")
    return value
