"""How each format spells an export's rows.

Belongs here: which module writes which format, and what they share. Each gets the same `Dataset` and an empty folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.exports import FormatName
from qol_ingest.shared.languages import Language

if TYPE_CHECKING:
    from qol_dagster.exports.rows import Dataset

_WRITERS: dict[FormatName, tuple[str, str]] = {
    "csv": ("delimited", "write"),
    "parquet": ("parquet", "write"),
    "stata": ("statistics", "write_stata"),
    "spss": ("statistics", "write_spss"),
    "sas": ("statistics", "write_sas"),
    "r": ("r", "write"),
    "redcap": ("redcap", "write"),
    "frictionless": ("frictionless", "write"),
}


@dataclass(frozen=True)
class Options:
    """How an export is written: the language of labels, and whether CSV files begin with a mark that Excel needs."""

    language: Language = "en"
    excel: bool = False


def write_format(form: FormatName, dataset: Dataset, folder: Path, options: Options) -> None:
    """Write the files of a format. Each module loads what it needs, and none what another needs."""
    module, function = _WRITERS[form]
    write: Callable[[Dataset, Path, Options], None] = getattr(import_module(f"{__name__}.{module}"), function)
    write(dataset, folder, options)
