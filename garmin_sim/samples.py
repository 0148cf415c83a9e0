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
    width = keys.shape[1]
    cells = np.empty((len(keys), width + values.shape[1]), np.uint8)
    cells[:, :width] = keys
    cells[:, width:] = values
    return "{" + cells.tobytes().translate(None, b"\0")[:-1].decode("ascii") + "}"


def integer_map(step_s: int, values: Ints, seen: Bools | None = None, first: int = 0) -> str:
    """Integers of -5..255, one each `step_s` seconds from slot `first` on; where `seen` is false there is none."""
    return _map(step_s, values.astype(np.intp) - LOWEST, _integers(), seen, first)


def hundredth_map(step_s: int, values: Ints, seen: Bools | None = None) -> str:
    """Hundredths of 0..4000, written as decimals; where `seen` is false there is no sample."""
    return _map(step_s, values, _hundredths(), seen, 0)


def _map(step_s: int, rows: Ints, texts: Rows, seen: Bools | None, first: int) -> str:
    keys = _keys(step_s, 86_400 // step_s + 1)[first:]
    if seen is None:
        return _render(keys[: len(rows)], texts.take(rows, axis=0))
    at = np.flatnonzero(seen)
    return _render(keys.take(at, axis=0), texts.take(rows.take(at), axis=0))
