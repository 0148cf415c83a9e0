"""What is seen, as a file: the rows, what each column means, and where they come from.

Belongs here: the ZIP of a download. CSV is UTF-8; the codebook begins with a byte order mark, by which spreadsheets
tell Japanese text.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from qol_dagster.csv_text import csv_text
from qol_dagster.metrics.describe import records
from qol_dagster.metrics.dictionary import METRICS_VERSION, Metric

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every file, so that the same view is the same bytes."""


def archive(rows: Iterable[Mapping[str, Any]], codebook: Sequence[Mapping[str, object]], readme: str) -> bytes:
    """Return a ZIP of `rows.csv`, `codebook.csv` and `README.txt`; the columns are those of the codebook."""
    names, fields = [str(entry["name"]) for entry in codebook], list(codebook[0])
    files = {
        "rows.csv": csv_text(names, _cells(names, rows)).encode(),
        "codebook.csv": csv_text(fields, _cells(fields, codebook)).encode("utf-8-sig"),
        "README.txt": readme.encode(),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, EARLIEST), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def codebook_of(metrics: Sequence[Metric], names: Sequence[str]) -> list[dict[str, object]]:
    """Return the dictionary's entries of these columns, in their order."""
    by_name = {entry["name"]: entry for entry in records(metrics)}
    return [by_name[name] for name in names]


def readme(title: str, link: str, sql: str, past: str = "") -> str:
    """Return what a file is, how the view is restored, and the question that gives its rows, of which past state."""
    lines = [title, f"metrics_version: {METRICS_VERSION}", f"link: {link}", *([f"as of: {past}"] if past else [])]
    return "\n".join([*lines, *([f"sql: {sql}"] if sql else []), ""])


def _cells(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Any]]:
    return ([row[name] for name in names] for row in rows)
