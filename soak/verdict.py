"""What came of a soak: the comparison with a home without faults, and what of it is not as it must be.

Belongs here: computing that home, and judging. How it is printed is `table.py`'s.
"""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from garmin_sim.lake import write_lake
from qol_dagster.lake.lake import Lake
from soak.comparison import Rows, compare_records, compare_rows, count_late_files, take_out
from soak.stage import FIRST
from soak.start import NEXT_VERSION
from soak.table import Outcome, Quarter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from soak.tally import Growth
    from soak.year import Year

COMPARED: tuple[Literal["daily", "weekly"], ...] = ("daily", "weekly")
BOUND = 1.5
"""What the last quarter may grow by, or use, beside the second."""


def judge(year: Year) -> Outcome:
    """Compute everything without faults, and compare."""
    reference = _without_faults(year)
    records = compare_records(reference, year.box.lake, year.erased)
    daily, weekly = (compare_rows(reference, year.box.lake, table) for table in COMPARED)
    runs = year.by_daemon.history.runs()
    year.due.alerts["run_failed"] = year.by_daemon.count_failed_runs()
    year.tally.late_files = count_late_files(year.box.lake)
    quarters = _quarters(year.tally.growth)
    outcome = Outcome(
        year.tally,
        records,
        daily,
        weekly,
        len(runs),
        sum(run.starts_again is True for run in runs),
        +year.due.alerts,
        +year.mails.alerts,
        quarters,
        (),
    )
    return outcome.with_failures(_failures(outcome, _old_partitions(year.box.lake)))


def _without_faults(year: Year) -> Path:
    home = year.box.folder / "reference"
    home.mkdir()
    year.note("the same without faults, to compare with")
    write_lake(year.sim, home / "lake")
    year.tally.withheld = take_out(home / "lake", year.cloud.withheld())
    enrolled = [one for one in year.enrolments if one.first_user_id not in year.erased]
    now, begin = year.clock.now(), datetime.combine(FIRST, datetime.min.time(), UTC)
    early = [one for one in enrolled if one.at <= begin]  # among them all who leave: first they are enrolled
    for at, people in ((begin, early), (now, [one for one in enrolled if one.at > begin])):
        year.clock.set(at.timestamp())
        _run(year, home, "participants", "import", str(year.people(people)))
    weeks = ("--week", FIRST.isoformat(), "--until", year.mondays[-1].isoformat())
    _run(year, home, "materialize", *weeks)
    return home / "lake"


def _run(year: Year, home: Path, *command: str) -> None:
    if year.box.run(*command, home=home):
        year.tally.commands_that_failed.append(f"without faults: qol {command[0]}")


def _old_partitions(folder: Path) -> int:
    """Return how many weekly partitions are not of the last release."""
    lake = Lake.local(folder)
    made = [lake.partition_metadata("weekly", week) or {} for week in lake.table_dates("weekly")]
    return sum(one.get("metrics_version") != NEXT_VERSION for one in made)


def _quarters(weeks: Sequence[Growth]) -> dict[str, Quarter]:
    """Return the second and the last quarter of what grows by the week, and of what is used at the end of one."""
    size = max(1, len(weeks) // 4)
    second, last = slice(size, 2 * size), slice(len(weeks) - size, None)
    grows = {
        name: [after - before for before, after in zip([0.0, *values], values, strict=False)]
        for name, values in {
            "raw, MB a week": [week.raw_mb for week in weeks],
            "tables and records, MB a week": [week.other_mb for week in weeks],
            "Dagster's storage, MB a week": [week.dagster_mb for week in weeks],
        }.items()
    }
    used: dict[str, Sequence[float | None]] = {
        "receiver, MB of memory": [week.receiver_mb for week in weeks],
        "receiver, open files": [week.receiver_handles for week in weeks],
        "daemon, MB of memory": [week.daemon_mb for week in weeks],
        "daemon, open files": [week.daemon_handles for week in weeks],
    }
    measured: dict[str, Sequence[float | None]] = {**grows, **used}
    return {name: Quarter(_mean(values[second]), _mean(values[last])) for name, values in measured.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _failures(outcome: Outcome, old_partitions: int) -> tuple[str, ...]:
    rows = (outcome.daily, outcome.weekly)
    found = {
        f"records lost: {outcome.records.lost}": outcome.records.lost,
        f"records counted twice: {outcome.twice}": outcome.twice,
        f"rows that differ, as {_first(rows)}": sum(len(one.different) for one in rows),
        f"weeks of the old release: {old_partitions}": old_partitions,
        f"alerts due and sent differ: {dict(outcome.due)}, {dict(outcome.sent)}": outcome.due != outcome.sent,
        f"commands: {', '.join(outcome.tally.commands_that_failed)}": outcome.tally.commands_that_failed,
    }
    unbounded = [
        f"growth is not bounded: {name}" for name, one in outcome.quarters.items() if not one.is_bounded(BOUND)
    ]
    return (*(text for text, wrong in found.items() if wrong), *unbounded)


def _first(rows: Sequence[Rows]) -> str:
    return next((one.different[0] for one in rows if one.different), "none")
