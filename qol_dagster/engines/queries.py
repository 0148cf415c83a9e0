"""The metrics' expressions as the SQL of an engine, made once and kept in a file.

Belongs here: building and keeping. Ibis needs seconds for it, several times what a small week takes to compute, so it
is imported only when the code, the thresholds or a version changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qol_dagster import metrics
from qol_ingest.shared import files

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from qol_dagster.engines import Engine
    from qol_dagster.metrics.thresholds import Thresholds

Dialect = Literal["duckdb", "pyspark"]
DAILY_STAGES = (
    "lines",
    "superseded",
    "account_records",
    "account_dailies",
    "heart_hours",
    "other_accounts",
    "current_records",
    "main_sleeps",
)
"""What is worked out once and kept under these names, in this order, before `day_counts` and `daily_rows` run."""
DEFINED = frozenset({"account_records", "current_records"})
"""Those of the stages that are not kept: nearly all lines are in it, and hardly anything asks for more than a few."""
COUNTED = "day_counts"
"""The query by which the lines of a date are counted."""
WEEKLY_STAGES = ("rhythm_sums", "rhythm")
"""The same before `weekly_rows`."""


def queries(dialect: Dialect, thresholds: Thresholds, folder: Path) -> Mapping[str, str]:
    """Return the SQL of all stages and of the rows that are made from them; kept as a file in `folder`.

    Code that was bundled with its SQL (`bundled`) uses that, and needs no Ibis.
    """
    with_code = resources.files("qol_dagster.engines").joinpath(bundled_name(dialect, thresholds))
    if with_code.is_file():
        return dict(json.loads(with_code.read_text()))
    file = folder / f"sql-{dialect}-{_short(repr(thresholds))}-{_code_digest()}.json"
    if (kept := _kept(file)) is not None:
        return kept
    made = _compile_all(dialect, thresholds)
    with contextlib.suppress(OSError):  # a full disk costs time, and nothing else
        _keep(file, made)
    return made


def register_daily_stages(engine: Engine, sql: Mapping[str, str]) -> None:
    """Register what `daily_rows` and `day_counts` read; the engine has `records` and `participants`."""
    for name in DAILY_STAGES:
        register = engine.define if name in DEFINED else engine.keep
        register(name, sql[name])


def bundled_name(dialect: Dialect, thresholds: Thresholds) -> str:
    """Return what the file beside this one is called that has the SQL where Ibis is not to be had."""
    return f"sql-{dialect}-{_short(repr(thresholds))}.json"


def bundled(dialect: Dialect, thresholds: Thresholds) -> str:
    """Return what that file holds. It is to be made together with the copy of the code that it belongs to."""
    return json.dumps(_compile_all(dialect, thresholds))


@cache  # an erasure opens a home for each backup
def _compile_all(dialect: Dialect, thresholds: Thresholds) -> dict[str, str]:
    from qol_dagster.metrics import daily, status, weekly
    from qol_dagster.metrics.records import records_table

    records = records_table(side_by_side=dialect == "duckdb")  # Spark unnests one at a time
    expressions: dict[str, ir.Table] = {
        **daily.stages(records),
        "daily_rows": daily.daily_rows(records, thresholds),
        COUNTED: daily.day_counts(records),
        **weekly.stages(thresholds),
        "weekly_rows": weekly.weekly_rows(thresholds),
        "status_rows": status.status_rows(thresholds),
    }
    return {name: compile_sql(expression, dialect) for name, expression in expressions.items()}


def compile_sql(expression: ir.Table, dialect: Dialect) -> str:
    """Return the SQL of an expression."""
    import ibis

    if dialect == "pyspark" and ibis.options.pyspark is None:
        # The compiler reads one option of the backend, which would bring pandas and PySpark with it.
        ibis.options.pyspark = _spark_options()
    return str(ibis.to_sql(expression, dialect=dialect))


def _spark_options() -> Any:
    from ibis.config import Config

    class Options(Config):  # type: ignore[misc]  # ibis has no types
        treat_nan_as_null: bool = False

    return Options()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def _code_digest() -> str:
    """Changes with every byte of what the SQL is made from: making it once more for a comment harms nobody."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for package in ("ibis-framework", "sqlglot"):
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    for file in sorted(Path(metrics.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _kept(file: Path) -> dict[str, str] | None:
    """Return the SQL in a file; None if there is no file, or not what `_keep` wrote."""
    try:
        found = json.loads(file.read_text())
        sql: dict[str, str] = found["sql"]
        return sql if found["sha256"] == _digest(sql) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _digest(sql: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sql).encode()).hexdigest()


def _keep(file: Path, sql: Mapping[str, str]) -> None:
    """Write the file whole, and remove those of other versions of the code."""
    text = json.dumps({"sha256": _digest(sql), "sql": sql})
    for old in file.parent.glob(f"{file.name.rpartition('-')[0]}-*.json"):
        old.unlink(missing_ok=True)
    files.replace(file, text.encode(), files.BY_UMASK, sync=False)  # after a power cut it is made again
