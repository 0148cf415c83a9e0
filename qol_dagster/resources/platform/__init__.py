"""What a deployment runs on: lake, arrivals, id map, engine, catalogue and notifier behind one resource.

Belongs here: which form of each a target uses. Opening one happens when it is asked for, so that loading the
definitions touches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from qol_dagster.engines import Engine, EngineName, open_engine
from qol_dagster.lake.lake import WORK, Lake
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.metrics.profiles import DEFAULT, Profile
from qol_dagster.resources.arrivals import Arrivals, ListedArrivals, QueuedArrivals
from qol_dagster.resources.glue_run import GlueJob
from qol_dagster.resources.id_map import AwsIdMap, IdMap, People
from qol_dagster.resources.notifier import LogNotifier, Notifier, SmtpNotifier, SnsNotifier
from qol_ingest.shared.queues import SqsQueue

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import Catalogue
    from qol_dagster.settings import Settings


@dataclass(frozen=True)
class Platform:
    """Everything in its form for the target of the settings.

    Local: a folder, SQLite, an engine in this process, mail by SMTP if it is configured. AWS: S3, SQS, DynamoDB, Athena
    and SNS; the weeks are computed by the Glue job.
    """

    settings: Settings
    tables_key: str = ""
    """The key of KMS under which tables are written; of those who write tables on AWS."""

    def lake(self, profile: Profile = DEFAULT) -> Lake:
        """The lake under QOL_HOME or in QOL_BUCKET, with the tables of a profile."""
        return replace(self._lake, processed=profile.folder)

    def arrivals(self) -> Arrivals:
        """Which raw days may have changed."""
        if self._is_aws:
            return QueuedArrivals(self.lake(), SqsQueue(self.settings.arrivals_queue_url))
        return ListedArrivals(self.lake())

    def id_map(self) -> People:
        """Who is enrolled."""
        return AwsIdMap(self.settings.id_map_table) if self._is_aws else IdMap(self.settings.id_map_path)

    def engine(self, name: EngineName | None = None) -> AbstractContextManager[Engine]:
        """An engine in this process, by default the one of the settings; on AWS, the Spark of the Glue job."""
        return open_engine(
            name or ("spark" if self._is_aws else self.settings.engine),
            memory_mb=self.settings.memory_mb,
            temp_dir=self.settings.temp_dir,
            shared=f"{self._lake.root}/{WORK}" if self._is_aws else "",
        )

    def glue_job(self) -> GlueJob | None:
        """The job that computes weeks on AWS; None where an engine in this process does."""
        return GlueJob(self.settings.glue_job) if self._is_aws else None

    def catalogue(self) -> Catalogue:
        """The tables people query."""
        if self._is_aws:
            from qol_dagster.resources.catalogue.athena import AthenaCatalogue

            return AthenaCatalogue(self.settings.athena_workgroup)
        from qol_dagster.resources.catalogue.duckdb import LocalCatalogue

        return LocalCatalogue(self.settings.lake_dir)

    def count_rows(self, table: str, partitions: Sequence[str]) -> dict[str, int]:
        """Rows the catalogue shows for each of these partitions of `db_qol.<table>`."""
        from qol_dagster.resources.catalogue import count_rows

        return count_rows(self.catalogue(), table, partitions)

    def notifier(self) -> Notifier:
        """Who is told of failures: the subscribers of a topic or the people of QOL_MAIL_TO, and the log in any case."""
        if self._is_aws:
            return SnsNotifier(self.settings.alert_topic_arn)
        return SmtpNotifier(self.settings) if self.settings.smtp_host else LogNotifier()

    def marker(self, name: str) -> SharedObject:
        """What one process can claim once, seen by all hosts of the deployment."""
        if self._is_aws:
            return SharedObject(self._lake.store, name)
        return SharedObject.local(self.settings.home, name)

    @property
    def _is_aws(self) -> bool:
        return self.settings.target == "aws"

    @cached_property
    def _lake(self) -> Lake:
        return Lake.s3(self.settings.bucket, self.tables_key) if self._is_aws else Lake.local(self.settings.lake_dir)
