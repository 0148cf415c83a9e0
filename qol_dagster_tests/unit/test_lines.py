"""Lines are taken out of files whole, once, and as they are, by the text that stands in them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from qol_dagster.engines.lines import copy_lines

LINES = st.lists(st.lists(st.sampled_from([b"ab", b"ba", b"a", b"-", b"\\", b"\r"]), max_size=5).map(b"".join))


def copied(folder: Path, contents: list[bytes], texts: list[bytes]) -> bytes:
    files = [folder / str(number) for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    copy_lines(files, texts, folder / "out")
    return (folder / "out").read_bytes()


@given(files=st.lists(st.tuples(LINES, st.sampled_from([b"", b"\n", b"\n\n"])), max_size=3))
def test_they_are_the_lines_that_a_look_at_each_finds(files: list[tuple[list[bytes], bytes]]) -> None:
    contents = [b"\n".join(lines) + end for lines, end in files]
    texts = [b"ab", b"\\"]
    wanted = [line for content in contents for line in content.split(b"\n") if any(text in line for text in texts)]
    with TemporaryDirectory() as folder:
        found = copied(Path(folder), contents, texts)
    assert found == b"".join(line + b"\n" for line in wanted)


def test_a_file_without_an_end_of_line_does_not_run_into_the_next(tmp_path: Path) -> None:
    assert copied(tmp_path, [b"one x", b"", b"two x\nthree\n"], [b"x"]) == b"one x\ntwo x\n"
