"""`participant_status`: a row for everyone enrolled and each week, also when nothing came."""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from qol_dagster.defs.assets.common import Computation, preview, revisions_metadata, seconds, week_metadata
from qol_dagster.defs.checks import check_rows
from qol_dagster.defs.table_metadata import table_metadata, written_metadata
from qol_dagster.lake.tables import read_rows
from qol_dagster.metrics.dictionary import STATUS
from qol_dagster.metrics.profiles import Profile
from qol_dagster.metrics.tables import TableId
from qol_dagster.pipeline.reports import WeekReport

PREVIEW = ("date", "participant_id", "status", "n_valid_days", "last_worn_date", "days_since_last_sync")


def status_spec(profile: Profile) -> dg.AssetSpec:
    """Return what Dagster shows of the table."""
    daily, weekly, table = (TableId(table, profile) for table in ("daily", "weekly", "status"))
    return dg.AssetSpec(
        table.name,
        description="Who wore the device and who fell silent: a row for every enrolled participant and ISO week, also "
        f"when nothing came, as Parquet under `{table.folder}/date=MONDAY/`. {profile.why}",
        deps=[daily.name, weekly.name, "user_id_map"],
        metadata=table_metadata(STATUS, table.qualified_name),
    )


def status_result(run: Computation, reports: Sequence[WeekReport]) -> dg.MaterializeResult:
    """Return the metadata of the status table, with the states of the last week counted."""
    daily, table, lake = TableId("daily", run.profile), TableId("status", run.profile), run.lake
    run.add_week_metadata(table.name, {one.week: week_metadata(one) for one in reports})
    rows = read_rows(lake, "status", run.weeks, STATUS)
    last = read_rows(lake, "status", run.weeks[-1:], STATUS)
    participants = len(run.identities.enrolled)
    return dg.MaterializeResult(
        asset_key=table.name,
        metadata={
            **written_metadata(STATUS, daily.name, f"{lake.root}/{table.folder}"),
            "dagster/row_count": rows.num_rows,
            "participants": participants,
            **revisions_metadata(reports),
            **{f"last_week/{status}": n for status, n in sorted(Counter(last["status"].to_pylist()).items())},
            **run.made_with(),
            "preview": preview(last, PREVIEW),
            **(seconds(reports[0].seconds) if reports else {}),
        },
        check_results=check_rows(table.name, rows, STATUS, participants, run.garmin_ids),
    )
