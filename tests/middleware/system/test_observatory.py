"""MDN's HTTP Observatory grades a page that TLSMiddleware serves with content="web"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from asgi_servers import KeyPair, running_hypercorn, running_uvicorn
from web_page import web_page

from asgi_tls.middleware import redirect_app

import demo as _  # isort: skip  # noqa: F401 -- it sets the path to the demo
from app import app as demo  # isort: skip

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.system


@pytest.mark.parametrize("app", [web_page(), demo], ids=["page", "demo"])
@pytest.mark.parametrize("run", [running_uvicorn, running_hypercorn])
def test_a_plus(node: Any, key_pair: KeyPair, run: Any, app: Any) -> None:
    with run(app, key_pair) as tls, run(redirect_app(hosts=["site.test"], https_port=tls)) as plain:
        arguments = ["site.test", str(plain), str(tls)]
        report = node.run("observatory.mjs", *arguments, NODE_EXTRA_CA_CERTS=str(key_pair.certificate))
    print(json.dumps(report, indent=1))
    assert report["verified"] is True
    assert [name for name, test in report["tests"].items() if not test["pass"]] == []
    assert (report["grade"], report["score"] >= 100) == ("A+", True)
