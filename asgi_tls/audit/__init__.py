"""`asgi-tls check`: audit a running server from outside.

Three rooms, one way: `probes` asks the server and returns `Observed`, `judges` turns that into findings and a grade,
`report` formats both. Only probes use the network, and only judges have opinions.
"""
