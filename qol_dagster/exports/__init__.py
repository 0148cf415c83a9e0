"""Files for researchers: the rows of a table of `db_qol` in the formats of their programs, each with its codebook.

Belongs here: which columns an export has, why a value is missing, how a format spells both, and raw samples of a day.
Rows come through the catalogue, so that an export is the same from a laptop and from Athena. Definitions and labels are
the dictionary's. Not here: options and messages, which are the command's.
"""

from __future__ import annotations

from typing import Literal, get_args

from qol_dagster.errors import QolError

FormatName = Literal["csv", "parquet", "stata", "spss", "sas", "r", "redcap", "frictionless"]
SampleFormat = Literal["csv", "parquet"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)


class ExportError(QolError):
    """An export or samples cannot be made; the message says why and what to do."""
