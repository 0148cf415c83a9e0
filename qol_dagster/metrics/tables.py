"""The tables: what each is called wherever it is named, and how Athena and the Glue Data Catalog know it.

Belongs here: names, folders, types, comments, partitions and the statement that creates a table.
Nothing is sent anywhere: whoever deploys takes the statement, or the same facts as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from qol_dagster.errors import QolInputError
from qol_dagster.metrics.dictionary import REVISIONS, TABLES, Metric
from qol_dagster.metrics.dictionary.revisions import UNTIL
from qol_dagster.metrics.profiles import DEFAULT, PROFILES, Profile
from qol_dagster.metrics.types import COLUMN_TYPES, TableName
from qol_ingest.shared.calendar import JST_S
from qol_ingest.shared.keys import PROCESSED

DATABASE = "db_qol"
PARTITION = "date"
JAPAN = f"{JST_S // 3600}HOURS"  # Athena's NOW is UTC

_HIVE = "org.apache.hadoop.hive.ql.io.parquet"
_JSON = {
    "input_format": "org.apache.hadoop.mapred.TextInputFormat",
    "output_format": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "serde": "org.openx.data.jsonserde.JsonSerDe",
}


class TableError(QolInputError):
    """A table cannot be described with these values."""


@dataclass(frozen=True)
class Layout:
    """What a table is called in `db_qol`, and how many days are between two of its partitions."""

    name: str
    days: int
    comment: str


LAYOUTS: dict[TableName, Layout] = {
    "daily": Layout("daily_metrics", 1, "Metrics of a participant and date"),
    "weekly": Layout("weekly_metrics", 7, "Metrics of a participant and ISO week; date is the Monday"),
    "status": Layout("participant_status", 7, "Who wore the device and who fell silent, by participant and ISO week"),
}


@dataclass(frozen=True)
class TableId:
    """One table of one profile, and every name that follows from the two."""

    table: TableName
    profile: Profile = DEFAULT

    @property
    def name(self) -> str:
        """What it is called in `db_qol`, and the key of its asset."""
        return f"{LAYOUTS[self.table].name}{self.profile.suffix}"

    @property
    def qualified_name(self) -> str:
        """As a query names it."""
        return f"{DATABASE}.{self.name}"

    @property
    def catalogue_asset(self) -> str:
        """The key of the asset that verifies it through the catalogue."""
        return f"{self.name}_table"

    @property
    def folder(self) -> str:
        """Its folder in the lake."""
        return f"{self.profile.folder}/{self.table}"

    @property
    def revisions(self) -> str:
        """What its log of revisions is called in `db_qol`."""
        return f"{self.name}_revisions"

    @property
    def columns(self) -> tuple[Metric, ...]:
        """Its columns."""
        return TABLES[self.table]


def all_tables() -> tuple[TableId, ...]:
    """Return every table of every profile."""
    return tuple(TableId(table, profile) for profile in PROFILES.values() for table in LAYOUTS)


@dataclass(frozen=True)
class Column:
    """A column of the catalogue: its name, Hive type and comment."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class ExternalTable:
    """A table of the catalogue, Parquet unless said, with the values that `AWS::Glue::Table` asks for."""

    name: str
    comment: str
    location: str
    columns: tuple[Column, ...]
    partition_keys: tuple[Column, ...]
    parameters: Mapping[str, str]
    input_format: str = f"{_HIVE}.MapredParquetInputFormat"
    output_format: str = f"{_HIVE}.MapredParquetOutputFormat"
    serde: str = f"{_HIVE}.serde.ParquetHiveSerDe"

    @property
    def ddl(self) -> str:
        """The statement that creates the table in Athena."""
        properties = ",\n".join(f"  {_quoted(name)} = {_quoted(value)}" for name, value in self.parameters.items())
        return (
            f"CREATE EXTERNAL TABLE IF NOT EXISTS {DATABASE}.{self.name} (\n{_declared(self.columns)}\n)\n"
            f"COMMENT {_quoted(self.comment)}\n"
            f"PARTITIONED BY (\n{_declared(self.partition_keys)}\n)\n"
            f"{self._stored}\n"
            f"LOCATION {_quoted(self.location)}\n"
            f"TBLPROPERTIES (\n{properties}\n)"
        )

    @property
    def _stored(self) -> str:
        if self.serde != _JSON["serde"]:
            return "STORED AS PARQUET"
        return (
            f"ROW FORMAT SERDE {_quoted(self.serde)}\n"
            f"STORED AS INPUTFORMAT {_quoted(self.input_format)} OUTPUTFORMAT {_quoted(self.output_format)}"
        )


def external_table(table: TableName, lake: str, since: date, suffix: str = "") -> ExternalTable:
    """Return the catalogue's table of `s3://bucket/processed<suffix>/<table>/`; `lake` is `s3://bucket` or a prefix in
    it.

    `since` is the Monday of the first partition: Athena counts the others from it and asks for no listing. `suffix`
    is that of a profile, such as `_strict`. Raises TableError.
    """
    layout = replace(LAYOUTS[table], name=f"{LAYOUTS[table].name}{suffix}")
    return parquet_table(layout, TABLES[table], lake, f"{PROCESSED}{suffix}/{table}", since)


def parquet_table(
    layout: Layout, columns: Sequence[Metric], lake: str, folder: str, since: date, *, until: str = JAPAN
) -> ExternalTable:
    """Return the catalogue's table of a folder of the lake, given what `external_table` is.

    `until` is how long after now, as Athena writes it, the last partition is. Raises TableError.
    """
    _check(lake, since)
    location = f"{lake.rstrip('/')}/{folder}/"
    declared = [_column(metric) for metric in columns]
    return ExternalTable(
        layout.name,
        layout.comment,
        location,
        tuple(one for one in declared if one.name != PARTITION),
        tuple(one for one in declared if one.name == PARTITION),
        {"classification": "parquet", **_projection(location, since, layout.days, until)},
    )


def revisions_table(table: TableName, lake: str, since: date, suffix: str = "") -> ExternalTable:
    """Return the catalogue's table of a table's log of revisions, small JSON objects; given what `external_table` is.

    It lacks `valid_until`, which no object has: it is the next one's `valid_from`. Raises TableError.
    """
    _check(lake, since)
    layout = LAYOUTS[table]
    location = f"{lake.rstrip('/')}/history{suffix}/{table}/revisions/"
    columns = [_column(metric) for metric in REVISIONS if metric.name != UNTIL]
    return ExternalTable(
        f"{layout.name}{suffix}_revisions",
        f"When and why rows of {layout.name}{suffix} became others",
        location,
        tuple(one for one in columns if one.name != PARTITION),
        tuple(one for one in columns if one.name == PARTITION),
        {"classification": "json", **_projection(location, since, layout.days)},
        **_JSON,
    )


def _check(lake: str, since: date) -> None:
    if since.weekday() != 0:
        raise TableError(f"the first partition is a Monday, and {since} is none")
    if not lake.startswith("s3://"):
        raise TableError(f"Athena reads s3://, not {lake!r}")


def _projection(location: str, since: date, days: int, until: str = JAPAN) -> dict[str, str]:
    return {
        "projection.enabled": "true",
        f"projection.{PARTITION}.type": "date",
        f"projection.{PARTITION}.format": "yyyy-MM-dd",
        f"projection.{PARTITION}.range": f"{since},NOW+{until}",
        f"projection.{PARTITION}.interval": str(days),
        f"projection.{PARTITION}.interval.unit": "DAYS",
        "storage.location.template": f"{location}{PARTITION}=${{{PARTITION}}}/",
    }


def _column(metric: Metric) -> Column:
    return Column(metric.name, COLUMN_TYPES[metric.type].hive, metric.comment)


def _declared(columns: tuple[Column, ...]) -> str:
    """Return every name in backticks: `date` is a word of Hive's."""
    return ",\n".join(f"  `{one.name}` {one.type} COMMENT {_quoted(one.comment)}" for one in columns)


def _quoted(text: str) -> str:
    """Return a Hive string.

    Two quotes in a row would end one string and begin another, so they are escaped by backslash.
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
