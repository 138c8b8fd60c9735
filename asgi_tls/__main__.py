"""python -m asgi_tls"""

from asgi_tls.cli import main

main(prog_name="asgi-tls")
