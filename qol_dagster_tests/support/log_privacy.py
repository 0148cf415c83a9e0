"""What no log line may hold, and the looking for it.

Belongs here: the rule. `conftest.py` holds every test to it, so that it holds for the whole run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

GARMIN_ID = re.compile(r"(?<![0-9A-Za-z-])[0-9a-f]{32}(?![0-9A-Za-z-])")
"""Garmin's user ids, real and simulated; Dagster's run ids have dashes, hashes of bodies twice the length."""
_CONFIDENTIAL = re.compile(r"(^|_)(SECRET|TOKEN|TOKENS|USER|USERS|STRANGER|OTHER|PASSWORD|CODE|VERIFIER)(_|$)")
_SHORTEST = 6
OURS = ("qol_dagster", "qol_ingest", "garmin_sim")


def confidential(module: ModuleType) -> frozenset[str]:
    """The secrets, tokens and users that a test module works with, by the names of its constants."""
    found: set[str] = set()
    for name, value in vars(module).items():
        if name.isupper() and _CONFIDENTIAL.search(name):
            found.update(one for one in _texts(value) if len(one) >= _SHORTEST)
    return frozenset(found)


def told(lines: Iterable[str], confidential: Iterable[str]) -> list[str]:
    """The lines that give something away."""
    wanted = list(confidential)
    return [line for line in lines if GARMIN_ID.search(line) or any(one in line for one in wanted)]


@contextmanager
def heard() -> Iterator[list[str]]:
    """Every line that is logged meanwhile, of our own rooms from DEBUG on, with traces."""
    lines: list[str] = []
    listener = _Listener(lines)
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in OURS}
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(listener)
    try:
        yield lines
    finally:
        root.removeHandler(listener)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


class _Listener(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple | set | frozenset):
        yield from (one for one in value if isinstance(one, str))
