"""What code made a row, as a fingerprint: it changes with what is computed, and not with how the code is written down.

Belongs here: fingerprints of code. They are taken from the compiled expressions and from this whole package, so that no
module can be forgotten and a comment makes no stored day stale. Those of stored data are `lake/fingerprints.py`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType

from qol_dagster.engines.queries import COUNTED, DAILY_STAGES


def records_fingerprint(engine: str, reading: str) -> str:
    """Changes with what raw lines are parsed to. `reading`: the SQL by which the engine of this name reads lines."""
    parts = (engine, reading, package_fingerprint(Path(__file__).parent))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def daily_fingerprint(sql: Mapping[str, str], reading: str) -> str:
    """Changes with what a daily row is computed by.

    `sql`: the compiled expressions by name. `reading`: the SQL by which an engine reads lines.
    """
    digest = hashlib.sha256(reading.encode())
    for name in (*DAILY_STAGES, "daily_rows", COUNTED):
        digest.update(f"\0{name}\0{sql[name]}".encode())
    digest.update(package_fingerprint(Path(__file__).parent).encode())
    return digest.hexdigest()[:16]


@cache
def package_fingerprint(folder: Path) -> str:
    """Changes with the code of any module below a folder, and with their names; not with comments and docstrings.

    What the compiler makes of a module is looked at, which has neither and is made quickly.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        name = file.relative_to(folder).as_posix()
        module = compile(file.read_bytes(), name, "exec", optimize=2, dont_inherit=True)
        digest.update("\0".join(("", name, *_parts(module))).encode())
    return digest.hexdigest()


def _parts(value: object) -> Iterator[str]:
    """Everything that a compiled module does, without where in its file it stands."""
    if isinstance(value, CodeType):
        yield f"{value.co_name} {value.co_code.hex()} {value.co_names} {value.co_varnames} {value.co_freevars}"
        for constant in value.co_consts:
            yield from _parts(constant)
    elif isinstance(value, frozenset):
        yield repr(sorted(map(repr, value)))  # its own order differs between processes
    else:
        yield repr(value)
