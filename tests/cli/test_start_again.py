"""A command that starts again under an OpenSSL configuration, where Python cannot set groups and TLS 1.3 suites."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import out_of_reach
import pytest
from files import Files
from handshakes import client, connect
from launch import Launch
from servers import run, serve

from asgi_tls import MODERN, _openssl
from asgi_tls.cli import start_again

needs_configuration = pytest.mark.skipif(
    "native" in {_openssl.capabilities().groups, _openssl.capabilities().ciphersuites},
    reason="this Python sets groups and suites by itself",
)

BASES = {
    "none": None,
    "without sections": "# nothing\n",
    "Debian's": """
openssl_conf = openssl_init
[openssl_init]
providers = provider_sect
ssl_conf = ssl_sect
[provider_sect]
default = default_sect
legacy = legacy_sect
[default_sect]
activate = 1
[legacy_sect]
activate = 1
[ssl_sect]
system_default = system_default_sect
[system_default_sect]
MinProtocol = TLSv1.2
CipherString = DEFAULT:@SECLEVEL=2
Groups = P-521
""",
    "with providers alone": """
[ provider_sect ]
default = default_sect
legacy = legacy_sect
[ default_sect ]
activate = 1
[ legacy_sect ]
activate = 1
[ my_init ]
providers = provider_sect
[ default ]
openssl_conf = my_init # the last word
""",
}
LOOK = """
import hashlib, json, ssl, sys
from asgi_tls import MODERN
from asgi_tls.context import proof
from asgi_tls.context.policy import usable_groups
profile = MODERN.with_groups("P-384", "X25519").with_ciphersuites("TLS_AES_256_GCM_SHA384")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
print([each.what for each in proof.of_client(context, profile, profile.groups)], "md4" in hashlib.algorithms_available)
"""


@pytest.mark.parametrize("base", BASES)
def test_the_configuration_has_the_policy_and_all_that_was_there(tmp_path: Path, base: str) -> None:
    profile = MODERN.with_groups("P-384", "X25519").with_ciphersuites("TLS_AES_256_GCM_SHA384")
    path, own = tmp_path / "base.cnf", tmp_path / "own.cnf"
    text = BASES[base]
    if text is not None:
        path.write_text(text, encoding="ascii")
    own.write_text(start_again.configuration(profile, path), encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-c", LOOK], env={**os.environ, "OPENSSL_CONF": str(own)}, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    # MD4 comes from the legacy provider alone.
    assert found == f"[] {text is not None and 'legacy' in text}\n"


def started(files: Files, env: Mapping[str, str], *options: str, groups: str = "X25519") -> str:
    """Serve with one worker, look at it from outside, and return what it printed."""
    launch = Launch("uvicorn", "asyncio")
    ready, count = launch.readiness()
    command = launch.command(files.ecdsa, {"profile": "modern", "groups": groups}, *options)
    with serve(command, env=env, ready=ready, count=count) as server:
        assert f"Started server process [{server.process.pid}]" in server.text
        assert connect(server.port, client(groups=["P-521", "X25519"])).protocol == "TLSv1.3"
        for group in ("P-521", "X448", "P-256"):
            with pytest.raises(ssl.SSLError, match="(?i)handshake failure"):
                connect(server.port, client(groups=[group]))
        return server.text


@needs_configuration
def test_a_command_starts_again_once_in_the_same_process(files: Files, tmp_path: Path) -> None:
    env = out_of_reach.environment(tmp_path)
    text = started(files, env)
    assert text.count("Starting again with OPENSSL_CONF=") == 1
    assert "cannot apply" not in text
    (written,) = (tmp_path / "cache" / "asgi-tls" / "openssl").iterdir()
    assert f"OPENSSL_CONF={written}: " in text
    assert written.stat().st_mode & 0o077 == 0
    # A process that such a server starts inherits the variables, and may want another profile.
    inherited = dict.fromkeys(("OPENSSL_CONF",), str(written)) | {"ASGI_TLS_OPENSSL_CONF": f"{written.stem} /etc/none"}
    _, text = run(
        Launch("uvicorn", "asyncio").command(files.ecdsa, {"groups": "P-256"}, "--app-dir=/nowhere"),
        env=env | inherited,
    )
    assert text.count("Starting again with OPENSSL_CONF=") == 1
    assert len([*written.parent.iterdir()]) == 2


@needs_configuration
def test_without_a_home_the_file_is_a_temporary_one(files: Files, tmp_path: Path) -> None:
    env = out_of_reach.environment(tmp_path)
    (tmp_path / "cache").write_text("no directory", encoding="ascii")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    text = started(files, env | {"TMPDIR": str(temporary)})
    (path,) = re.findall(r"OPENSSL_CONF=(\S+):", text)
    assert Path(path).parent.parent == temporary
    assert not list(temporary.iterdir())  # it went with the server


@needs_configuration
def test_what_the_second_start_does_not_find_in_force_is_refused(files: Files, tmp_path: Path) -> None:
    """Here the configuration that is included fails, and with it the whole file."""
    broken = tmp_path / "broken.cnf"
    broken.write_text("openssl_conf = init\n[init]\nproviders = nowhere\n[broken\n", encoding="ascii")
    env = out_of_reach.environment(tmp_path) | {"OPENSSL_CONF": str(broken)}
    command = Launch("uvicorn", "asyncio").command(files.ecdsa, {"groups": "X25519"})
    status, text = run(command, env=env)
    assert status == 3
    assert "Error: This Python cannot apply all of profile intermediate to OpenSSL: it also allows" in text


@needs_configuration
def test_the_other_servers_start_again_as_well(files: Files, tmp_path: Path) -> None:
    env = out_of_reach.environment(tmp_path)
    for launch in (Launch("hypercorn", "asyncio"), Launch("gunicorn", "asgi")):
        ready, count = launch.readiness()
        with serve(launch.command(files.ecdsa, {"groups": "X25519"}), env=env, ready=ready, count=count) as server:
            assert connect(server.port, client(groups=["X25519"])).certificate
            with pytest.raises(ssl.SSLError, match="(?i)handshake failure"):
                connect(server.port, client(groups=["P-256"]))
            assert server.text.count("Starting again") == 1


def test_where_python_can_set_the_policy_nothing_starts_again(files: Files, tmp_path: Path) -> None:
    text = started(files, {"XDG_CACHE_HOME": str(tmp_path)})
    assert "Starting again" not in text
