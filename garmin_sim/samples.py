"""Sample maps as JSON text, {"offset s": value, …}, fast enough for thousands of values a day.

Belongs here: turning arrays into text. Each key and each value that can occur is written once, as a row of
bytes; a map is those rows put side by side without their padding.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from garmin_sim.physiology import Bools, Ints

Rows = npt.NDArray[np.uint8]

LOWEST = -5


def _rows(texts: list[str]) -> Rows:
    """Return texts as rows of bytes, padded with zero bytes."""
    width = max(map(len, texts))
    padded = b"".join(text.encode("ascii").ljust(width, b"\0") for text in texts)
    return np.frombuffer(padded, np.uint8).reshape(len(texts), width)


@cache
def _keys(step_s: int, count: int) -> Rows:
    return _rows([f'"{step_s * i}":' for i in range(count)])


@cache
def _integers() -> Rows:
    return _rows([f"{value}," for value in range(LOWEST, 256)])


@cache
def _hundredths() -> Rows:
    return _rows([f"{value / 100}," for value in range(4001)])


def _render(keys: Rows, values: Rows) -> str:
    if not len(keys):
        return "{}"
    cells = np.concatenate([keys, values], axis=1).ravel()
    filled: bytes = cells[cells != 0].tobytes()
    return "{" + filled[:-1].decode("ascii") + "}"


def integer_map(step_s: int, values: Ints, seen: Bools | None = None) -> str:
    """Integers of -5..255, one each `step_s` seconds; where `seen` is false there is no sample."""
    keys = _keys(step_s, 86_400 // step_s)
    at = np.arange(len(values)) if seen is None else np.flatnonzero(seen)
    return _render(keys[at], _integers()[values[at].astype(np.intp) - LOWEST])


def hundredth_map(step_s: int, values: Ints, seen: Bools | None = None) -> str:
    """Hundredths of 0..4000, written as decimals; where `seen` is false there is no sample."""
    keys = _keys(step_s, 86_400 // step_s)
    at = np.arange(len(values)) if seen is None else np.flatnonzero(seen)
    return _render(keys[at], _hundredths()[values[at]])
