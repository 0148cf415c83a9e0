"""Fingerprints of stored data: the same objects give the same text, and any change of them another.

Belongs here: fingerprints of raw objects and weeks. What code made a row is `engines/fingerprint.py`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qol_dagster.lake.lake import RawObject


def raw_fingerprint(objects: Sequence[RawObject]) -> str:
    """Changes when a raw file of the date comes, goes or is written again."""
    digest = hashlib.sha256()
    for item in objects:
        digest.update(f"{item.key}\0{item.size}\0{item.etag}\n".encode())
    return digest.hexdigest()[:32]


def week_fingerprint(days: Iterable[str]) -> str:
    """Changes when the fingerprint of one of a week's contributing dates does; `days` are those, in order."""
    return hashlib.sha256("\0".join(days).encode()).hexdigest()[:32]


NO_RAW = raw_fingerprint(())
