"""`participant_status`: a row for everyone enrolled and each week, also when nothing came."""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from qol_dagster.assets.common import Computation, preview, rows_of, seconds, week_metadata
from qol_dagster.checks import check_rows
from qol_dagster.etl import WeekReport
from qol_dagster.lineage import table_metadata, written_metadata
from qol_dagster.metrics.dictionary import STATUS
from qol_dagster.profiles import Profile

PREVIEW = ("date", "participant_id", "status", "n_valid_days", "last_worn_date", "days_since_last_sync")


def status_spec(profile: Profile) -> dg.AssetSpec:
    """What Dagster shows of the table."""
    daily, name = f"daily_metrics{profile.suffix}", f"participant_status{profile.suffix}"
    return dg.AssetSpec(
        name,
        description="Who wore the device and who fell silent: a row for every enrolled participant and ISO week, also "
        f"when nothing came, as Parquet under `{profile.folder}/status/date=MONDAY/`. {profile.why}",
        deps=[daily, f"weekly_metrics{profile.suffix}", "user_id_map"],
        metadata=table_metadata(STATUS, f"db_qol.{name}"),
    )


def status_result(run: Computation, reports: Sequence[WeekReport]) -> dg.MaterializeResult:
    """What is told of everybody enrolled, with the states of the last week counted."""
    daily, name = f"daily_metrics{run.profile.suffix}", f"participant_status{run.profile.suffix}"
    profile, lake = run.profile, run.lake
    run.tell_of_weeks(name, {one.week: week_metadata(one) for one in reports})
    rows = rows_of(lake, "status", run.weeks, STATUS)
    last = rows_of(lake, "status", run.weeks[-1:], STATUS)
    participants = len(run.identities.enrolled)
    return dg.MaterializeResult(
        asset_key=name,
        metadata={
            **written_metadata(STATUS, daily, f"{lake.root}/{profile.folder}/status"),
            "dagster/row_count": rows.num_rows,
            "participants": participants,
            **{f"last_week/{status}": n for status, n in sorted(Counter(last["status"].to_pylist()).items())},
            **run.made_with(),
            "preview": preview(last, PREVIEW),
            **(seconds(reports[0].seconds) if reports else {}),
        },
        check_results=check_rows(name, rows, STATUS, participants, run.garmin_ids),
    )
