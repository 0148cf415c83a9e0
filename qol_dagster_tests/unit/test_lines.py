"""Lines are taken out of files whole, once, and as they are, by the text that stands in them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from qol_dagster.engines.lines import copy_lines

LINES = st.lists(st.lists(st.sampled_from([b"ab", b"ba", b"a", b"-", b"\\", b"\r"]), max_size=5).map(b"".join))


def copied(folder: Path, contents: list[bytes], texts: list[bytes]) -> list[bytes | None]:
    """What becomes of each content: the copy, or None."""
    found: list[bytes | None] = []
    for number, content in enumerate(contents):
        file, target = folder / str(number), folder / f"out-{number}"
        file.write_bytes(content)
        assert copy_lines(file, texts, target) == target.exists()
        found.append(target.read_bytes() if target.exists() else None)
    return found


@given(files=st.lists(st.tuples(LINES, st.sampled_from([b"", b"\n", b"\n\n"])), max_size=3))
def test_they_are_the_lines_that_a_look_at_each_finds(files: list[tuple[list[bytes], bytes]]) -> None:
    contents = [b"\n".join(lines) + end for lines, end in files]
    texts = [b"ab", b"\\"]
    wanted = [
        b"".join(line + b"\n" for line in content.split(b"\n") if any(text in line for text in texts)) or None
        for content in contents
    ]
    with TemporaryDirectory() as folder:
        assert copied(Path(folder), contents, texts) == wanted


def test_a_line_without_an_end_gets_one_and_a_byte_order_mark_is_left_behind(tmp_path: Path) -> None:
    contents = [b"one x", b"", b"two x\nthree\n", b"\xef\xbb\xbfx\nno\n"]
    assert copied(tmp_path, contents, [b"x"]) == [b"one x\n", None, b"two x\n", b"x\n"]
