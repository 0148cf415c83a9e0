"""An AWS on this machine: the templates deployed to an emulated one, for tests and for people.

Belongs here: starting the emulator (`server.py`), deploying to it (`deployment.py`), ticks of Dagster's daemon
(`daemon.py`), holding what Athena shows against the local engine (`comparison.py`), and what `make aws-local` and
`make aws-demo` do (`__main__.py`, `demo.py`). What is deployed is `infra/`'s, and nothing here knows how a week is
computed. Nobody but tests imports this room.
"""
