"""Questionnaires in the explorer: offered once there are any, and downloaded with their codebook."""

from __future__ import annotations

import csv
import io
import zipfile
from html import unescape

import httpx

from qol_dagster.settings import Settings
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster_tests.support.explored import explorer
from qol_dagster_tests.support.forms import answers_of, form, survey_lake


def rows_of(content: bytes, name: str = "rows.csv") -> list[dict[str, str]]:
    text = zipfile.ZipFile(io.BytesIO(content)).read(name).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_tables_of_questionnaires_are_offered_and_downloaded_of_the_chosen_participants(settings: Settings) -> None:
    people = ("P1", "P2")
    survey_lake(settings.lake_dir, people, [form(one, 0, answers_of(4)) for one in people])
    with explorer(settings) as url, httpx.Client(base_url=url, timeout=60) as site:
        page = unescape(site.get("/?lang=ja").text)
        for table in SURVEY_TABLES:
            assert f"view=survey&table={table}" in page
            content = site.get(f"/download?view=survey&table={table}").content
            names = [one["name"] for one in rows_of(content, "codebook.csv")]
            assert names == list(rows_of(content)[0]) == [one.name for one in SURVEY_TABLES[table]]
        (mine,) = rows_of(site.get("/download?view=survey&table=whoqol_scores&p=P2").content)
        assert (mine["participant_id"], float(mine["physical_0_100"])) == ("P2", 75)
        assert site.get("/download?view=survey&table=daily_metrics").status_code == 404


def test_nothing_is_offered_without_questionnaires(settings: Settings) -> None:
    with explorer(settings) as url:
        assert "WHOQOL" not in httpx.get(f"{url}/?lang=en", timeout=60).text
