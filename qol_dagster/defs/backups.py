"""`backup_job`, its schedule, and an alert when the newest verified backup is old.

Belongs here: when a backup is due or overdue, what is said of it, and Dagster around it. Making one belongs in
`maintenance/backup.py`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from qol_dagster.defs.assets.common import megabytes
from qol_dagster.defs.messages import NOT_SENT, Message, send_growth, subject
from qol_dagster.errors import QolError
from qol_dagster.maintenance.backup import Backup, newest_verified
from qol_dagster.maintenance.places import back_up, is_set_up, open_store
from qol_dagster.resources.platform import Resources
from qol_dagster.settings import Settings, Target
from qol_dagster.weeks import TIMEZONE

CRON = "30 3 * * *"
"""When hardly anybody's device synchronises."""
EVERY_S = 3600
OLD = timedelta(days=7)
VARIABLE: Mapping[Target, str] = {"local": "QOL_BACKUP_DIR", "aws": "QOL_BACKUP_BUCKET"}
NEXT_STEP = {
    "en": "Look at the last run of backup_job in Dagster (`qol dev`), mend its reason, and run `qol backup create`. "
    "It is over when `qol backup list` shows a new backup.",
    "ja": "Dagster（`qol dev`）で backup_job の最新の実行を確認し、原因を取り除いてから、`qol backup create` を"
    "実行してください。`qol backup list` に新しいバックアップが表示されれば、完了です。",
}


def backup_job() -> dg.JobDefinition:
    """Return the job that backs up QOL_HOME, or a deployment on AWS."""

    @dg.op(
        name="back_up",
        description="Writes the archives that have changed, reads back what it wrote, and verifies the others.",
    )
    def back_up_all(context: dg.OpExecutionContext, parts: dg.ResourceParam[Resources]) -> None:
        started = datetime.now(UTC)
        try:
            made = back_up(parts.settings, open_store(parts.settings))
        except QolError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        if made.unknown:
            context.log.warning(
                "not in the backup, since nothing says what it is: %d files or folders", len(made.unknown)
            )
        context.add_output_metadata(
            {
                "backup": made.backup.name,
                "archives_written": len(made.written),
                "archives_unchanged": made.unchanged,
                "written_mb": megabytes(sum(one.bytes for one in made.written)),
                "total_mb": megabytes(made.backup.bytes),
                "verified": True,
                "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
            }
        )

    @dg.job(name="backup_job", executor_def=dg.in_process_executor)
    def backup() -> None:
        """QOL_HOME, or the lake and the tables on AWS -> ZIP archives by month, without tokens and secrets."""
        back_up_all()

    return backup


def backup_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule: each day at 03:30 in Japan, from the start if there is a place for backups."""
    return dg.ScheduleDefinition(
        name="backup_schedule",
        job_name="backup_job",
        cron_schedule=CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING if is_set_up(settings) else dg.DefaultScheduleStatus.STOPPED,
        description="Each day at 03:30 Japan time; on if QOL_BACKUP_DIR is set, on AWS QOL_BACKUP_BUCKET.",
    )


def overdue_weeks(newest: Backup | None, since: datetime, now: datetime) -> int:
    """Return for how many whole weeks there has been no verified backup; `since` is when it was first asked."""
    return max(0, (now - (newest.created_at if newest else since)) // OLD)


def message(newest: Backup | None, weeks: int) -> tuple[str, str]:
    """Return subject and body of an alert, in English and Japanese."""
    made = f"{newest.created_at:%Y-%m-%d}" if newest else ""
    english = f"The newest verified backup is of {made}." if made else "There is no verified backup."
    japanese = f"検証済みの最新のバックアップは {made} のものです。" if made else "検証済みのバックアップがありません。"
    return (
        subject("no_backup", days=OLD.days * weeks),
        f"{english} {NEXT_STEP['en']}\n\n{japanese}{NEXT_STEP['ja']}\n",
    )


def backup_sensor(parts: Resources) -> dg.SensorDefinition:
    """Return the sensor that alerts once when backups are overdue, and once more for each week that follows."""

    @dg.sensor(
        name="backup_sensor",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts people when the newest verified backup is older than a week, and each week from then on.",
    )
    def backup_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if not is_set_up(parts.settings):
            return dg.SkipReason(f"no backups are made: {VARIABLE[parts.settings.target]} is not set")
        now = datetime.now(UTC)
        seen: Mapping[str, Any] = json.loads(context.cursor) if context.cursor else {"since": now.isoformat()}
        newest = newest_verified(open_store(parts.settings))
        weeks = overdue_weeks(newest, datetime.fromisoformat(seen["since"]), now)
        alerted = send_growth(
            parts.notifier(),
            {"alerted": weeks},
            {"alerted": seen.get("alerted", 0)},
            lambda grown: [Message(grown, *message(newest, weeks))],
        )
        context.update_cursor(json.dumps({"since": seen["since"], **alerted.levels}))
        if alerted.unsent:
            return dg.SkipReason(NOT_SENT)
        name = newest.name if newest else "none"
        return dg.SkipReason(f"{'alerted' if alerted.sent else 'no alert'}: the newest verified backup is {name}")

    return backup_sensor
