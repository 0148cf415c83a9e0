"""What another program reads from an export is what is in the table, to the last digit, with its labels."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import math
import random
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pyreadstat
import pytest

from qol_dagster.exports import FORMAT_NAMES, FormatName
from qol_dagster.exports.export import Exported, export
from qol_dagster.exports.formats import Options
from qol_dagster.exports.rows import Weeks
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import TABLES
from qol_dagster.metrics.tables import LAYOUTS, TableId
from qol_dagster.metrics.types import TableName
from qol_dagster.resources.catalogue.duckdb import LocalCatalogue
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.tables import rows
from qol_ingest.shared.languages import Language

NAMES = ["P1", '参加者, "2"', "P 3\nx", "=4"]
WORDS = {"who_activity": "meets", "wear_source": "stress", "status": "too_short"}


def made_up(table: TableName, number: int) -> dict[str, Any]:
    """A row of a value for nearly every column; every third value is missing where it may be."""
    rng = random.Random(f"{table}{number}")
    row: dict[str, Any] = {}
    for at, metric in enumerate(TABLES[table]):
        if metric.nullable and (at + number) % 3 == 0:
            continue
        row[metric.name] = {
            "string": WORDS.get(metric.name, "2026-11-18" if metric.name.endswith("_date") else "2.0.0"),
            "int64": rng.randrange(1000),
            "float64": rng.choice([0.1 + 0.2, 1 / 3, 5000.0, rng.random() * 10 ** rng.randrange(-9, 12)]),
            "bool": rng.random() < 0.5,
            "timestamp": dt.datetime(2026, 11, 25, 0, 5, 0, 123_000, tzinfo=dt.UTC),
            "list<float64>": [None, 0.5, *map(float, range(22))],
            "list<int64>": [2**60 - 1, *range(23)],
        }[metric.type]
    return {**row, "participant_id": NAMES[number]}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogue:
    folder = tmp_path_factory.mktemp("lake")
    for table in LAYOUTS:
        Lake.local(folder).write_table(table, MONDAY, rows(table, *(made_up(table, n) for n in range(4))), {})
    return LocalCatalogue(folder)


def wanted(catalogue: LocalCatalogue, table: TableName) -> list[dict[str, Any]]:
    """The table's rows as a query gives them, lists spread over 24 columns, dates as such."""
    found = catalogue.query(f"SELECT * FROM {TableId(table).qualified_name} ORDER BY participant_id, date")
    spread = []
    for values in found.rows:
        row: dict[str, Any] = {}
        for name, value in zip(found.columns, values, strict=True):
            base = name.removesuffix("_by_hour")
            if base != name:
                hours = value or [None] * 24
                counted = [bin(one).count("1") if base == "asleep" and one is not None else one for one in hours]
                row |= {f"{base}_h{hour:02}": one for hour, one in enumerate(counted)}
            else:
                row[name] = dt.date.fromisoformat(value) if value and re.search("(^|_)date$", name) else value
        spread.append(row)
    return spread


def without_reasons(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.endswith("_na")}


def exported(
    catalogue: LocalCatalogue, table: TableName, form: FormatName, out: Path, language: Language = "en", **options: bool
) -> Exported:
    return export(catalogue, TableId(table), Weeks(), form, out, options=Options(language, **options))


def typed(row: dict[str, str], like: dict[str, Any]) -> dict[str, Any]:
    """A row of a CSV as Python values; `like` has a value of the right kind, or None where nothing is written."""
    read = {
        bool: lambda text: {"true": True, "false": False}[text],
        dt.date: dt.date.fromisoformat,
        dt.datetime: lambda text: dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=dt.UTC),
        float: float,
        int: int,
        str: str,
    }
    return {name: read[type(like[name])](text) if text else None for name, text in row.items()}


def csv_rows(path: Path, encoding: str = "utf-8") -> list[dict[str, str]]:
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file))


TABLE_NAMES = list(LAYOUTS)


@pytest.mark.parametrize("table", TABLE_NAMES)
@pytest.mark.parametrize("form", ["csv", "r", "frictionless"])
def test_the_csv_is_the_table(catalogue: LocalCatalogue, tmp_path: Path, form: FormatName, table: TableName) -> None:
    exported(catalogue, table, form, tmp_path / "out")
    found = [without_reasons(row) for row in csv_rows(tmp_path / "out" / f"{LAYOUTS[table].name}.csv")]
    expected = wanted(catalogue, table)
    assert [list(row) for row in found] == [list(row) for row in expected]
    assert [typed(row, like) for row, like in zip(found, expected, strict=True)] == expected
    pairs = [(row[name], value) for row, like in zip(found, expected, strict=True) for name, value in like.items()]
    numbers = [(text, value) for text, value in pairs if isinstance(value, float)]
    assert all(Decimal(text) == Decimal(repr(value)) for text, value in numbers), "the shortest that reads back"


def test_a_csv_for_excel_begins_with_its_mark_and_is_else_the_same(catalogue: LocalCatalogue, tmp_path: Path) -> None:
    for name, excel in (("plain", False), ("excel", True)):
        exported(catalogue, "weekly", "csv", tmp_path / name, excel=excel)
    for name in ("weekly_metrics.csv", "codebook.csv", "absent_weeks.csv"):
        plain, marked = ((tmp_path / one / name).read_bytes() for one in ("plain", "excel"))
        assert marked == b"\xef\xbb\xbf" + plain
    assert csv_rows(tmp_path / "excel" / "weekly_metrics.csv", "utf-8-sig")[0]["participant_id"] == "=4"


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_the_parquet_is_the_table_with_its_labels(catalogue: LocalCatalogue, tmp_path: Path, table: TableName) -> None:
    done = exported(catalogue, table, "parquet", tmp_path / "out")
    found = pq.ParquetFile(tmp_path / "out" / f"{LAYOUTS[table].name}.parquet").read()
    assert [without_reasons(row) for row in found.to_pylist()] == wanted(catalogue, table)
    for column in done.dataset.columns:
        metadata = found.schema.field(column.name).metadata
        assert (metadata[b"label"].decode(), metadata[b"label_ja"].decode()) == (column.label, column.label_ja)


READERS = {
    "stata": ("dta", pyreadstat.read_dta),
    "spss": ("sav", pyreadstat.read_sav),
    "sas": ("xpt", pyreadstat.read_xport),
}


def plain(value: Any) -> Any:
    """A value as the statistics programs hold it: numbers are doubles, times are UTC, no text is empty text."""
    if isinstance(value, dt.datetime):
        utc = value.replace(tzinfo=None) if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
        return utc + dt.timedelta(microseconds=500) - dt.timedelta(microseconds=(utc.microsecond + 500) % 1000)
    if isinstance(value, bool | int | float):
        return None if math.isnan(value) else float(value)
    return value or None


def coded(row: dict[str, Any], done: Exported) -> dict[str, Any]:
    """A row with words replaced by their numbers."""
    codes = {one.name: {value.word: value.code for value in one.values} for one in done.dataset.columns}
    return {
        name: codes[name][value] if codes[name] and isinstance(value, str) else value for name, value in row.items()
    }


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("table", TABLE_NAMES)
@pytest.mark.parametrize("form", READERS)
def test_statistics_programs_read_the_table_and_its_labels(
    catalogue: LocalCatalogue, tmp_path: Path, form: FormatName, table: TableName, language: Language
) -> None:
    done = exported(catalogue, table, form, tmp_path / "out", language)
    ending, reader = READERS[form]
    found, meta = reader(tmp_path / "out" / f"{LAYOUTS[table].name}.{ending}", output_format="dict")
    expected = [coded(row, done) for row in wanted(catalogue, table)]
    for number, row in enumerate(expected):
        mine = {name: plain(found[name][number]) for name in row}
        assert mine == {name: plain(value) for name, value in row.items()}
    for column, label in zip(done.dataset.columns, meta.column_labels, strict=True):
        full = column.labelled(language)
        assert label == full or (label.endswith("…") and full.startswith(label[:-1]) and len(label) >= 80)
        if column.is_reason:
            reasons = {one.word: one.code for one in column.values}
            codes = [reasons[word] if word else None for word in done.dataset.rows[column.name].to_pylist()]
            assert [plain(one) for one in found[column.name]] == codes
        if column.kind == "category" and form != "sas":
            labels = {one.code: one.en if language == "en" else one.ja for one in column.values}
            assert meta.variable_value_labels[column.name] == labels


@pytest.mark.r
@pytest.mark.parametrize("excel", [False, True])
@pytest.mark.parametrize("table", TABLE_NAMES)
def test_r_reads_the_table_with_types_factors_and_labels(
    catalogue: LocalCatalogue, tmp_path: Path, table: TableName, excel: bool
) -> None:
    done = exported(catalogue, table, "r", tmp_path / "out", "ja", excel=excel)
    name = LAYOUTS[table].name
    program = f"""
        folder <- "{tmp_path / "out"}"
        source(file.path(folder, "{name}.R"), encoding = "UTF-8")
        shown <- function(v) {{
          if (inherits(v, "POSIXct")) return(format(v + 0.0005, "%Y-%m-%dT%H:%M:%OS3")) # R cuts
          if (is.double(v) && !inherits(v, "Date")) return(ifelse(is.na(v), NA, sprintf("%a", v)))
          as.character(v)
        }}
        for (one in names({name})) {{
          v <- {name}[[one]]
          cat(paste(c(one, class(v)[1], attr(v, "label"), shown(v)), collapse = "\x1f"), "\x1e", sep = "")
        }}
    """
    ran = subprocess.run(["Rscript", "--vanilla", "-e", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = {cells[0]: cells[1:] for cells in (one.split("\x1f") for one in ran.stdout.split("\x1e")[:-1])}
    expected = done.dataset.rows.to_pydict()
    assert list(found) == list(expected)
    classes = {"text": "character", "date": "Date", "time": "POSIXct", "boolean": "logical", "category": "factor"}
    for column in done.dataset.columns:
        class_, label, *values = found[column.name]
        assert class_ == {**classes, "integer": "integer", "number": "numeric"}[column.kind]
        assert label == column.label_ja
        labels = {one.word: one.ja for one in column.values} if column.kind == "category" else {}
        for text, value in zip(values, expected[column.name], strict=True):
            if isinstance(value, float):  # R itself reads decimals to within a unit in the last place
                assert math.isclose(float.fromhex(text), value, rel_tol=2**-52)
            else:
                assert text == in_r(labels.get(value, value))


def in_r(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="milliseconds").removesuffix("+00:00")
    return "NA" if value is None else str(value).upper() if isinstance(value, bool) else str(value)


def test_the_data_package_describes_its_file_by_the_rules_of_table_schema(
    catalogue: LocalCatalogue, tmp_path: Path
) -> None:
    exported(catalogue, "daily", "frictionless", tmp_path / "out", "ja")
    package = json.loads((tmp_path / "out" / "datapackage.json").read_text())
    (resource,) = package["resources"]
    data = (tmp_path / "out" / resource["path"]).read_bytes()
    assert re.fullmatch(r"[a-z0-9._/-]+", package["name"])
    assert re.fullmatch(r"[a-z0-9._/-]+", resource["name"])
    assert (package["profile"], resource["profile"]) == ("tabular-data-package", "tabular-data-resource")
    assert resource["bytes"] == len(data)
    assert resource["hash"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    schema = resource["schema"]
    fields = {one["name"]: one for one in schema["fields"]}
    lines = csv_rows(tmp_path / "out" / resource["path"])
    assert list(fields) == list(lines[0])
    assert set(schema["primaryKey"]) <= set(fields)
    assert schema["missingValues"] == [""]
    valid = {"string", "number", "integer", "boolean", "date", "datetime"}
    allowed = {"required", "minimum", "maximum", "enum"}
    for name, field in fields.items():
        assert field["type"] in valid
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", field["title"])
        constraints = field.get("constraints", {})
        assert set(constraints) <= allowed
        for text in (line[name] for line in lines):
            assert text or not constraints.get("required"), name
            assert not text or text in constraints.get("enum", [text])
            if text and field["type"] == "datetime":
                dt.datetime.strptime(text, field["format"])


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_every_export_has_its_codebook_and_sums_and_the_same_rows_give_the_same_bytes(
    catalogue: LocalCatalogue, tmp_path: Path, form: FormatName
) -> None:
    done = exported(catalogue, "weekly", form, tmp_path / "one")
    exported(catalogue, "weekly", form, tmp_path / "two")
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(done.files) == set(files)
    assert {"codebook.csv", "codebook.html", "absent_weeks.csv", "export.json", "SHA256SUMS"} < set(files)
    sums = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"}
    timed = (".dta", ".sav", ".xpt", "SHA256SUMS")
    again = {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert {name for name in files if files[name] != again[name] and not name.endswith(timed)} == set()
    assert done.digest == hashlib.sha256(files["SHA256SUMS"]).hexdigest()
    assert done.digest in done.citation
