"""A deployment on AWS, as an erasure sees it: all versions of its lake, queues, tables, and what AWS keeps for a time.

Belongs here: what `erase.py` asks of a place, in the form for AWS. The lake's newest versions are cleared as those of a
folder are; here its older ones go, and what queries, Glue and Dagster left in the bucket.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.erasure import ErasureError
from qol_dagster.erasure.databases import is_invitation_of
from qol_dagster.erasure.search import Searched, search
from qol_dagster.erasure.versions import Version, Versions
from qol_dagster.lake.lease import Lease
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.maintenance.deployment import ERASING
from qol_dagster.resources.platform.aws import AwsPlatform
from qol_dagster.resources.spilled import drain_spilled
from qol_dagster.settings.retention import KINDS
from qol_ingest.shared import aws, keys
from qol_ingest.shared.queues import Message, SqsQueue

if TYPE_CHECKING:
    from qol_dagster.erasure.names import Person
    from qol_dagster.erasure.places import Clearing
    from qol_dagster.lake.lake import Lake
    from qol_dagster.resources.id_map import People
    from qol_dagster.settings import Settings
    from qol_ingest.shared.erasures import Entry
    from qol_ingest.shared.erasures_s3 import S3Ledger

SETTLE_S = 310.0
"""So long after the ledger's entry may a Lambda run that read the ledger before: the puller's 300 s, and a little."""
PAGE_S = 30.0
"""So long may the Lambda of a form go on that found its link before that went: 29 s, and a little."""
GLUE_POLL_S = 15.0
PASSING = tuple(f"{one}/" for one in (keys.QUERY_RESULTS, keys.PIPES, keys.WORK, keys.COMPUTE_LOGS))
"""Prefixes of what queries, runs and steps leave for a time: an object that names the person goes whole."""
WAITING = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
UNDER_WAY = frozenset({"STARTING", "RUNNING", "STOPPING", "WAITING"})
NEEDED = ("spill_queue_url", "dead_letter_url", "backup_bucket")
LOCKED_DAYS = (KINDS["old_versions"].days or 90) + 2
"""S3 removes what is marked as deleted once a day, and rounds up."""
HANDS_OUT_MESSAGES = 10_000
"""Dead letters that are looked through in one round."""
Log = Callable[[str], object]


@dataclass(frozen=True)
class Account:
    """Everything that the settings name. See `Place`."""

    settings: Settings

    advice = "Erasing takes the rights of `qol-eraser`. Wait a little, and give the same command again: it goes on"

    def check(self) -> None:
        """See `Place`."""
        missing = [f"QOL_{name.upper()}" for name in NEEDED if not getattr(self.settings, name)]
        if not self.settings.garmin_client_secret:
            missing.append("QOL_GARMIN_CLIENT_SECRET, with which the registration at Garmin is ended")
        if missing:
            raise ErasureError(
                f"nothing was erased: {', '.join(missing)} is not set", advice="See Privacy, Erasing on AWS"
            )

    def ledger(self) -> S3Ledger:
        """See `Place`."""
        return self._platform.ledger()

    def people(self) -> People:
        """See `Place`."""
        return self._people

    def lake(self) -> Lake:
        """See `Place`."""
        return self._platform.lake()

    def alone(self) -> AbstractContextManager[None]:
        """See `Place`."""
        return Lease(SharedObject(self.lake().store, ERASING)).held()

    def wait(self, begun: Entry, clearing: Clearing, log: Log) -> None:
        """See `Place`: nobody can be made to wait there, so their time is waited for.

        The page of a form asks no ledger. It stores what comes by a link, so that links go before the wait. A run may
        have read the id map before this call and after the ledger's entry, if an earlier call was killed in between.
        """
        runs = self._runs_under_way()
        began, linked = datetime.fromisoformat(begun.at), self._clear_enrolment(clearing)
        left_s = SETTLE_S - (datetime.now(UTC) - began).total_seconds()
        left_s = max(left_s, PAGE_S) if linked else left_s
        if left_s > 0:
            log(f"waiting {left_s:.0f} s for pushes and downloads that began before")
            time.sleep(left_s)
        while runs & self._runs_under_way():
            log("waiting for a run of the weekly job that began before")
            time.sleep(GLUE_POLL_S)

    def clear_copies(self, person: Person, log: Log) -> dict[str, str]:  # noqa: ARG002 - locked until a date
        """See `Place`: what is deleted in the lake is marked as deleted in the copy by `clear_sides`.

        Archives are left to the next backup, which takes the place of all from before the erasure.
        """
        return {}

    def clear_sides(self, clearing: Clearing) -> None:
        """See `Place`."""
        self._clear_queues(clearing)
        self._clear_enrolment(clearing)
        self._clear_versions(clearing)

    def search(self, person: Person) -> Searched:
        """See `Place`: every version of every object, the table of invitations, and this machine's working files."""
        searched = search(self.settings.home, person)
        searched.found = [Path("QOL_HOME") / one for one in searched.found]
        searched.found += [Path("lake", one.key) for one in self._naming(person, searched)]
        if self._invitations(person):
            searched.found.append(Path(self.settings.enrolment_table))
        return searched

    def left_in_id_map(self, person: Person) -> dict[str, str]:
        """See `Place`."""
        left = [one for one in self.people().list() if one.garmin_user_id in person.users]
        return {self.settings.id_map_table: "names the person"} if left else {}

    def stays(self, now: datetime) -> Mapping[str, str]:
        """See `Place`."""

        def until(days: int) -> date:
            return (now + timedelta(days=days)).date()

        return {
            f"copies in {self.settings.backup_bucket}": f"locked, and removed by S3 until {until(LOCKED_DAYS)}",
            f"archives in {self.settings.backup_bucket}, of before": (
                "the next backup, each night, marks them as deleted; removed by S3 within "
                f"{LOCKED_DAYS} days of that: if it is made, until {until(LOCKED_DAYS + 1)}"
            ),
            f"earlier states of {self.settings.id_map_table}, {self.settings.enrolment_table}": (
                f"can be brought back by an administrator until {until(35)}"
            ),
            "names of backfill notes in the logs of requests to S3": f"until {until(KINDS['logs'].days or 180)}",
            "texts of queries in Athena's history": f"until {until(45)}",
            "previews of runs in Dagster's database": (
                f"five rows of a table, until {until(KINDS['dagster_runs'].days or 180)}, or until the runs are "
                "deleted in Dagster; backups of its database for 14 days more"
            ),
        }

    def write_report(self, name: str, content: bytes) -> str:
        """See `Place`."""
        return self.ledger().put_report(name, content)

    # -- queues

    def _clear_queues(self, clearing: Clearing) -> None:
        if clearing.dry_run:
            return
        letters = SqsQueue(self.settings.dead_letter_url, self._client("sqs"))
        kept: list[Message] = []
        while len(kept) < HANDS_OUT_MESSAGES and (messages := letters.receive(10)):
            for one in messages:
                if clearing.is_about(one.body.encode()):
                    letters.done(one)
                    clearing.counts["dead letters"] += 1
                else:
                    kept.append(one)
        for one in kept:
            letters.retry(one, 0)
        for url in filter(None, (self.settings.spill_queue_url, self._dead_of(self.settings.spill_queue_url))):
            # What is of others is stored; what is the person's is refused, and gone.
            drain_spilled(SqsQueue(url, self._client("sqs")), self.settings.bucket, self.ledger())
            if waiting := self._waiting(url):
                clearing.left[url.rpartition("/")[2]] = (
                    f"{waiting} messages wait that may be the person's: give the same command again in an hour; parts "
                    "that never become whole are gone after 14 days"
                )

    def _waiting(self, url: str) -> int:
        found = self._ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=[*WAITING])
        return sum(int(found["Attributes"].get(name, 0)) for name in WAITING)

    def _dead_of(self, url: str) -> str:
        """Return the queue of a queue's dead letters, "" without one."""
        found = self._ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])
        policy = json.loads(found.get("Attributes", {}).get("RedrivePolicy", "{}"))
        name = policy.get("deadLetterTargetArn", "").rpartition(":")[2]
        return str(self._ask("sqs", "get_queue_url", QueueName=name)["QueueUrl"]) if name else ""

    # -- tables and runs

    def _clear_enrolment(self, clearing: Clearing) -> int:
        found = self._invitations(clearing.person)
        clearing.counts["invitations"] += len(found)
        for kind, name in () if clearing.dry_run else found:
            self._state.remove(kind, name)
        return len(found)

    def _invitations(self, person: Person) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = self._state.named(
            lambda kind, name, content: is_invitation_of(kind, name, content, person)
        )
        return found

    def _runs_under_way(self) -> set[str]:
        found = self._ask("glue", "get_job_runs", JobName=self.settings.glue_job, MaxResults=50)
        return {str(one["Id"]) for one in found["JobRuns"] if one["JobRunState"] in UNDER_WAY}

    # -- versions

    def _clear_versions(self, clearing: Clearing) -> None:
        found = self._naming(clearing.person)
        gone = [one for one in found if not one.is_latest or one.is_marker or one.key.startswith(PASSING)]
        clearing.counts["old versions"] += sum(not one.is_latest and not one.is_marker for one in gone)
        clearing.counts["left by queries and runs"] += sum(one.is_latest and not one.is_marker for one in gone)
        if clearing.dry_run or not gone:
            return
        copies = Versions(self.settings.backup_bucket)
        for key in sorted({one.key for one in gone} & self._deleted(gone)):
            copies.mark_as_deleted(key)  # not left to S3: the mark in the lake may go before it is copied
        self._versions.remove(gone)

    def _deleted(self, gone: list[Version]) -> set[str]:
        """Return the keys of which nothing is to be seen any more."""
        removed = {(one.key, one.id) for one in gone}
        now = (one for one in self._versions.all() if one.is_latest and not one.is_marker)
        return {one.key for one in gone} - {one.key for one in now if (one.key, one.id) not in removed}

    def _naming(self, person: Person, searched: Searched | None = None) -> list[Version]:
        counted = searched or Searched()

        def count(one: Version) -> None:
            counted.files += 1
            counted.bytes += one.size

        return self._versions.naming(person, count)

    @cached_property
    def _versions(self) -> Versions:
        return Versions(self.settings.bucket)

    @cached_property
    def _state(self) -> Any:  # the table of invitations, of the receiver's room
        return self._platform.enrolment_state()

    @cached_property
    def _people(self) -> People:
        return self._platform.id_map()

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = aws.client(service)
        return self._clients[service]

    @cached_property
    def _platform(self) -> AwsPlatform:
        return AwsPlatform(self.settings)

    def _ask(self, service: str, call: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client(service), call)(**arguments)
        except aws.faults() as error:
            raise ErasureError(f"{service} did not do {call}: {aws.why(error)}", advice=self.advice) from None
