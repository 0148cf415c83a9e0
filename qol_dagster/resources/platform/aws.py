"""A deployment on AWS: S3, SQS, DynamoDB, Athena, SNS and Secrets Manager; the Glue job computes weeks.

Belongs here: the form of each part on AWS. Nothing is asked of AWS before a part is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from qol_dagster.engines import Engine, EngineName, open_engine
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.metrics.profiles import DEFAULT, Profile
from qol_dagster.resources.arrivals import Arrivals, QueuedArrivals
from qol_dagster.resources.glue_run import GlueJob
from qol_dagster.resources.id_map import AwsIdMap, People
from qol_dagster.resources.notifier import Notifier, SnsNotifier
from qol_dagster.resources.platform import Computer
from qol_ingest.shared.keys import WORK
from qol_ingest.shared.queues import SqsQueue

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import Catalogue
    from qol_dagster.resources.platform import Kind
    from qol_dagster.settings import Settings
    from qol_ingest.consent.state import DynamoState
    from qol_ingest.garmin.tokens import TokenStore
    from qol_ingest.shared.erasures_s3 import S3Ledger
    from qol_ingest.shared.stores import Store


@dataclass(frozen=True)
class AwsPlatform:
    """Everything that the settings name. See `Platform`.

    `tables_key`: the key of KMS under which tables are written; of those who write tables.
    """

    settings: Settings
    tables_key: str = ""

    @property
    def kinds(self) -> Mapping[Kind, str]:
        """See `Platform`."""
        return {"engine": "glue", "catalogue": "athena", "id_map": "dynamodb"}

    def lake(self, profile: Profile = DEFAULT) -> Lake:
        """Return the lake in QOL_BUCKET."""
        return self._lake.with_tables(profile.folder)

    def arrivals(self) -> Arrivals:
        """Return the queue of S3's notifications."""
        return QueuedArrivals(self.lake(), SqsQueue(self.settings.arrivals_queue_url))

    def id_map(self) -> People:
        """Return a table of DynamoDB."""
        return AwsIdMap(self.settings.id_map_table, ledger=self.ledger())

    def ledger(self) -> S3Ledger:
        """Return an object in the lake's bucket."""
        return self._ledger

    def engine(self, name: EngineName | None = None) -> AbstractContextManager[Engine]:
        """Return the Spark of the cluster that this process is on."""
        settings, shared = self.settings, f"{self._lake.root}/{WORK}"
        return open_engine(name or "spark", memory_mb=settings.memory_mb, temp_dir=settings.temp_dir, shared=shared)

    def computer(self) -> Computer:
        """Return the Glue job."""
        return Computer(self.engine, GlueJob(self.settings.glue_job), self.settings.start_date)

    def catalogue(self) -> Catalogue:
        """Athena in a workgroup."""
        from qol_dagster.resources.catalogue.athena import AthenaCatalogue

        return AthenaCatalogue(self.settings.athena_workgroup)

    def notifier(self) -> Notifier:
        """Return the subscribers of a topic."""
        return SnsNotifier(self.settings.alert_topic_arn)

    def report_notifier(self) -> Notifier | None:
        """Return the subscribers of the topic of reports."""
        return SnsNotifier(self.settings.report_topic_arn) if self.settings.report_topic_arn else None

    def marker(self, name: str) -> SharedObject:
        """Return an object in the lake's bucket."""
        return SharedObject(self._lake.store, name)

    def enrolment_state(self) -> DynamoState:
        """Return a table of DynamoDB."""
        from qol_ingest.consent.state import DynamoState

        return DynamoState(self.settings.enrolment_table)

    def tokens(self) -> TokenStore:
        """Secrets Manager."""
        from qol_ingest.garmin.tokens_aws import SecretsManagerTokenStore

        return SecretsManagerTokenStore()

    def raw_store(self) -> Store:
        """Return the lake's bucket."""
        from qol_ingest.shared.stores import S3Store

        return S3Store(self.settings.bucket)

    @cached_property
    def _ledger(self) -> S3Ledger:
        from qol_ingest.shared.erasures_s3 import S3Ledger

        return S3Ledger(self.settings.bucket, self.settings.ledger_key)

    @cached_property
    def _lake(self) -> Lake:
        return Lake.s3(self.settings.bucket, self.tables_key or self.settings.tables_key)
