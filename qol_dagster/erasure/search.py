"""A search over all bytes below a folder for a person's ids: what an erasure ends with, and its proof.

Belongs here: unpacking. A file is searched as it is, and what it holds: Parquet and SQLite by their values, ZIP and
gzip by their members. Nothing is changed.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qol_dagster.erasure.databases import MAGIC, naming_values
from qol_dagster.erasure.lines import GZIP
from qol_dagster.erasure.names import Person

DEEPEST = 3
"""Archives within archives that are opened."""
_COLUMNS = ("participant_id", "user_id")


@dataclass
class Searched:
    """How many files and bytes were looked at, and the paths, relative to the folder, that name the person."""

    files: int = 0
    bytes: int = 0
    found: list[Path] = field(default_factory=list)


def search(folder: Path, person: Person) -> Searched:
    """Look through all files below a folder, and all names of files and folders. What goes meanwhile is passed over."""
    result = Searched()
    for path in sorted(_files(folder)):
        try:
            size, is_found = path.stat().st_size, names_person(path, person, path.relative_to(folder))
        except FileNotFoundError:
            continue
        result.files += path.is_file()
        result.bytes += size if path.is_file() else 0
        if is_found:
            result.found.append(path.relative_to(folder))
    return result


def names_person(path: Path, person: Person, shown: Path | None = None) -> bool:
    """Return whether a file, or its name, names the person."""
    if person.is_named_in(str(shown or path.name).encode("utf-8", "surrogateescape")):
        return True
    if path.is_dir():
        return False
    content = path.read_bytes()
    if content_names(content, person):
        return True
    return content.startswith(MAGIC) and any(True for _ in naming_values(path, person))


def content_names(content: bytes, person: Person) -> bool:
    """Return whether bytes, or what is packed in them, name the person; in SQLite only as they are."""
    return person.is_named_in(content) or _unpacked_names(content, person, DEEPEST)


def _unpacked_names(content: bytes, person: Person, depth: int) -> bool:
    if content.startswith(b"PAR1"):
        return _parquet_names(content, person)
    if depth == 0:
        return False
    if content.startswith(GZIP):
        try:
            inner = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return False
        return person.is_named_in(inner) or _unpacked_names(inner, person, depth - 1)
    if content.startswith(b"PK\x03\x04"):
        return _zip_names(content, person, depth - 1)
    return False


def _zip_names(content: bytes, person: Person, depth: int) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                inner = archive.read(name)
                if person.is_named_in(name.encode()) or person.is_named_in(inner):
                    return True
                if _unpacked_names(inner, person, depth):
                    return True
    except (zipfile.BadZipFile, RuntimeError, zlib.error):
        return False
    return False


def _parquet_names(content: bytes, person: Person) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        texts = [one.name for one in file.schema_arrow if _is_text(one.type)]
        rows = file.read(texts, use_threads=False)
    except (OSError, pa.ArrowException):
        return False
    metadata = b" ".join(value for pair in (file.schema_arrow.metadata or {}).items() for value in pair)
    if person.is_named_in(metadata):
        return True
    for name in texts:
        values = [str(one) for one in rows[name].unique().to_pylist() if one is not None]
        if name in _COLUMNS and any(one in person.participants or person.is_user(one) for one in values):
            return True
        if person.is_named_in("\n".join(values).encode("utf-8", "surrogatepass")):
            return True
    return False


def _is_text(type_: object) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(type_):
        return _is_text(type_.value_type)  # type: ignore[attr-defined]
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if (path.is_file() or path.is_dir()) and not path.is_symlink():
            yield path
