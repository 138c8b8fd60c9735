"""A real handshake between two contexts, without sockets: each side's bytes are carried over by hand."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class Ends:
    """Both ends of a finished handshake."""

    client: ssl.SSLObject
    server: ssl.SSLObject


def handshake(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    *,
    server_name: str | None = "localhost",
    session: ssl.SSLSession | None = None,
) -> Ends:
    """Shake hands. Raises what the client raises, else what the server raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=server_name, session=session)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    failed: ssl.SSLError | None = None
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for end in (one, other):
            if end in done:
                continue
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                if end is one:
                    raise
                failed = failed or error  # let the client read the alert first
                done.add(end)
        if len(done) == 2 and failed is None:
            # A client certificate is judged after the client has finished: let it read what the server says.
            other.write(b"!")
            assert one.read(1) == b"!"
            return Ends(one, other)
        if failed is not None and one in done:
            one.read(1)
    raise failed or AssertionError("the handshake does not end")
