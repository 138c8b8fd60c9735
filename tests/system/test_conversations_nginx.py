"""The same malformed conversations with nginx: where it answers otherwise, the reason stands here."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conversations import CONVERSATIONS
from files import Files
from launch import Launch
from patience import PATIENCE
from ports import free_port

pytestmark = pytest.mark.system

CONFIGURATION = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl; server_name localhost;
    ssl_certificate {certfile}; ssl_certificate_key {keyfile};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:prime256v1:secp384r1;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305;
    client_header_timeout 2s;
    return 200 "ok\\n";
  }}
}}
"""

# nginx looks at the first byte alone: whatever begins with another one than a handshake goes to its HTTP parser, which
# hangs up. RFC 8446 section 5 asks for unexpected_message, and gets it here.
NO_HANDSHAKE = "nginx takes it for plain HTTP"
DIFFERENCES = {
    "no TLS at all": NO_HANDSHAKE,
    "application data first": NO_HANDSHAKE,
    "heartbeat first": NO_HANDSHAKE,
    "change cipher spec first": NO_HANDSHAKE,
    "alert close_notify first": NO_HANDSHAKE,
    "fatal alert first": NO_HANDSHAKE,
    "an alert of one byte": NO_HANDSHAKE,
    "record version 5.5": "OpenSSL hangs up without an alert; here protocol_version is sent in its place",
    "a name that is no ASCII": "CPython cannot decode it, and ends the handshake",
}


@contextlib.contextmanager
def nginx(files: Files, directory: Path) -> Iterator[int]:
    port = free_port()
    path = directory / "nginx.conf"
    pair = files.ecdsa
    path.write_text(
        CONFIGURATION.format(directory=directory, port=port, certfile=pair.certfile, keyfile=pair.keyfile),
        encoding="utf-8",
    )
    command = ["nginx", "-c", str(path), "-e", str(directory / "error.log")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_every_difference_is_explained(files: Files, tmp_path: Path) -> None:
    launch = Launch("uvicorn", "uvloop")
    with nginx(files, tmp_path) as port, launch.start(files.ecdsa, {"handshake_timeout": str(PATIENCE)}) as server:
        ours = {each.name: each.hold(server.port) for each in CONVERSATIONS}
        theirs = {each.name: each.hold(port) for each in CONVERSATIONS}
    differ = {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}
    # An end and a reset are the same word, said more or less gently.
    differ = {name: pair for name, pair in differ.items() if {*pair} != {"closed", "reset"}}
    assert {*differ} <= {*DIFFERENCES}, {name: pair for name, pair in differ.items() if name not in DIFFERENCES}
