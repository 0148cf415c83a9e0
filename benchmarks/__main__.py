"""One command, all figures: `python -m benchmarks`, or some sections of it by name.

    make benchmarks                              everything, most of an hour on two cores
    .venv/bin/python -m benchmarks peers job     two sections
    .venv/bin/python -m benchmarks --divide 20   everything, small, to see that it works

Every ratio is of programs run in turn in this one run. Figures go to stdout as Markdown, the rest to stderr.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks.programs import note
from benchmarks.sections import SECTIONS, Setting, Table


def main() -> int:
    """Measure, print, and give 1 if a goal was missed."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description="Figures and ratios of one run.")
    options.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"some of {', '.join(SECTIONS)}; by default all"
    )
    options.add_argument("--times", type=int, default=3, help="how often each program is run")
    options.add_argument("--divide", type=int, default=1, help="divide the sizes, for a quick look")
    options.add_argument("--work", type=Path, help="where lakes are made and kept; by default a temporary folder")
    given = options.parse_args()
    if unknown := sorted(set(given.sections) - set(SECTIONS)):
        options.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="qol-benchmarks-") as temporary:
        setting = Setting((given.work or Path(temporary)).absolute(), given.times, given.divide)
        for name in given.sections or SECTIONS:
            note(f"-- {name}")
            table = SECTIONS[name](setting)
            print(_markdown(table), flush=True)
            missed += sum(goal.startswith("MISSED") for goal in table.goals)
    return 1 if missed else 0


def _markdown(table: Table) -> str:
    lines = ["", f"### {table.title}", "", _line(table.head), _line(["---"] + ["--:"] * (len(table.head) - 1))]
    lines += [_line(row) for row in table.rows]
    lines += ["", *(f"- {goal}" for goal in table.goals)] if table.goals else []
    return "\n".join(lines)


def _line(cells: object) -> str:
    return f"| {' | '.join(cells)} |"  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
