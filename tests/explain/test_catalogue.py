"""Each trouble is complete, known by what is its own alone, and its commands exist."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import pytest
from error_page import page

from asgi_tls import errors
from asgi_tls.cli import main
from asgi_tls.explain import CATALOGUE, Trouble, explain
from asgi_tls.explain.index import as_name, index, squeezed
from asgi_tls.handshake import alerts
from asgi_tls.servers.settings import SETTINGS

TROUBLES = list(CATALOGUE.values())
OWN_CODES = sorted(
    kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ASGITLSError)
)
# What our own `tls_client_error` adds to OpenSSL's reasons: events.py.
OWN_EVENTS = ["HTTP_REQUEST", "UNRECOGNIZED_NAME", "HANDSHAKE_TIMEOUT", "CONNECTION_CLOSED", "NO_DATA", "REFUSED"]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.code)
def test_a_trouble_is_complete(trouble: Trouble) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", trouble.code)
    for sentence in (trouble.title, trouble.meaning, trouble.reference):
        assert sentence
        assert sentence == sentence.strip()
    assert not trouble.title.endswith(".")
    assert trouble.meaning.endswith(".")
    for name in ("causes", "fixes", "commands"):
        items = getattr(trouble, name)
        assert isinstance(items, tuple), name
        assert items, name
        assert all(len(item) > 5 and "\n" not in item for item in items)
    for field in dataclasses.fields(trouble):
        assert getattr(trouble, field.name) is not None
    for name in ("says", "names", "alerts", "verify", "curl", "net"):
        assert isinstance(getattr(trouble, name), tuple), name


def test_nothing_is_known_by_two() -> None:
    for kind in ("alerts", "verify", "curl", "net"):
        counted = Counter(number for trouble in TROUBLES for number in getattr(trouble, kind))
        assert not [number for number, count in counted.items() if count > 1], kind
    owners: dict[str, set[str]] = {}
    for trouble in TROUBLES:
        for name in (trouble.code, *trouble.names):
            owners.setdefault(as_name(name), set()).add(trouble.code)
        for number in trouble.alerts:
            owners.setdefault(alerts.NAMES.get(number, str(number)), set()).add(trouble.code)
    # The alert `certificate_expired` and our own error mean the same; these stand for two, and the code is meant.
    assert {name: codes for name, codes in owners.items() if len(codes) > 1} == {}
    said = Counter(squeezed(phrase) for trouble in TROUBLES for phrase in trouble.says)
    shared = {phrase for phrase, count in said.items() if count > 1}
    for phrase in shared:
        assert len({trouble.code for trouble in TROUBLES if phrase in map(squeezed, trouble.says)}) == 1, phrase


def test_wording_is_long_enough_not_to_be_found_by_chance() -> None:
    for trouble in TROUBLES:
        for phrase in trouble.says:
            assert len(squeezed(phrase)) >= 5, phrase
    assert all(all(parts) for parts, _ in index().wording)


@pytest.mark.parametrize("code", OWN_CODES)
def test_every_error_of_ours_is_explained(code: str) -> None:
    assert explain(code)[0].trouble.code == code
    assert explain(f"Error: something. Do that.\nMore: asgi-tls explain {code}")[0].trouble.code == code


@pytest.mark.parametrize("code", OWN_EVENTS)
def test_every_code_of_our_events_is_explained(code: str) -> None:
    (match,) = explain(code)
    (same,) = explain(f'{{"event": "tls_client_error", "code": "{code}", "ip": "192.0.2.1"}}')
    assert match.trouble is same.trouble


@pytest.mark.parametrize("number", sorted(alerts.NAMES))
def test_every_alert_is_explained(number: int) -> None:
    (match,) = explain(f"alert {number}")
    assert explain(alerts.NAMES[number])[0].trouble is match.trouble


def test_every_error_class_is_explained() -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.ASGITLSError):
            assert explain(kind.__name__)[0].trouble.code == kind.code


def _own_commands() -> list[str]:
    found: set[str] = set()
    for trouble in TROUBLES:
        prose = " ".join((trouble.meaning, *trouble.causes, *trouble.fixes))
        found |= {*re.findall(r"`asgi-tls ([a-z -]+)", prose)}
        found |= {command.removeprefix("asgi-tls ") for command in trouble.commands if command.startswith("asgi-tls ")}
    return sorted(found)


def test_some_commands_are_ours() -> None:
    assert {"doctor", "ca path"} <= {*_own_commands()}


@pytest.mark.parametrize("words", _own_commands())
def test_our_commands_exist(words: str) -> None:
    command: click.Command | None = main
    with click.Context(main) as context:
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(context, word)
            assert command is not None, words
    assert command is not main


def test_our_options_exist() -> None:
    texts = " ".join(
        text for trouble in TROUBLES for text in (trouble.meaning, *trouble.causes, *trouble.fixes, *trouble.commands)
    )
    assert {*re.findall(r"--tls-[a-z-]+", texts)} - {"--tls-profile"} <= {setting.option for setting in SETTINGS}


def test_commands_are_those_of_a_shell() -> None:
    for trouble in TROUBLES:
        for command in trouble.commands:
            assert shlex.split(command), command


def test_references_into_docs_lead_somewhere() -> None:
    root = Path(__file__).parents[2]
    for trouble in TROUBLES:
        for path in re.findall(r"(?:docs/)?[A-Za-z]+\.md", trouble.reference):
            assert (root / path).is_file(), path


def test_the_page_is_that_of_the_catalogue() -> None:
    written = (Path(__file__).parents[2] / "docs/errors.md").read_text(encoding="utf-8")
    assert written == page(), "run `python tests/support/error_page.py > docs/errors.md`"


def test_importing_it_brings_no_library() -> None:
    script = "import sys, asgi_tls.explain; print({'cryptography', 'click', 'uvicorn', 'rich'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"
