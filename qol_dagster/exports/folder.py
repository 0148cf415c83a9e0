"""The folder of an export: written beside its place and then put into it, with the SHA-256 of every file.

Belongs here: what may be overwritten, and how. What is in the files is the formats'.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qol_dagster.exports import ExportError

CHECKSUMS = "SHA256SUMS"
MANIFEST = "export.json"
MADE_BY = "qol export"
_CHUNK = 1 << 20


@contextmanager
def new_folder(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` at the end, with checksums, unless the block fails.

    An earlier export is replaced whole. With `force`, what else is in `target` stays, and files of the same names are
    replaced. Raises ExportError when `target` holds anything else.
    """
    target = target.absolute()
    foreign = _foreign(target)
    if foreign and not force:
        raise ExportError(
            f"{target} holds {foreign[0]!r}, which is no file of an earlier export; choose another folder, or add "
            "--force to write beside it"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield new
        _write_checksums(new)
        if foreign:
            _put_beside(new, target)
        else:
            _swap(new, target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _write_checksums(folder: Path) -> None:
    lines = [f"{checksum(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / CHECKSUMS).write_text("".join(lines))
    for path in folder.iterdir():
        path.chmod(0o600)
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _foreign(folder: Path) -> list[str]:
    """Return the names in a folder that are no file of an export; all, if there is none."""
    if folder.exists() and not folder.is_dir():
        return [folder.name]
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    own = _listed(folder)
    return [name for name in names if name not in own]


def _listed(folder: Path) -> set[str]:
    """Return the names of the files of the export in a folder; none without one."""
    try:
        made_by = json.loads((folder / MANIFEST).read_text()).get("made_by")
        lines = (folder / CHECKSUMS).read_text().splitlines()
    except (OSError, ValueError, AttributeError):
        return set()
    return {CHECKSUMS, *(line[66:] for line in lines)} if made_by == MADE_BY else set()


def _swap(new: Path, target: Path) -> None:
    """Put a folder in the place of another. The old one is aside meanwhile, and comes back if that fails."""
    if not target.exists():
        new.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    target.rename(aside)  # over an empty folder
    try:
        new.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _put_beside(new: Path, target: Path) -> None:
    """Replace the files one by one, the checksums last: until then they name what is no longer so."""
    if not target.is_dir():
        raise ExportError(f"{target} is a file; name a folder")
    for name in _listed(target) - {path.name for path in new.iterdir()}:
        (target / name).unlink(missing_ok=True)
    for path in sorted(new.iterdir(), key=lambda path: path.name == CHECKSUMS):
        path.replace(target / path.name)
