"""What every storage of ACME does, whatever keeps it."""

from __future__ import annotations

import pytest

from asgi_tls.renewal.acme.storage import Fence, StaleFenceError, Storage


def stores_the_last(storage: Storage) -> Fence:
    """What is stored last is there, and the holder of the lock is returned."""
    storage.check()
    fence = storage.lock("site", 60)
    assert fence is not None
    storage.store("certificates/a.pem", b"one", fence)
    storage.store("certificates/a.pem", b"two", fence)
    assert storage.load("certificates/a.pem") == b"two"
    assert storage.load("certificates/b.pem") is None
    return fence


def refuses(storage: Storage, replaced: Fence) -> None:
    """A holder that has been replaced changes nothing."""
    with pytest.raises(StaleFenceError):
        storage.store("account.pem", b"late", replaced)
    with pytest.raises(StaleFenceError):
        storage.delete("account.pem", replaced)
    with pytest.raises(StaleFenceError):
        storage.extend(replaced, 60)
