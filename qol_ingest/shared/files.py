"""Files that are whole or not there: written beside their place and then put into it.

Belongs here: writing one so that no reader ever sees half of it, and keeping it through a power cut. What is in it, and
the words of an error, belong to the callers. Readers of a folder skip names that begin with a dot.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

PRIVATE, BY_UMASK = 0o600, 0o666
"""Who may read a new file: its owner, or whoever the umask allows."""


def write_new(path: Path, content: bytes, mode: int = PRIVATE) -> bool:
    """Write a file that is not there yet, safe on disk; False if there is one, which stays as it is. Raises OSError.

    Of several processes at a time one wins. A folder of that name is no such file: nothing would be stored.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists():
        return False
    with _beside(path, content, mode, sync=True) as temporary:
        try:
            os.link(temporary, path)  # a link, other than a rename, never replaces
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def replace(path: Path, content: bytes, mode: int = PRIVATE, *, sync: bool = True) -> None:
    """Write a file in place of any other, safe on disk unless `sync` is False. Raises OSError."""
    with _beside(path, content, mode, sync=sync) as temporary:
        temporary.replace(path)
    if sync:
        sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they are still there after a power cut. Raises OSError."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def in_the_way(path: Path) -> str:
    """Return what is in the place of a file or of a folder above it, and what to do; nothing if nothing is."""
    if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir may raise
        return f"{path} is a folder where a file belongs: move it away, or remove it"
    above = next(one for one in path.parents if os.path.lexists(one))
    if os.path.isdir(above):  # noqa: PTH112
        return ""
    return f"{above} is a file where a folder belongs: move it away, or remove it"


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _beside(path: Path, content: bytes, mode: int, *, sync: bool) -> Iterator[Path]:
    """Write a file for the time of the block, beside `path`: a link or a rename must not cross file systems."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or the content is in its place already
            temporary.unlink()
