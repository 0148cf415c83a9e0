"""Archives: ZIP files with their own list of members, written whole or not at all, and read back byte by byte.

Belongs here: writing, verifying and unpacking one archive. Which files are in it is `contents.py`'s, and which archives
make a backup `backup.py`'s.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from qol_dagster.maintenance.contents import FORMAT, STATE, BackupError, HomeFile, Source, fingerprint
from qol_dagster.maintenance.stores import CHUNK, BackupStore, sha256_of
from qol_ingest.shared.errors import reason
from qol_ingest.shared.files import PRIVATE

MEMBERS = "manifest.json"
"""The member that lists the others."""
LARGE = 64 << 20
"""Bytes from which a file is not read as a whole."""
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


class DamagedBackupError(BackupError):
    """Bytes of a backup are not those that were written; the message says of which archive."""


class ChangedMeanwhileError(Exception):
    """A file was replaced or removed after it was listed."""


@dataclass(frozen=True)
class Member:
    """A file in an archive: its path in the home, SHA-256, size in bytes, and when it was written (ns since 1970).

    `tag`: of an object of S3, which computed days are noted with.
    """

    name: str
    sha256: str
    bytes: int
    modified_ns: int
    tag: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as it is listed: what has no tag has none there, as before there were any."""
        return {name: value for name, value in asdict(self).items() if name != "tag" or value}


@dataclass(frozen=True)
class Archive:
    """An archive as a manifest names it: `bytes` are its own, `content_bytes` those of its members."""

    part: str
    file: str
    bytes: int
    sha256: str
    fingerprint: str
    members: int
    content_bytes: int


def write_archive(source: Source, part: str, files: Sequence[HomeFile], store: BackupStore, work: Path) -> Archive:
    """Write the archive of a part, and read it back. Whole or not at all, also if the process is killed.

    The same files give the same bytes, so that an archive that was damaged can be written anew for all that name it.
    `work` is the folder that `store` yields. Raises ChangedMeanwhileError, and BackupError.
    """
    name, mark = archive_name(part, files), fingerprint(files)
    with _new_file(store, name, work) as temporary:
        with zipfile.ZipFile(temporary, "w", compresslevel=1) as archive:
            read = source.read(files, temporary.parent)
            members = [one for file, now, content in read if (one := _add(archive, part, file, now, content))]
            listed = {"format": FORMAT, "part": part, "members": [one.as_json() for one in members]}
            archive.writestr(_info(MEMBERS, 0), json.dumps(listed, ensure_ascii=False))
        if problems := damaged_members(temporary):
            where = f"{store.place}/{name}"
            raise DamagedBackupError(f"{where} was not written as it should be: {problems[0]}. Check the disk")
        size, sha256 = temporary.stat().st_size, sha256_of(temporary)
    return Archive(part, name, size, sha256, mark, len(members), sum(one.bytes for one in members))


def archive_name(part: str, files: Sequence[HomeFile]) -> str:
    """Return the name of the archive of a part that consists of these files."""
    return f"{part}.{fingerprint(files)[:16]}.zip"


def damaged_members(path: Path | IO[bytes]) -> list[str]:
    """Compare every member of an archive with the list in it, and return what is wrong, a line each."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = read_members(archive)
            problems = [f"{one.name} is damaged" for one in members if not _is_whole(archive, one)]
            strange = set(archive.namelist()) - {MEMBERS} ^ {one.name for one in members}
            return problems + [f"{name} is not in both the archive and its list" for name in sorted(strange)]
    except _UNREADABLE:
        return ["its list of members cannot be read"]


def read_members(archive: zipfile.ZipFile) -> list[Member]:
    """Return the members of an archive. Raises ValueError and others if the list is none."""
    listed = json.loads(archive.read(MEMBERS))
    members = [Member(**one) for one in listed["members"]]
    if any(PurePosixPath(one.name).is_absolute() or ".." in PurePosixPath(one.name).parts for one in members):
        raise ValueError("a member would be put outside the home")
    return members


def unpack_archive(store: BackupStore, name: str, home: Path) -> list[Member]:
    """Put the members of an archive into a home, with their times, and return them. Raises BackupError."""
    try:
        with store.opened(name) as file, zipfile.ZipFile(file) as archive:
            members = read_members(archive)
            for member in members:
                _unpack(archive, member, home)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise BackupError(f"{home} could not be written: {reason(error)}; nothing was restored") from error
        where = f"{store.place}/{name}"
        raise DamagedBackupError(f"{where} is damaged: its members cannot be read; nothing was restored") from error
    return members


@contextlib.contextmanager
def _new_file(store: BackupStore, name: str, work: Path) -> Iterator[Path]:
    """Yield a file to write, alone in a folder, which takes its place in the store at the end of the block."""
    work = work / f".{secrets.token_hex(8)}.tmp"
    try:
        work.mkdir(mode=0o700)
        temporary = work / name
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, PRIVATE))
        yield temporary
        store.put(temporary, name)
    except OSError as error:
        raise BackupError(
            f"{store.place}/{name} could not be written: {reason(error)}; the backups before it are whole",
            advice="Free some space, or mend the permissions, and create the backup again",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _add(
    archive: zipfile.ZipFile, part: str, file: HomeFile, now: HomeFile | None, content: IO[bytes]
) -> Member | None:
    """Add a file to an archive; None if it was of the state and is gone: what was done with it is done."""
    if part == STATE:
        return _write(archive, now, content) if now else None
    if now != file:
        raise ChangedMeanwhileError(file.name)
    return _write(archive, file, content)


def _write(archive: zipfile.ZipFile, file: HomeFile, content: IO[bytes]) -> Member:
    info = _info(file.name, file.modified_ns)
    if file.name.endswith(".parquet"):
        info.compress_type = zipfile.ZIP_STORED  # it is compressed already
    if file.size < LARGE:
        data = content.read()
        archive.writestr(info, data, compresslevel=1)
        return Member(file.name, hashlib.sha256(data).hexdigest(), len(data), file.modified_ns, file.tag)
    digest, written = hashlib.sha256(), 0
    with archive.open(info, "w", force_zip64=True) as member:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            written += member.write(chunk)
    return Member(file.name, digest.hexdigest(), written, file.modified_ns, file.tag)


def _info(name: str, modified_ns: int) -> zipfile.ZipInfo:
    """Return the head of a member. ZIP has times from 1980 on, of two seconds; the list of members has them whole."""
    info = zipfile.ZipInfo(name, max(time.gmtime(modified_ns // 10**9)[:6], (1980, 1, 1, 0, 0, 0)))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = PRIVATE << 16
    return info


def _is_whole(archive: zipfile.ZipFile, member: Member) -> bool:
    digest = hashlib.sha256()
    try:
        with archive.open(member.name) as content:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
    except _UNREADABLE:
        return False
    return digest.hexdigest() == member.sha256


def _unpack(archive: zipfile.ZipFile, member: Member, home: Path) -> None:
    path, digest = home / member.name, hashlib.sha256()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with archive.open(member.name) as content, os.fdopen(os.open(path, _NEW, PRIVATE), "wb") as file:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != member.sha256:
        raise ValueError(f"{member.name} is damaged")
    os.utime(path, ns=(member.modified_ns, member.modified_ns))


_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY
