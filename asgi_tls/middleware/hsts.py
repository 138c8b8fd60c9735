"""Strict-Transport-Security (RFC 6797)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware.checks import check_switch
from asgi_tls.profile import INTERMEDIATE

# hstspreload.org: the least age that the list accepts, in seconds.
PRELOAD_MIN_AGE = 31_536_000

# RFC 9111 section 1.2.2: how a client reads a number of seconds that is too large for it.
_LARGEST_AGE = 2**31

_MAX_AGE = re.compile(r'max-age=(?:([0-9]+)|"([0-9]+)")')
_FLAGS = frozenset({"includesubdomains", "preload"})


@dataclass(frozen=True, kw_only=True, slots=True)
class HSTS:
    """The HSTS policy of this host, which browsers keep for `max_age` seconds.

    `preload` asks to be built into browsers, which is hard to undo: it needs `include_subdomains` and a max_age of
    at least 31536000. A max_age of 0 makes browsers forget. Raises ConfigurationError when the settings contradict.
    """

    max_age: int = INTERMEDIATE.hsts_max_age
    include_subdomains: bool = True
    preload: bool = False

    def __post_init__(self) -> None:
        if type(self.max_age) is not int or self.max_age < 0:
            raise ConfigurationError(f"HSTS max-age is {self.max_age!r}", fix="Give a number of seconds.")
        for name in ("include_subdomains", "preload"):
            check_switch(name, getattr(self, name))
        if self.preload and not (self.include_subdomains and self.max_age >= PRELOAD_MIN_AGE):
            raise ConfigurationError(
                f"HSTS preload without its conditions: {self}",
                fix=f"Preloading needs includeSubDomains and a max-age of at least {PRELOAD_MIN_AGE}.",
            )

    @property
    def value(self) -> str:
        """The field value, such as `max-age=63072000; includeSubDomains`."""
        from secure.headers import StrictTransportSecurity

        field = StrictTransportSecurity().max_age(self.max_age)
        if self.include_subdomains:
            field.include_subdomains()
        if self.preload:
            field.preload()
        return field.header_value

    @classmethod
    def parse(cls, value: str) -> HSTS:
        """Read a field value (section 6.1): directives in any order and case, each once, max-age always.

        A directive that RFC 6797 and the preload list do not know is an error: browsers would ignore the misspelt word.
        """
        directives = [each.strip().lower() for each in value.split(";") if each.strip()]
        ages = [match[1] or match[2] for match in map(_MAX_AGE.fullmatch, directives) if match]
        flags = [each for each in directives if not _MAX_AGE.fullmatch(each)]
        if len(ages) != 1 or len({*flags}) != len(flags) or not _FLAGS.issuperset(flags):
            raise ConfigurationError(
                f"Strict-Transport-Security is {value!r}",
                fix="It needs max-age once, and may have includeSubDomains and preload, each once.",
            )
        digits = ages[0].lstrip("0") or "0"
        age = int(digits) if len(digits) < len(str(_LARGEST_AGE)) else _LARGEST_AGE
        return cls(max_age=age, include_subdomains="includesubdomains" in flags, preload="preload" in flags)
