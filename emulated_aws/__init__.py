"""An AWS on this machine: the templates deployed to an emulated one, for tests and for people.

Belongs here: starting the emulator (`server.py`) and deploying to it (`deployment.py`). What is deployed is `infra/`'s,
and nothing here knows how a week is computed. Nobody but tests imports this room.
"""
