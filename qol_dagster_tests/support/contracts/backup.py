"""What every backup does, of a home and of a deployment, by the fixture `place`."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import pytest

from qol_dagster.maintenance.archives import DamagedBackupError
from qol_dagster.maintenance.backup import Backup, create_backup, find_backup, list_backups, verify_backup
from qol_dagster.maintenance.contents import HomeFile, Source
from qol_dagster.maintenance.restore import restore_backup
from qol_dagster.maintenance.stores import BackupStore

OCTOBER, NOVEMBER = "lake/raw/daily/date=2026-10-30/a.jsonl", "lake/raw/daily/date=2026-11-16/a.jsonl"
HISTORY, FREEZE = "lake/history/weekly/date=2026-11-16/0a.parquet", "lake/freezes/paper-1.json"
CONTENT = {OCTOBER: b'{"a": 1}\n', NOVEMBER: b'{"b": 1}\n', HISTORY: b"PAR1", FREEZE: b"{}", "erasures.key": b"key"}
CONTENT |= {"erasures.jsonl": b'{"one": 1}\n', "erasures/1.json": b"{}", "survey/whoqol.ja.toml": b"x = 1"}
"""What a place is filled with, by its name in a home; nothing of it is secret."""


class Place(Protocol):
    """What is backed up, and where backups of it are."""

    source: Source
    store: BackupStore

    def put(self, name: str, content: bytes) -> None:
        """Write what has this name in a home."""

    def remove(self, name: str) -> None:
        """Remove it."""

    def erasing(self) -> AbstractContextManager[None]:
        """Hold what an erasure of a person holds."""

    def put_archive(self, name: str, content: bytes | None) -> None:
        """Put other bytes into the place of a file of the backups, or none."""


def restored(place: Place, backup: Backup, home: Path, **more: Any) -> dict[str, bytes]:
    restore_backup(place.store, backup, home, **{"replay": lambda _home: 0, **more})
    files = (one for one in home.rglob("*") if one.is_file() and one.suffix != ".sqlite")
    return {one.relative_to(home).as_posix(): one.read_bytes() for one in files}


def parts(archives: Any) -> list[str]:
    return [one.part for one in archives]


def test_what_is_restored_to_a_home_is_what_there_was(place: Place, tmp_path: Path) -> None:
    made = create_backup(place.source, place.store)
    assert (parts(made.written), made.unknown) == (["state", "2026-10", "2026-11"], ())
    found = find_backup(place.store)
    assert (found.name, found.archives, bool(found.verified_at)) == (made.backup.name, made.backup.archives, True)
    assert restored(place, found, tmp_path / "new") == CONTENT


def test_what_has_not_changed_is_not_written_again_and_what_has_is(place: Place, tmp_path: Path) -> None:
    create_backup(place.source, place.store)
    again = create_backup(place.source, place.store)
    assert (again.written, again.unchanged) == ((), 3)
    place.put(OCTOBER, b'{"a": 2}\n')
    assert parts(create_backup(place.source, place.store).written) == ["2026-10"]
    place.remove(NOVEMBER)
    place.remove(HISTORY)
    last = create_backup(place.source, place.store)
    assert (parts(last.written), last.backup.months) == ([], ["2026-10"])
    assert [verify_backup(place.store, one) for one in list_backups(place.store)] == [[]] * 4
    kept = restored(place, last.backup, tmp_path / "new")
    assert kept == {name: content for name, content in CONTENT.items() if name not in (NOVEMBER, HISTORY)} | {
        OCTOBER: b'{"a": 2}\n'
    }


def test_damage_is_named_nothing_damaged_is_restored_and_the_next_backup_mends_it(place: Place, tmp_path: Path) -> None:
    made, store = create_backup(place.source, place.store).backup, place.store
    name = next(one.file for one in made.archives if one.part == "2026-10")
    with store.opened(name) as file:
        content = bytearray(file.read())
    (member,) = (one for one in zipfile.ZipFile(BytesIO(content)).infolist() if one.filename == OCTOBER)
    cut = bytes(content[:-50])
    content[member.header_offset + 30 + len(OCTOBER)] ^= 0xFF
    for damaged, problem in (
        (bytes(content), f"{OCTOBER} is damaged"),
        (cut, "its list of members cannot be read"),
        (None, "is missing"),
    ):
        place.put_archive(name, damaged)
        assert verify_backup(store, made) == [f"{name}: {problem}"]
        assert find_backup(store).verified_at is None
        with pytest.raises(DamagedBackupError) as error:
            restore_backup(store, made, tmp_path / "new", replay=lambda _home: 0)
        assert str(error.value).startswith(f"{store.place}/{name}: {problem}; nothing was restored.")
        assert not (tmp_path / "new").exists()
    assert parts(create_backup(place.source, store).written) == ["2026-10"]
    assert verify_backup(store, made) == []  # the archive is the same that it was


def test_what_comes_is_replaced_or_goes_while_it_is_backed_up_is_in_it_as_it_is_then(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, read = type(place.source).read, 0

    def changed_meanwhile(source: Source, files: Any, work: Path) -> Iterator[tuple[HomeFile, HomeFile | None, Any]]:
        nonlocal read
        read += 1
        if read == 1:
            place.remove(FREEZE)
        if read == 2:
            place.put(OCTOBER, b'{"a": 22}\n')
            place.put("lake/raw/daily/date=2026-10-31/late.jsonl", b"{}\n")
        yield from reading(source, files, work)

    monkeypatch.setattr(type(place.source), "read", changed_meanwhile)
    made = create_backup(place.source, place.store).backup
    assert verify_backup(place.store, made) == []
    found = restored(place, made, tmp_path / "new")
    assert (found[OCTOBER], found["lake/raw/daily/date=2026-10-31/late.jsonl"]) == (b'{"a": 22}\n', b"{}\n")
    assert FREEZE not in found


def test_two_at_once_wait_for_each_other_and_both_are_whole(place: Place) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: create_backup(place.source, place.store).backup, range(2)))
    assert sorted(one.name for one in made) == [one.name for one in list_backups(place.store)]
    assert len({one.name for one in made}) == 2
    assert [verify_backup(place.store, one) for one in made] == [[], []]


def test_a_backup_waits_for_an_erasure_which_would_not_see_it(place: Place) -> None:
    with ThreadPoolExecutor(1) as pool:
        with place.erasing():
            making = pool.submit(create_backup, place.source, place.store)
            assert wait([making], 0.3).not_done
            assert list_backups(place.store) == []
        assert making.result().backup.name == find_backup(place.store).name


class KilledError(BaseException):
    """The process ended here."""


def test_ended_at_any_write_the_backups_before_are_whole_and_the_next_one_is_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create_backup(place.source, place.store).backup
    left = [0]

    def ending(write: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
        def write_or_end(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and not after:
                raise KilledError
            done = write(*arguments)
            if left[0] == 0:
                raise KilledError
            return done

        return write_or_end

    store = type(place.store)
    writes = {name: getattr(store, name) for name in ("put", "create", "replace")}
    for after in (False, True):
        for number in range(1, 4):  # an archive, the manifest, and that it was verified
            place.put(OCTOBER, f'{{"a": {number}, "b": {int(after)}}}\n'.encode())
            with monkeypatch.context() as patched:
                for name, write in writes.items():
                    patched.setattr(store, name, ending(write, after=after))
                left[0] = number
                with pytest.raises(KilledError):
                    create_backup(place.source, place.store)
            found = list_backups(place.store)
            assert found[0].name == first.name
            assert [verify_backup(place.store, one) for one in (found[0], found[-1])] == [[], []]
    last = create_backup(place.source, place.store).backup
    assert verify_backup(place.store, last) == []
    assert last.months == ["2026-10", "2026-11"]


def test_who_left_since_then_is_in_the_ledger_before_anything_can_be_read(place: Place, tmp_path: Path) -> None:
    made = create_backup(place.source, place.store).backup
    (newer := tmp_path / "newer").mkdir()
    (newer / "erasures.key").write_bytes(b"key")
    (newer / "erasures.jsonl").write_bytes(b'{"one": 1}\n{"two": 2}\n')
    new, seen = tmp_path / "new", []
    found = restored(
        place,
        made,
        new,
        ledger=newer / "erasures.jsonl",
        replay=lambda home: seen.append((new.exists(), (home / "erasures.jsonl").read_bytes())),
    )
    assert seen == [(False, b'{"one": 1}\n{"two": 2}\n')]
    assert found["erasures.jsonl"] == b'{"one": 1}\n{"two": 2}\n'
