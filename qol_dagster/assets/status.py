"""`participant_status`: a row for everyone enrolled and each week, also when nothing came."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from qol_dagster.alerts import tell_of_failed_step
from qol_dagster.assets.common import EtlConfig, preview, rows_of, seconds, weeks_of
from qol_dagster.checks import check_rows, check_specs
from qol_dagster.etl import materialize_status
from qol_dagster.lineage import table_metadata
from qol_dagster.metrics.dictionary import METRICS_VERSION, STATUS
from qol_dagster.profiles import Profile
from qol_dagster.resources.platform import Platform

PREVIEW = ("date", "participant_id", "status", "n_valid_days", "last_worn_date", "days_since_last_sync")


def participant_status_asset(profile: Profile, options: dict[str, Any]) -> dg.AssetsDefinition:
    """The asset; `options` are what all computed assets share."""
    daily, weekly = f"daily_metrics{profile.suffix}", f"weekly_metrics{profile.suffix}"
    name = f"participant_status{profile.suffix}"
    table = f"db_qol.{name}"

    @dg.asset(
        name=name,
        description="Who wore the device and who fell silent: a row for every enrolled participant and ISO week, also "
        f"when nothing came, as Parquet under `{profile.folder}/status/date=MONDAY/`. {profile.why}",
        deps=[daily, weekly, "user_id_map"],
        kinds={"duckdb", "parquet"},
        check_specs=check_specs(name),
        hooks={tell_of_failed_step},
        metadata=table_metadata(STATUS, daily, table),
        **options,
    )
    def participant_status(
        context: dg.AssetExecutionContext, config: EtlConfig, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake, people, weeks = platform.lake(profile), platform.id_map(), weeks_of(context)
        with platform.engine(None if config.engine == "default" else config.engine) as engine:
            reports = materialize_status(
                engine, lake, weeks, people.identities(), computed_at=datetime.now(UTC), thresholds=profile.thresholds
            )
            used = engine.name
        for report in reports:
            context.add_asset_metadata(
                {"dagster/partition_row_count": report.rows, "partition_uri": report.uri},
                asset_key=name,
                partition_key=report.week.isoformat(),
            )
        rows = rows_of(lake, "status", weeks, STATUS)
        last = rows_of(lake, "status", weeks[-1:], STATUS)
        participants = len({one.participant_id for one in people.list() if one.participant_id})
        ids = [one.garmin_user_id for one in people.list()]
        return dg.MaterializeResult(
            metadata={
                **table_metadata(STATUS, daily, table, f"{lake.root}/{profile.folder}/status"),
                "dagster/row_count": rows.num_rows,
                "participants": participants,
                **{f"last_week/{status}": n for status, n in sorted(Counter(last["status"].to_pylist()).items())},
                "engine": used,
                "metrics_version": METRICS_VERSION,
                "thresholds": profile.thresholds.as_dict(),
                "preview": preview(last, PREVIEW),
                **(seconds(reports[0].seconds) if reports else {}),
            },
            check_results=check_rows(name, rows, STATUS, participants, ids),
        )

    return participant_status
