"""`asgi-tls check`: probes of a running server, findings, a grade, reports.

The way of it: `target` says whom to call, `run` asks (`hello`, `flight`, `prober`, `suites`, `groups`, `handshakes`,
`http`, `plain`) and keeps what it sees in `observed`; `judge_*` and `drift` turn that into `findings`, `grade` into one
letter, `report_*` into something to read. Only the first half touches the network, only the second has opinions.
"""
