"""The short form of the soak: some weeks in a box, each kind of fault once, with a fixed seed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from soak.alerts import Due
from soak.comparison import compare_records
from soak.plan import KINDS, deal
from soak.table import Quarter

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.soak
def test_weeks_with_every_fault_lose_nothing_count_nothing_twice_and_alert_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "soak", "--weeks", "3", "--participants", "8", "--seed", "1"]
    done = subprocess.run([*command, "--folder", tmp_path / "soak"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.startswith("seed 1; again: make soak WEEKS=3 PARTICIPANTS=8 SEED=1\n")
    table = dict(re.findall(r"^ *(\S.*?)  +(\S.*)$", done.stdout, re.MULTILINE))
    assert {name: table[name] for name in ("records lost", "counted twice")} == {
        "records lost": "0",
        "counted twice": "0",
    }
    assert re.findall("^  that differ +(.*)$", done.stdout, re.MULTILINE) == ["0", "0"]
    due, sent = table["alerts due / sent"].split(" / ")
    assert due == sent != "0"
    assert {kind: table[kind.replace("_", " ")] for kind in KINDS} == dict.fromkeys(KINDS, "1")


def test_each_kind_of_fault_comes_and_a_seed_deals_them_out_alike() -> None:
    dealt = deal(7, 12, [1, 4, 7, 11], 3)
    assert dealt == deal(7, 12, [1, 4, 7, 11], 3) != deal(8, 12, [1, 4, 7, 11], 3)
    assert {kind for kinds in dealt.values() for kind in kinds} == set(KINDS)
    assert sum(map(len, dealt.values())) == 36
    assert all("daemon_killed" not in dealt[week] for week in (0, 2, 3, 5, 6, 8, 9, 10))


def test_a_record_that_is_lost_or_there_twice_is_counted_and_when_it_was_received_is_not(tmp_path: Path) -> None:
    def write(zone: str, name: str, *lines: str) -> None:
        folder = tmp_path / zone / "raw/daily/date=2024-01-01"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    a, b, c = (f'{{"userId":"{user}","_received_at":"1","steps":2}}' for user in "abc")
    write("reference", "1.jsonl", a, b, c)
    write("lake", "2.jsonl", a.replace('"1"', '"9"'), a)
    write("lake", ".half.jsonl", b)
    found = compare_records(tmp_path / "reference", tmp_path / "lake", ['"c"'])
    assert (found.delivered, found.lost, found.twice) == (2, 1, 1)


def test_an_alert_is_due_when_more_is_unread_than_before_and_growth_is_bounded_by_half() -> None:
    due = Due()
    for bodies, files in ((0, 0), (1, 1), (1, 1), (3, 0), (3, 0), (3, 1)):
        due.unread(bodies, files)
    assert due.alerts["not_read"] == 3
    assert Quarter(100.0, 149.0).is_bounded(1.5)
    assert not Quarter(100.0, 151.0).is_bounded(1.5)
