"""The middleware loads no framework and no header library before somebody asks."""

from __future__ import annotations

import subprocess
import sys


def test_secure_and_starlette_are_loaded_by_those_who_use_them() -> None:
    names = "{'secure', 'starlette', 'anyio', 'idna'}"
    program = f"import sys, asgi_tls.middleware; print(*sorted({names} & set(sys.modules)))"
    program += "; asgi_tls.middleware.SecurityHeadersMiddleware(None); print('secure' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["", "True", ""]
