"""The README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from qol_dagster.cli.demo import SHORT_QUERY, next_steps
from qol_dagster.defs.dagster_home import DAGSTER_YAML, WORKSPACE_YAML
from qol_dagster.metrics.dictionary import STATUS, WEEKLY, by_name
from qol_dagster.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_weekly_column_is_in_the_table_of_metrics_once() -> None:
    table = README[README.index("| theme | columns |") : README.index("`db_qol.daily_metrics` has")]
    named = re.findall(r"`(\w+)`", table)
    differing = {metric.name for metric in WEEKLY} ^ set(named)
    assert not differing, f"only in README.md or only in the dictionary: {sorted(differing)}"
    assert len(named) == len(WEEKLY)


def test_every_status_column_is_in_its_table_once_and_every_status_is_named() -> None:
    table = README[README.index("| theme | status columns |") : README.index("FROM db_qol.participant_status")]
    named = re.findall(r"`(\w+)`", table)
    differing = {metric.name for metric in STATUS} ^ set(named)
    assert not differing, f"only in README.md or only in the dictionary: {sorted(differing)}"
    assert len(named) == len(STATUS)
    states = re.findall(r"`(\w+)`", README[README.index("`status` is ") : README.index("| theme | status columns |")])
    formula = by_name(STATUS)["status"].formula
    assert sorted(states[1:]) == sorted(formula.removeprefix("The first that holds of ").split(", "))


def test_every_make_target_it_names_is_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"make ([\w-]+)", README)) <= targets


def test_what_the_demo_prints_is_shown_as_it_prints_it() -> None:
    shown = README[README.index("```text\n20 simulated") : README.index("(With `qol` on your path")]
    lines = shown.splitlines()
    heading = next(line for line in lines if line.startswith("participant"))
    assert heading.split() == re.findall(r" AS (\w+)", SHORT_QUERY)
    settings = Settings()
    places = {line.split()[0]: line.split()[1] for line in lines if re.match(r"(data|runs|report) ", line)}
    report = settings.lake_dir / "reports/week=2026-11-16/report.ja.html"
    assert places == {"report": str(report), "data": str(settings.lake_dir), "runs": str(settings.dagster_home)}
    assert next_steps(settings, "qol") == "\n".join(lines[lines.index("next") : -2]) + "\n"


def test_the_example_configurations_are_those_that_are_written() -> None:
    assert (ROOT / "dagster.yaml.example").read_text() == DAGSTER_YAML
    assert (ROOT / "workspace.yaml").read_text() in WORKSPACE_YAML
