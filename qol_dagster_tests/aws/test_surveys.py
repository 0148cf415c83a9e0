"""Questionnaires on AWS: forms brought in and scored by the same commands, and the same rows as on one machine."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from qol_dagster.cli.app import run
from qol_dagster.definitions import build_defs
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.tables import arrow_schema
from qol_dagster.metrics.dictionary import DAILY
from qol_dagster.pipeline.surveys import score_surveys
from qol_dagster.resources.catalogue import Catalogue
from qol_dagster.resources.catalogue.duckdb import LocalCatalogue
from qol_dagster.resources.invitations import forms_to_invite
from qol_dagster.resources.platform import open_platform
from qol_dagster.resources.survey_pages import has_surveys
from qol_dagster.surveys.tables import SURVEY_LAYOUTS
from qol_dagster.weeks import last_due_week, today, weekly_run_of
from qol_dagster_tests.support.cloud import Deployment
from qol_dagster_tests.support.explored import explorer

pytestmark = pytest.mark.aws

ANSWERED = today()
FIRST = ANSWERED - timedelta(days=14)
"""Whoever wears the device from here on is asked on the day of the forms."""
FORMS = f"""\
participant_id,answered_at,wave,{",".join(f"q{item}" for item in range(1, 27))}
P1,{ANSWERED},0,4,4,2,2{",3" * 22}
P3,{ANSWERED - timedelta(days=1)},0,1,1,1,1{",3" * 22}
"""


def write_daily(lake: Lake, day: date, people: tuple[str, ...]) -> None:
    """Valid days of some people, with other steps each day."""
    blank = dict.fromkeys(metric.name for metric in DAILY) | {one.name: 1 for one in DAILY if not one.nullable}
    known = {"date": str(day), "wear_min": 700.0, "is_valid_day": True}
    rows = [
        {**blank, **known, "participant_id": person, "steps": 100 * day.day + at} for at, person in enumerate(people)
    ]
    lake.write_table("daily", day, pa.Table.from_pylist(rows, schema=arrow_schema(DAILY)), {})


def rows_of(catalogue: Catalogue, table: str) -> list[dict[str, Any]]:
    """A table's rows without when they were computed, in the order of their keys."""
    found = catalogue.query(f"SELECT * FROM db_qol.{table}")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    keys = [name for name in ("participant_id", "wave", "domain", "measure", "method") if name in found.columns]
    assert all(row.pop("computed_at") for row in rows)
    return sorted(rows, key=lambda row: [row[name] for name in keys])


def test_forms_imported_and_scored_on_aws_are_the_rows_that_one_machine_makes_of_them(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, local = open_platform(deployed.settings), Lake.local(tmp_path / "lake")
    for number in (1, 2, 3):
        platform.id_map().add(f"garmin-{number}", f"P{number}")
    for lake in (platform.lake(), local):
        for number in range(15):
            write_daily(lake, FIRST + timedelta(days=number), ("P1", "P2"))
    file = tmp_path / "forms.csv"
    file.write_text(FORMS)
    assert run(["survey", "import", str(file)]) == 0
    assert "forms stored: 2;" in capsys.readouterr().err
    assert run(["survey", "import", str(file)]) == 0
    assert "forms stored: 0;" in capsys.readouterr().err
    for key in platform.lake().keys("raw/surveys"):
        local.write_raw(date.fromisoformat(key[17:27]), Path(key).stem, platform.lake().read_object(key), zone=key[:11])
    assert build_defs(deployed.settings).resolve_job_def("surveys_job").execute_in_process().success
    score_surveys(local, platform.id_map().identities(), computed_at=datetime.now(UTC))
    counts = {}
    for table in SURVEY_LAYOUTS:
        shown = rows_of(platform.catalogue(), table)
        assert shown == rows_of(LocalCatalogue(tmp_path / "lake"), table)
        counts[table] = len(shown)
    # Two of the three wore the device; 31 measures, four domains and three methods.
    assert counts == {
        "survey_responses": 2,
        "survey_due": 10,
        "whoqol_scores": 2,
        "whoqol_sensor_windows": 2,
        "whoqol_associations": 31 * 4 * 3,
    }
    out = tmp_path / "out"
    assert run(["export", "--table", "whoqol_scores", "--format", "csv", "--out", str(out)]) == 0
    with (out / "whoqol_scores.csv").open(newline="") as lines:
        assert [row["participant_id"] for row in csv.DictReader(lines)] == ["P1", "P3"]
    with explorer(deployed.settings) as url, httpx.Client(base_url=url, timeout=60) as site:
        page = unescape(site.get("/?lang=en").text)
        assert [table for table in SURVEY_LAYOUTS if f"view=survey&table={table}" not in page] == []
        content = site.get("/download?view=survey&table=whoqol_scores&p=P3").content
    (row,) = csv.DictReader(io.StringIO(zipfile.ZipFile(io.BytesIO(content)).read("rows.csv").decode("utf-8-sig")))
    (mine,) = (one for one in rows_of(platform.catalogue(), "whoqol_scores") if one["participant_id"] == "P3")
    assert (row["date"], float(row["overall_qol"])) == (mine["date"], mine["overall_qol"])
    for words in (["template"], ["upload"]):
        assert run(["survey", *words]) == 0
    monkeypatch.setenv("QOL_PUBLIC_URL", "https://qol.example.org")
    capsys.readouterr()
    assert has_surveys(platform)
    next_run = weekly_run_of(last_due_week(datetime.now(UTC))) + timedelta(weeks=1)
    assert forms_to_invite(platform, next_run) == 1  # P2's, from the table of due forms that Athena shows
    for expected in (["P2"], []):  # P1 has answered, and who has a good link is passed over
        assert run(["survey", "invite", "--due"]) == 0
        assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]] == expected
    assert forms_to_invite(platform, next_run) == 0
    platform.id_map().revoke("P1")
    assert run(["survey", "score"]) == 0
    people = {row.get("participant_id") for table in SURVEY_LAYOUTS for row in rows_of(platform.catalogue(), table)}
    assert people == {"P2", "P3", None}


def test_without_an_address_that_participants_reach_no_link_is_made(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not deployed.settings.public_url
    assert run(["survey", "invite", "--due"]) == 2
    assert "Set QOL_PUBLIC_URL" in capsys.readouterr().err
