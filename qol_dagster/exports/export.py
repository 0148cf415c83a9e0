"""An export as a whole: rows, their format's files, the codebook, what is absent, the manifest.

Belongs here: which files every export has. Those of a format are its module's in `formats/`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.exports import FormatName
from qol_dagster.exports.codebook import codebook_page, codebook_rows
from qol_dagster.exports.folder import CHECKSUMS, MADE_BY, MANIFEST, checksum, new_folder
from qol_dagster.exports.formats import Options, write_format
from qol_dagster.exports.formats.delimited import write_csv, write_rows
from qol_dagster.exports.rows import Dataset, Weeks, read_dataset
from qol_dagster.exports.tables import ExportTable
from qol_dagster.metrics.dictionary import METRICS_VERSION

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import Catalogue

CODEBOOK, CODEBOOK_PAGE, ABSENT = "codebook.csv", "codebook.html", "absent_weeks.csv"


@dataclass(frozen=True)
class Exported:
    """What was written. `digest` is the SHA-256 of the file of checksums, and so of all of it."""

    folder: Path
    files: tuple[str, ...]
    dataset: Dataset
    digest: str

    @property
    def citation(self) -> str:
        """The export in one line, with what it can be recognised by."""
        return f"{citation_of(self.dataset)} SHA-256 of {CHECKSUMS}: {self.digest}."


def export(
    catalogue: Catalogue,
    table: ExportTable,
    weeks: Weeks,
    form: FormatName,
    out: Path,
    *,
    options: Options,
    force: bool = False,
) -> Exported:
    """Write the rows of a table to a folder, whole or not at all. Raises ExportError and CatalogueError.

    The same rows give the same bytes, but for .dta, .sav and .xpt, which hold the time of writing.
    """
    with new_folder(out, force=force) as folder:
        dataset = read_dataset(catalogue, table, weeks)
        write_format(form, dataset, folder, options)
        write_rows(codebook_rows(dataset), folder / CODEBOOK, excel=options.excel)
        (folder / CODEBOOK_PAGE).write_text(codebook_page(dataset, citation_of(dataset)), encoding="utf-8")
        write_csv(dataset.absent, folder / ABSENT, excel=options.excel)
        manifest = json.dumps(_manifest(dataset, form, options), ensure_ascii=False, indent=1)
        (folder / MANIFEST).write_text(f"{manifest}\n", encoding="utf-8")
        names = sorted([CHECKSUMS, *(path.name for path in folder.iterdir())])
    return Exported(out, tuple(names), dataset, checksum(out / CHECKSUMS))


def citation_of(dataset: Dataset) -> str:
    """Return what the rows are, in one line."""
    first, last = dataset.dates
    versions = ", ".join(dataset.versions) or METRICS_VERSION
    return (
        f"{dataset.table.qualified_name}, {first} to {last}, {dataset.rows.num_rows} rows; "
        f"definitions {versions}, profile {dataset.table.profile.name}, made with qol_dagster."
    )


def _manifest(dataset: Dataset, form: FormatName, options: Options) -> dict[str, Any]:
    first, last = dataset.dates
    return {
        "made_by": MADE_BY,
        "citation": citation_of(dataset),
        "table": dataset.table.qualified_name,
        "format": form,
        "language": options.language,
        "first_date": str(first),
        "last_date": str(last),
        "rows": dataset.rows.num_rows,
        "participants": dataset.n_participants,
        "columns": len(dataset.columns),
        "metrics_versions": dataset.versions or [METRICS_VERSION],
        "profile": dataset.table.profile.name,
        "thresholds": dataset.table.profile.thresholds.as_dict(),
        "absent_weeks": dataset.absent.num_rows,
        "weeks_without_status": [str(week) for week in dataset.unexplained],
    }
