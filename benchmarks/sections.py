"""What is measured: each section gives a table of figures with what it was held to.

Belongs here: which programs are run on which lake, and the ratios. All figures of a section come from one run.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from benchmarks.check import check
from benchmarks.lakes import LATE_NAME, UNTIL, Sample, one_day_in_files, simulated, week_with_traps
from benchmarks.programs import Cost, command, median, note, peer, qol, rounds, times_as_long
from qol_dagster.engines.queries import queries
from qol_dagster.metrics.profiles import PROFILES

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Figures of one section."""

    title: str
    head: Row
    rows: list[Row]
    goals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """Where to work, how often each program is run, and by what the sizes are divided for a quick look."""

    work: Path
    times: int = 3
    divide: int = 1

    @property
    def many(self) -> int:
        """How often, where the rounds' ratios lie far apart."""
        return 2 * self.times + 1

    def size(self, number: int) -> int:
        """Return a size of this run."""
        return max(1, number // self.divide)


def peers(setting: Setting) -> Table:
    """Ours beside the same tables in other ways; who does not give the same answers is not timed.

    The lake has every oddity that real data is known for: what stops at one is no way to do it.
    """
    samples = [week_with_traps(setting.work, setting.size(number)) for number in (200, 1000)]
    costs = [_compared(setting, sample, QUICK) for sample in samples]
    head = (f"{sample.participants:,} participants, {sample.megabytes:.0f} MB" for sample in samples)
    return Table(
        "Peers: one week, with every trap",
        ("program", *(title for sample in head for title in (sample, "ratio"))),
        [(name, *(cell for each in costs for cell in _beside_ours(each, name))) for name in QUICK],
        tuple(
            _goal(
                f"DuckDB engine / best of (a), (b), (e), {sample.participants:,} participants",
                max(times_as_long(each[QUICK[0]], each[name]) for name in QUICK[1:]),
                1.2,
            )
            for sample, each in zip(samples, costs, strict=True)
        ),
    )


def slow_peers(setting: Setting) -> Table:
    """Return the other programs beside ours, each run once."""
    sample = week_with_traps(setting.work, setting.size(200))
    costs = _compared(setting, sample, [QUICK[0], *(name for name in PEERS if name not in QUICK)])
    return Table(
        "Slow peers: one week, with every trap",
        ("program", f"{sample.participants:,} participants, {sample.megabytes:.0f} MB", "ratio"),
        [(name, *_beside_ours(costs, name)) for name in costs],
        (
            _goal(
                "(d) / DuckDB engine",
                times_as_long(costs["(d) PySpark, safe_get"], costs[QUICK[0]]),
                10,
                at_least=True,
            ),
        ),
    )


def _compared(setting: Setting, sample: Sample, names: Iterable[str]) -> dict[str, list[Cost]]:
    """Return the runs of each, one of ours first, whose answers have to be ours. The slow ones are run once."""
    ours, *_ = names
    runs = {name: partial(_beside, setting, sample, name) for name in names}
    costs = {}
    for name, run in runs.items():
        costs[name] = [run()]
        note(f"{name}: {check(_out(setting, ours), _out(setting, name)):,} values agree")
    return costs | rounds({name: run for name, run in runs.items() if name in QUICK}, setting.many)


def _beside_ours(costs: Mapping[str, list[Cost]], name: str) -> Row:
    return _s(median(costs[name]).wall_s), _x(times_as_long(costs[name], costs["qol, DuckDB"]))


def spark(setting: Setting) -> Table:
    """Return the two that use Spark, once, on data that is worth a cluster: starting its code takes half a minute."""
    sample = week_with_traps(setting.work, setting.size(1000))
    costs = _compared(setting, sample, ("qol, Spark", "(d) PySpark, safe_get"))
    ours, glue = costs.values()
    return Table(
        f"Spark: {sample.participants:,} participants, {sample.weeks} week(s), {sample.megabytes:.0f} MB",
        ("program", "wall", "ratio"),
        [(name, _s(median(runs).wall_s), _x(times_as_long(runs, ours))) for name, runs in costs.items()],
        (_goal("(d) / Spark engine", times_as_long(glue, ours), 3, at_least=True),),
    )


def _beside(setting: Setting, sample: Sample, name: str, people: Path | None = None, **variables: str) -> Cost:
    one, out = PEERS[name], _out(setting, name)
    who = people or sample.people
    return peer(one.module, sample.lake, who, out, apart=one.apart, BENCH_ENGINE=one.engine, **variables)


def _out(setting: Setting, name: str) -> Path:
    return setting.work / "out" / PEERS[name].module / PEERS[name].engine


@dataclass(frozen=True)
class Peer:
    """A program of `benchmarks/peers/`; `apart` where it needs packages that ours does not."""

    module: str
    engine: str = ""
    apart: bool = False


PEERS = {
    "qol, DuckDB": Peer("ours", "duckdb"),
    "qol, Spark": Peer("ours", "spark"),
    "(a) DuckDB SQL by hand": Peer("by_hand_duckdb"),
    "(b) Polars": Peer("by_hand_polars", apart=True),
    "(c) pandas": Peer("by_hand_pandas", apart=True),
    "(d) PySpark, safe_get": Peer("glue_spark"),
    "(e) ClickHouse SQL by hand": Peer("by_hand_chdb", apart=True),
}
QUICK = ("qol, DuckDB", "(a) DuckDB SQL by hand", "(b) Polars", "(e) ClickHouse SQL by hand")
"""Ours and those that it is held to."""


def job(setting: Setting) -> Table:
    """Return the whole command on few participants, beside a Dagster asset that does nothing."""
    sample = enrolled(simulated(setting.work, 20, 1))
    noop = partial(command, sys.executable, "-m", "benchmarks.noop", QOL_HOME=str(sample.home))
    programs: dict[str, Callable[[], Cost]] = {
        "no-op asset": noop,
        "no-op asset, process of `qol`": lambda: noop("--quick"),
        "qol materialize --week": partial(_computed, sample),
    }
    for run in programs.values():
        run()
    costs = rounds(programs, setting.many)
    base, whole = costs["no-op asset"], costs["qol materialize --week"]
    return Table(
        "The command: 20 participants, 1 week",
        ("program", "wall", "CPU", "ratio"),
        [
            (name, _s(median(runs).wall_s), _s(median(runs).cpu_s), _x(times_as_long(runs, base)))
            for name, runs in costs.items()
        ],
        (_goal("qol materialize / no-op asset", times_as_long(whole, base), 1.5),),
    )


def participants(setting: Setting) -> Table:
    """Return how a week's cost grows with the people in it."""
    rows, each = [], {}
    for number in (100, 1000, 5000):
        sample = enrolled(simulated(setting.work, setting.size(number), 1))
        cost = median([_computed(sample) for _ in range(setting.times if number < 5000 else 1)])
        each[number] = cost
        per = 1000 * cost.wall_s / sample.participants
        rows.append(
            (f"{sample.participants:,}", f"{sample.megabytes:,.0f}", _s(cost.wall_s), f"{per:.1f} ms", _mb(cost))
        )
    flat = each[5000].wall_s / each[1000].wall_s / 5
    return Table(
        "Participants: one week by `qol materialize --week`",
        ("participants", "MB", "wall", "per participant", "peak"),
        rows,
        (
            _goal("cost per participant, 5,000 / 1,000", flat, 1.15),
            _goal("peak GiB at 5,000 participants", each[5000].peak_mb / 1024, 2),
        ),
    )


def weeks(setting: Setting) -> Table:
    """Return how a backfill's cost grows with its weeks."""
    rows, each = [], {}
    for number in (1, 4, 26, 52):
        sample = enrolled(simulated(setting.work, 20, number))
        cost = median([_computed(sample) for _ in range(setting.times if number < 26 else 1)])
        each[number] = cost.wall_s / number
        rows.append((str(number), f"{sample.megabytes:,.0f}", _s(cost.wall_s), _s(each[number]), _mb(cost)))
    return Table(
        "Weeks: 20 participants, one run of `qol materialize --week --until`",
        ("weeks", "MB", "wall", "per week", "peak"),
        rows,
        (_goal("cost per week, 52 weeks / 1 week", each[52] / each[1], 0.35),),
    )


def years(setting: Setting) -> Table:
    """Return what the same question costs with a few weeks behind it and with five years, as CPU time.

    Both homes have five participants: what grows is the history, and nothing else.
    """
    few, many = (enrolled(simulated(setting.work, 5, max(5, setting.size(number)))) for number in (5, 260))
    for sample in (few, many):
        _computed(sample)
    last = few.mondays[-1]
    asked = {
        "qol materialize --week, nothing new": ("materialize", "--week", str(last)),
        "qol report": ("report", "--week", str(last)),
        "qol query, one week": ("query", f"SELECT * FROM db_qol.weekly_metrics WHERE date = '{last}'"),
        "qol query, one day": ("query", f"SELECT * FROM db_qol.daily_metrics WHERE date = '{last}'"),
        "qol silent": ("silent",),
    }
    rows, goals = [], []
    for name, words in asked.items():
        costs = rounds({str(one.weeks): partial(qol, one.home, *words) for one in (few, many)}, setting.many)
        near, far = (median(runs).cpu_s for runs in costs.values())
        rows.append((name, _s(near), _s(far), _x(far / near)))
        goals.append(_goal(f"{name}, {many.weeks} weeks / {few.weeks}", far / near, 1.2))
    return Table(
        f"Years: {few.participants} participants, CPU time with {few.weeks} weeks and with {many.weeks}",
        ("command", f"{few.weeks} weeks", f"{many.weeks} weeks", "ratio"),
        rows,
        tuple(goals),
    )


def files(setting: Setting) -> Table:
    """Return how the cost of the same bytes grows with the files they lie in."""
    source = simulated(setting.work, setting.size(1200), 1)
    rows, first = [], 0.0
    for number in (1, 10, 100, 1000, 10_000, 100_000):
        sample = enrolled(one_day_in_files(setting.work, source, setting.size(number)))
        cost = _computed(sample)
        first = first or cost.wall_s
        rows.append((f"{setting.size(number):,}", _s(cost.wall_s), _x(cost.wall_s / first), _mb(cost)))
        shutil.rmtree(sample.home)
    return Table(
        f"Files: one day of {source.participants:,} participants, the same bytes",
        ("files", "wall", "ratio", "peak"),
        rows,
    )


def late(setting: Setting) -> Table:
    """Return what each kind of change costs in a week that was computed before, beside that week from raw files."""
    sample = enrolled(simulated(setting.work, setting.size(1000), 1), but=setting.many)
    costs: dict[str, list[Cost]] = {name: [] for name in (WHOLE, LATE, *CHANGES)}
    for number in range(setting.many):
        note(f"late, {number + 1} of {setting.many}")
        for name, cost in _whole_then_late(sample, number).items():
            costs[name].append(cost)
        for name, change in CHANGES.items():
            costs[name].append(_materialize(sample, *change(sample, number)))
    whole, a_file, *again = costs.values()
    stored = sum(file.stat().st_size for file in sample.lake.glob("records/date=*/*.parquet")) / 1e6
    return Table(
        f"A change: a week of {sample.participants:,} participants, {sample.megabytes:.0f} MB, "
        f"records {stored:.1f} MB ({100 * stored / sample.megabytes:.1f} %)",
        ("run", "wall", "ratio", "peak"),
        _with_ratios(costs),
        (
            _goal("late file / whole week", times_as_long(a_file, whole), 0.25),
            _goal(
                "slowest other change, from records / from raw", max(times_as_long(one, whole) for one in again), 0.3
            ),
            _goal("records / raw bytes, %", 100 * stored / sample.megabytes, 6),
        ),
    )


def late_spark(setting: Setting) -> Table:
    """Return what a late file costs Spark, once, beside the week."""
    sample = enrolled(simulated(setting.work, setting.size(1000), 1))
    costs = {name: [cost] for name, cost in _whole_then_late(sample, 0, "--engine", "spark").items()}
    return Table(
        f"A late file, with Spark: a week of {sample.participants:,} participants, {sample.megabytes:.0f} MB",
        ("run", "wall", "ratio", "peak"),
        _with_ratios(costs),
        (_goal("late file / whole week, Spark", times_as_long(costs[LATE], costs[WHOLE]), 0.6),),
    )


def life(setting: Setting) -> Table:
    """Return the life of a week: computed, three late files one after another, other thresholds, one more enrolled.

    Ours takes from its records what it can; a peer computes all of it each time.
    """
    sample = simulated(setting.work, setting.size(1000), 1)
    but_one = sample.home / "but-one.csv"
    but_one.write_text("".join(sample.people.read_text().splitlines(keepends=True)[:-1]))
    costs: dict[str, list[Cost]] = {name: [] for name in QUICK}
    for number, step in enumerate(LIFE):
        note(f"life: {step}")
        if step.startswith("late file"):
            _late_file(sample, number)
        people = sample.people if step == LIFE[-1] else but_one
        variables = {"BENCH_PROFILE": "strict"} if step == "profile strict" else {}
        if number:
            variables["BENCH_CONTINUE"] = "1"
        for name in QUICK:
            costs[name].append(_beside(setting, sample, name, people, **variables))
    whole = {name: sum(cost.wall_s for cost in runs) for name, runs in costs.items()}
    ours, *others = QUICK
    best = min(whole[name] for name in others)
    return Table(
        f"The life of a week: {sample.participants:,} participants, {sample.megabytes:.0f} MB",
        ("program", *LIFE, "whole", "ratio"),
        [
            (name, *(_s(cost.wall_s) for cost in runs), _s(whole[name]), _x(whole[name] / best))
            for name, runs in costs.items()
        ],
        (_goal("life of a week, ours / best peer", whole[ours] / best, 0.5),),
    )


LIFE = ("first computing", "late file", "late file, second", "late file, third", "profile strict", "one more enrolled")


def _strict(sample: Sample, _number: int) -> tuple[str, ...]:
    _remove(sample, "processed_strict")
    return ("--profile", "strict")


def _one_more(sample: Sample, number: int) -> tuple[str, ...]:
    qol(sample.home, "participants", "add", _users(sample)[-1 - number])
    return ()


def _new_metric(sample: Sample, _number: int) -> tuple[str, ...]:
    _remove(sample, "processed/weekly")  # of the inputs of the weekly rows only the expression is another
    return ()


CHANGES: dict[str, Callable[[Sample, int], tuple[str, ...]]] = {
    "other thresholds (profile strict)": _strict,
    "one more enrolled": _one_more,
    "a new weekly metric": _new_metric,
}
"""What is done again without raw files: each makes the change, and gives the options of the run that follows."""


def agree(setting: Setting) -> Table:
    """Return whether DuckDB and Spark give the same rows, where all traps of Garmin's data are on."""
    from benchmarks.agreement import compared

    sample = simulated(setting.work, setting.size(200), 4, traps=True)
    found = compared(sample)
    return Table(
        f"Agreement: {sample.participants} participants, 4 weeks, every trap ({sample.megabytes:.0f} MB)",
        ("table", "rows", "columns", "values", "differences"),
        found,
    )


SECTIONS: dict[str, Callable[[Setting], Table]] = {
    one.__name__: one
    for one in (peers, slow_peers, life, spark, job, participants, weeks, years, files, late, late_spark, agree)
}


def enrolled(sample: Sample, *, but: int = 0) -> Sample:
    """Return the sample with everybody in the id map but so many, and the metrics' SQL kept, as after any first run."""
    users = _users(sample)
    words = sample.people.with_name("import.csv")
    rows = sample.people.read_text().replace("user_id", "garmin_user_id", 1).splitlines(keepends=True)
    words.write_text("".join(rows[: 1 + len(users) - but]))
    qol(sample.home, "participants", "import", "--after-leaving", str(words))  # as simulated: before they leave
    kept = sample.home.parent / "sql"
    kept.mkdir(exist_ok=True)
    for dialect, profile in (("duckdb", "default"), ("duckdb", "strict"), ("pyspark", "default")):
        queries(dialect, PROFILES[profile].thresholds, kept)
    shutil.copytree(kept, sample.home / "tmp", dirs_exist_ok=True)
    return sample


def _users(sample: Sample) -> list[str]:
    with sample.people.open() as file:
        return [row["user_id"] for row in csv.DictReader(file)]


def _computed(sample: Sample, *options: str) -> Cost:
    """Return all weeks from nothing."""
    _remove(sample, "processed", "processed_strict", "records")
    return _materialize(sample, *options)


def _remove(sample: Sample, *folders: str) -> None:
    for folder in folders:
        shutil.rmtree(sample.lake / folder, ignore_errors=True)


def _materialize(sample: Sample, *options: str) -> Cost:
    words = ("--week", str(sample.mondays[0]), "--until", str(sample.mondays[-1]), *options)
    return qol(sample.home, "materialize", *words)


WHOLE, LATE = "whole week from raw", "one late file"


def _whole_then_late(sample: Sample, number: int, *options: str) -> dict[str, Cost]:
    arrived = _late_file(sample, number)
    aside = arrived.rename(sample.home / arrived.name)
    whole = _computed(sample, *options)
    aside.rename(arrived)
    return {WHOLE: whole, LATE: _materialize(sample, *options)}


def _late_file(sample: Sample, number: int) -> Path:
    """Return a day's file of another name: what one participant sends once more, as redeliveries are."""
    folder = sample.lake / f"raw/daily/date={UNTIL - timedelta(days=2)}"
    user = _users(sample)[number].encode()
    there = [file for file in sorted(folder.glob("*.jsonl")) if not file.name.startswith(LATE_NAME)]
    late = folder / f"{LATE_NAME}{number}.jsonl"
    late.write_bytes(b"".join(line for file in there for line in file.open("rb") if user in line))
    return late


def _with_ratios(costs: Mapping[str, list[Cost]]) -> list[Row]:
    """Return a row for each run, beside the first."""
    base = next(iter(costs.values()))
    return [
        (name, _s(median(runs).wall_s), _x(times_as_long(runs, base)), _mb(median(runs)))
        for name, runs in costs.items()
    ]


def _goal(what: str, found: float, limit: float, *, at_least: bool = False) -> str:
    met = found >= limit if at_least else found <= limit
    return f"{'met' if met else 'MISSED'}: {what} = {found:.2f} (goal {'>=' if at_least else '<='} {limit:g})"


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _x(ratio: float) -> str:
    return f"{ratio:.2f}"


def _mb(cost: Cost) -> str:
    return f"{cost.peak_mb:,.0f} MB"
