"""Where invitations, sign-ins, and links to the questionnaire are stored: small records by kind and name.

Belongs here: the stores, of SQLite and of DynamoDB. A record is changed on condition that nobody else changed it
meanwhile. What the records say is their owners': `enrolment`, and `survey/links`.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from qol_ingest.shared import sqlite
from qol_ingest.shared.errors import QolError, reason

StateRow = tuple[str, str, str, int, float]
"""Kind, name, content (JSON), version, and until when it is kept (seconds since 1970)."""


class EnrolmentStateError(QolError):
    """The state could not be read or written; the message says why, and holds nothing of it."""


@dataclass(frozen=True)
class Entry:
    """A small record; `version` changes with each change."""

    content: Mapping[str, Any]
    version: int


class EnrolmentState(Protocol):
    """Small records by kind and name, for several processes at a time. Everything raises EnrolmentStateError."""

    def get(self, kind: str, name: str) -> Entry | None:
        """Return what is kept, as it is at this moment."""

    def put(self, kind: str, name: str, content: Mapping[str, Any], version: int, keep_until: float) -> bool:
        """Keep `content` if `version` is what is kept (0: nothing is); False if not.

        From `keep_until` on (seconds since 1970) it may be forgotten.
        """

    def entries(self, kind: str) -> list[tuple[str, Entry]]:
        """Return all names of a kind, with what is kept."""


@dataclass(frozen=True)
class SqliteState:
    """One SQLite file; a missing one is empty."""

    path: Path
    clock: Callable[[], float] = time.time

    def get(self, kind: str, name: str) -> Entry | None:
        """See `EnrolmentState`."""
        found = self._read("kind = ? AND name = ?", kind, name)
        return found[0][1] if found else None

    def put(self, kind: str, name: str, content: Mapping[str, Any], version: int, keep_until: float) -> bool:
        """See `EnrolmentState`."""
        text = json.dumps(content)
        with self._database() as database:
            database.execute("DELETE FROM state WHERE keep_until < ?", (self.clock(),))
            if version:
                change = "UPDATE state SET content=?, keep_until=?, version=? WHERE kind=? AND name=? AND version=?"
                values: tuple[Any, ...] = (text, keep_until, version + 1, kind, name, version)
            else:
                change = "INSERT OR IGNORE INTO state (content, keep_until, version, kind, name) VALUES (?, ?, 1, ?, ?)"
                values = (text, keep_until, kind, name)
            return database.execute(change, values).rowcount == 1

    def entries(self, kind: str) -> list[tuple[str, Entry]]:
        """See `EnrolmentState`."""
        return self._read("kind = ?", kind)

    def _read(self, where: str, *values: str) -> list[tuple[str, Entry]]:
        if not self.path.exists():
            return []
        with self._database() as database:
            rows = database.execute(f"SELECT name, content, version FROM state WHERE {where} ORDER BY name", values)
            return [(name, Entry(json.loads(content), version)) for name, content, version in rows]

    def _database(self) -> AbstractContextManager[sqlite3.Connection]:
        return sqlite.transaction(self.path, make_table, self._failure)

    def _failure(self, error: Exception) -> EnrolmentStateError:
        return EnrolmentStateError(f"{self.path} could not be read or written: {reason(error)}")


def make_table(database: sqlite3.Connection) -> None:
    """Make the table of a `SqliteState`."""
    database.execute(
        "CREATE TABLE IF NOT EXISTS state (kind TEXT, name TEXT, content TEXT NOT NULL, "
        "version INTEGER NOT NULL, keep_until REAL NOT NULL, PRIMARY KEY (kind, name))"
    )


@dataclass(frozen=True)
class DynamoState:
    """A DynamoDB table with the keys `kind` and `name` (strings); `keep_until` is meant for its time to live."""

    table: str
    client: Any = None

    def get(self, kind: str, name: str) -> Entry | None:
        """See `EnrolmentState`."""
        key = {"kind": {"S": kind}, "name": {"S": name}}
        answer = self._ask("get_item", Key=key, ConsistentRead=True)
        return _entry(answer["Item"]) if answer and "Item" in answer else None

    def put(self, kind: str, name: str, content: Mapping[str, Any], version: int, keep_until: float) -> bool:
        """See `EnrolmentState`."""
        item = _item(kind, name, json.dumps(content), version + 1, keep_until)
        condition: dict[str, Any] = {
            "ConditionExpression": "#version = :version" if version else "attribute_not_exists(#version)",
            "ExpressionAttributeNames": {"#version": "version"},
        }
        if version:
            condition["ExpressionAttributeValues"] = {":version": {"N": str(version)}}
        return self._ask("put_item", "ConditionalCheckFailedException", Item=item, **condition) is not None

    def entries(self, kind: str) -> list[tuple[str, Entry]]:
        """See `EnrolmentState`."""
        found: list[tuple[str, Entry]] = []
        query: dict[str, Any] = {
            "KeyConditionExpression": "#kind = :kind",
            "ExpressionAttributeNames": {"#kind": "kind"},
            "ExpressionAttributeValues": {":kind": {"S": kind}},
            "ConsistentRead": True,
        }
        while True:
            answer = self._ask("query", **query)
            found += [(item["name"]["S"], _entry(item)) for item in answer["Items"]]
            if not answer.get("LastEvaluatedKey"):
                return found
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def named(self, is_named: Callable[[str, str, str], bool]) -> list[tuple[str, str]]:
        """Return kind and name of all items whose kind, name and content (JSON) make `is_named` say so."""
        return [(row[0], row[1]) for row in self.rows() if is_named(*row[:3])]

    def rows(self) -> Iterator[StateRow]:
        """Yield all items."""
        more: dict[str, Any] = {}
        while True:
            answer = self._ask("scan", ConsistentRead=True, **more)
            for item in answer["Items"]:
                numbers = int(item["version"]["N"]), float(item["keep_until"]["N"])
                yield item["kind"]["S"], item["name"]["S"], item["content"]["S"], *numbers
            if not answer.get("LastEvaluatedKey"):
                return
            more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def put_row(self, row: StateRow) -> None:
        """Write an item as it was, in place of any other."""
        self._ask("put_item", Item=_item(*row))

    def remove(self, kind: str, name: str) -> None:
        """Remove an item, if it is there."""
        self._ask("delete_item", Key={"kind": {"S": kind}, "name": {"S": name}})

    def _ask(self, call: str, *expected: str, **arguments: Any) -> Any:
        """Return the answer, or None for an error that is expected."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, call)(TableName=self.table, **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in expected:
                return None
            raise EnrolmentStateError(f"DynamoDB table {self.table} refused {call}: {code}") from None
        except BotoCoreError as error:
            raise EnrolmentStateError(
                f"DynamoDB table {self.table} could not be asked: {type(error).__name__}"
            ) from None

    @cached_property
    def _client(self) -> Any:
        if self.client is not None:
            return self.client
        import boto3
        from botocore.config import Config

        patience = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 3, "mode": "standard"})
        return boto3.session.Session().client("dynamodb", config=patience)


def _item(kind: str, name: str, content: str, version: int, keep_until: float) -> dict[str, Any]:
    return {
        "kind": {"S": kind},
        "name": {"S": name},
        "content": {"S": content},
        "version": {"N": str(version)},
        "keep_until": {"N": str(round(keep_until))},
    }


def _entry(item: Mapping[str, Any]) -> Entry:
    return Entry(json.loads(item["content"]["S"]), int(item["version"]["N"]))
