"""The folder of an export: whole or not at all, and never in the place of anything else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from qol_dagster.exports import ExportError
from qol_dagster.exports.folder import MADE_BY, new_folder


def write(target: Path, *, force: bool = False, **files: str) -> None:
    with new_folder(target, force=force) as folder:
        (folder / "export.json").write_text(json.dumps({"made_by": MADE_BY}))
        for name, text in files.items():
            (folder / name).write_text(text)


def found(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name not in ("export.json", "SHA256SUMS")}


def intact(folder: Path) -> bool:
    return subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder).returncode == 0


def test_a_new_folder_has_the_checksums_of_all_its_files_and_is_its_owners(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    write(target, a="1", b="2")
    assert found(target) == {"a": "1", "b": "2"}
    assert intact(target)
    listed = [line.split("  ")[1] for line in (target / "SHA256SUMS").read_text().splitlines()]
    assert listed == ["a", "b", "export.json"]
    assert (target.stat().st_mode & 0o077, (target / "a").stat().st_mode & 0o077) == (0, 0)
    (target / "a").write_text("3")
    assert not intact(target)


def test_an_earlier_export_is_replaced_with_all_its_files(tmp_path: Path) -> None:
    write(tmp_path / "out", a="1", b="2")
    write(tmp_path / "out", a="3")
    assert found(tmp_path / "out") == {"a": "3"}
    assert intact(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", a="1")
    assert found(tmp_path / "out") == {"a": "1"}


def test_a_folder_with_other_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ExportError, match=r"'thesis\.tex'.*--force"):
        write(tmp_path, a="1")
    assert found(tmp_path) == {"thesis.tex": "mine"}


def test_a_file_put_into_an_export_keeps_it_from_being_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out", a="1")
    (tmp_path / "out" / "analysis.R").write_text("mine")
    with pytest.raises(ExportError, match=r"'analysis\.R'"):
        write(tmp_path / "out", a="2")
    assert found(tmp_path / "out") == {"a": "1", "analysis.R": "mine"}


def test_force_writes_beside_other_files_and_removes_those_of_the_earlier_export_alone(tmp_path: Path) -> None:
    write(tmp_path / "out", a="1", b="2")
    (tmp_path / "out" / "analysis.R").write_text("mine")
    write(tmp_path / "out", force=True, a="3")
    assert found(tmp_path / "out") == {"a": "3", "analysis.R": "mine"}
    assert intact(tmp_path / "out")


@pytest.mark.parametrize("earlier", [True, False])
def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path, earlier: bool) -> None:
    if earlier:
        write(tmp_path / "out", a="1")
    with pytest.raises(TypeError):
        write(tmp_path / "out", a="half", b=None)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if earlier else [])
    assert not earlier or found(tmp_path / "out") == {"a": "1"}


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for force in (False, True):
        with pytest.raises(ExportError, match="out"):
            write(tmp_path / "out", force=force, a="1")
    assert (tmp_path / "out").read_text() == "mine"
