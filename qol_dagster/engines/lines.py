"""Taking out of raw files the lines in which certain text stands, before anything reads what they say.

Belongs here: bytes and lines. What a line means, and which text to look for, is the engine's.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

from qol_dagster.engines.odd_lines import BYTE_ORDER_MARK


def copy_lines(file: Path, texts: Sequence[bytes], target: Path) -> bool:
    """Write to `target` every line in which one of the texts stands, once, as it is, and return whether there is one.

    Without one there is no target. Raises OSError.
    """
    lines = [line.removesuffix(b"\n") + b"\n" for line in _lines_with(file, texts)]
    if lines:
        target.write_bytes(b"".join(lines))
    return bool(lines)


def _lines_with(file: Path, texts: Sequence[bytes]) -> Iterator[bytes]:
    if not file.stat().st_size:
        return  # of nothing there is no map
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        ends: dict[int, int] = {}
        for text in texts:
            end = 0
            while (hit := content.find(text, end)) >= 0:
                start = content.rfind(b"\n", 0, hit) + 1
                end = content.find(b"\n", hit) + 1 or len(content)
                ends[start] = end
        for start, end in sorted(ends.items()):
            line = content[start:end]
            yield line.removeprefix(BYTE_ORDER_MARK) if start == 0 else line
