"""Where backups are: a folder, or a bucket.

Belongs here: writing, reading and removing files by name, whole or not at all. What a manifest is, and which archives
make a backup, is `backup.py`'s. What a bucket refuses is an OSError, as what a disk refuses.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from qol_dagster.lake.lease import locked
from qol_dagster.lake.shared_object import reason
from qol_ingest.shared import files, keys

CHUNK = 1 << 20
ARCHIVES = f"{keys.ARCHIVES}/"


class BackupStore(Protocol):
    """The files of backups by name, which holds no slash. Everything raises OSError."""

    @property
    def place(self) -> str:
        """Where that is, for people."""

    def writing(self) -> AbstractContextManager[Path]:
        """Wait for whoever else writes there, clear what a killed one left, and yield a folder for what is not done."""

    def names(self) -> list[str]:
        """Return the names of all files, in order; none of a place that is not there yet."""

    def read(self, name: str) -> bytes:
        """Return a small file's content."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a small file that is not there yet; False if it is."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a small file, in place of any other."""

    def put(self, file: Path, name: str) -> None:
        """Give a file from the folder of `writing` its place."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file, of which every byte is read."""

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file for reading anywhere in it."""


@dataclass(frozen=True)
class FolderStore:
    """A folder, which is made when something is written. See `BackupStore`."""

    folder: Path

    @property
    def place(self) -> str:
        """See `BackupStore`."""
        return str(self.folder)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """See `BackupStore`. The folder is for its owner alone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.folder / ".lock"):
            for leftover in self.folder.glob(".*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
                leftover.unlink(missing_ok=True)
            yield self.folder

    def names(self) -> list[str]:
        """See `BackupStore`."""
        return sorted(one.name for one in self.folder.glob("[!.]*")) if self.folder.is_dir() else []

    def read(self, name: str) -> bytes:
        """See `BackupStore`."""
        return (self.folder / name).read_bytes()

    def create(self, name: str, content: bytes) -> bool:
        """See `BackupStore`."""
        return files.write_new(self.folder / name, content)

    def replace(self, name: str, content: bytes) -> None:
        """See `BackupStore`."""
        files.replace(self.folder / name, content)

    def put(self, file: Path, name: str) -> None:
        """See `BackupStore`."""
        with file.open("rb") as content:
            os.fsync(content.fileno())
        file.replace(self.folder / name)
        files.sync_folder(self.folder)

    def remove(self, name: str) -> None:
        """See `BackupStore`."""
        (self.folder / name).unlink(missing_ok=True)

    def sha256(self, name: str) -> str:
        """See `BackupStore`."""
        return sha256_of(self.folder / name)

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """See `BackupStore`."""
        with (self.folder / name).open("rb") as file:
            yield file


@dataclass(frozen=True)
class BucketStore:
    """What is below `archives/` in a bucket. See `BackupStore`.

    Under Object Lock nothing is ever gone at once: what is replaced or removed here stays as an older version until
    the lock's end. `lock`: held by whoever writes. `work`: a folder of this machine, which has to take an archive.
    """

    store: Any
    bucket: str
    work: Path
    lock: Callable[[], AbstractContextManager[None]]

    @property
    def place(self) -> str:
        """See `BackupStore`."""
        return f"s3://{self.bucket}/{ARCHIVES.rstrip('/')}"

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """See `BackupStore`."""
        with self.lock(), self._working() as work:
            yield work

    def names(self) -> list[str]:
        """See `BackupStore`."""
        with self._faults(ARCHIVES):
            found = [item["path"] for batch in self.store.list(ARCHIVES) for item in batch]
        return sorted(key.removeprefix(ARCHIVES) for key in found)

    def read(self, name: str) -> bytes:
        """See `BackupStore`."""
        with self._faults(name):
            return bytes(self.store.get(ARCHIVES + name).bytes())

    def create(self, name: str, content: bytes) -> bool:
        """See `BackupStore`."""
        from obstore.exceptions import AlreadyExistsError

        with self._faults(name):
            try:
                self.store.put(ARCHIVES + name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def replace(self, name: str, content: bytes) -> None:
        """See `BackupStore`."""
        with self._faults(name):
            self.store.put(ARCHIVES + name, content, use_multipart=False)

    def put(self, file: Path, name: str) -> None:
        """See `BackupStore`. It is read back."""
        with self._faults(name):
            self.store.put(ARCHIVES + name, file)
        if self.sha256(name) != sha256_of(file):
            raise OSError(errno.EIO, "S3 has other bytes than it was sent", name)

    def remove(self, name: str) -> None:
        """See `BackupStore`. In a bucket with versions it is marked as deleted."""
        with self._faults(name):
            self.store.delete(ARCHIVES + name)

    def sha256(self, name: str) -> str:
        """See `BackupStore`."""
        digest = hashlib.sha256()
        with self._faults(name):
            for chunk in self.store.get(ARCHIVES + name).stream(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """See `BackupStore`. It is copied to this machine: a ZIP is read in many small pieces."""
        with self._working() as work, (work / "archive.zip").open("w+b") as file:
            with self._faults(name):
                for chunk in self.store.get(ARCHIVES + name).stream(CHUNK):
                    file.write(chunk)
            file.seek(0)
            yield file

    @contextmanager
    def _working(self) -> Iterator[Path]:
        self.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.work) as work:
            yield Path(work)

    @contextmanager
    def _faults(self, name: str) -> Iterator[None]:
        """Raise what obstore raises as an OSError."""
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from None
        except OSError:
            raise
        except Exception as error:
            raise OSError(errno.EIO, f"S3 says {reason(error)}", name) from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
