"""`user_id_map` in DynamoDB: the same map as in `id_map`, one item a Garmin user.

Belongs here: how each change becomes one conditional write. A participant id is claimed by an item of its own, because
DynamoDB keeps nothing unique but keys; its key begins with #, which no Garmin user id does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from qol_ingest.id_map import Change, Enrolment, IdMapError, check_participant, list_

CLAIM = "#"
MOST_IN_ONE = 50
"""Enrolments that fit into one transaction: two of its 100 writes each."""
TRIES = 20

Item = dict[str, Any]


@dataclass(frozen=True)
class DynamoIdMap:
    """The map in a table with the partition key `garmin_user_id`."""

    table: str
    client: Any = field(default=None, repr=False)

    def add(self, garmin_user_id: str, participant_id: str | None = None) -> str:
        """See `IdMap`."""
        user = garmin_user_id.strip()
        for _ in range(TRIES):
            free = self._free_ids() if participant_id is None else iter(())
            wanted, writes = self._enrolling(user, participant_id, free)
            if not writes or self._transact(writes):
                return wanted
        raise IdMapError("the id map is being changed by too many at once; try again")

    def enrol(self, users: Iterable[str]) -> int:
        """See `IdMap`. All or none up to 50; beyond that in steps."""
        return self._in_steps([(user, None) for user in users])

    def import_rows(self, rows: Iterable[tuple[str, str]]) -> int:
        """See `IdMap`. All or none up to 50; beyond that in steps."""
        return self._in_steps([(user, participant) for user, participant in rows])

    def list(self) -> list_[Enrolment]:
        """See `IdMap`."""
        everyone = [_enrolment(item) for item in self._scan() if not item["garmin_user_id"].startswith(CLAIM)]
        return sorted(everyone, key=lambda one: (one.participant_id, one.garmin_user_id))

    def get(self, garmin_user_id: str) -> Enrolment | None:
        """See `IdMap`."""
        item = self._item(garmin_user_id)
        return _enrolment(item) if item else None

    def revoke(self, participant_id: str) -> int:
        """See `IdMap`."""
        users = [one.garmin_user_id for one in self.list() if one.participant_id == participant_id != ""]
        if not users:
            raise IdMapError(f"there is no participant {participant_id}; `qol participants list` shows who there is")
        for user in users:
            self._change(user, lambda item: _with_status(item, "revoked", _now()))
        return len(users)

    def seen(self, users: Iterable[str], at: datetime) -> int:
        """See `IdMap`."""
        return sum(self._note_pending(user, at) for user in users)

    def deregister(self, garmin_user_id: str, at: datetime) -> bool:
        """See `IdMap`."""

        def left(item: Item) -> Item | None:
            late = _text(at) < item["status_at"]
            return None if late else _with_status(item, "deregistered", _text(at))

        return self._change(garmin_user_id, left)

    def reinstate(self, garmin_user_id: str, at: datetime) -> bool:
        """See `IdMap`."""

        def back(item: Item) -> Item | None:
            gone = item["status"] == "deregistered"
            return _with_status(item, item["status_before"] or "pending", _text(at)) if gone else None

        return self._change(garmin_user_id, back)

    def change_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """See `IdMap`."""
        self._note_pending(garmin_user_id, at)
        allowed, told = sorted(set(permissions)), False

        def changed(item: Item) -> Item | None:
            nonlocal told
            told = False
            if _text(at) < item["permissions_at"]:
                return None
            told = item["permissions"] != allowed
            item = {**item, "permissions": allowed, "permissions_at": _text(at)}
            return _noted(item, _text(at), f"permissions: {', '.join(allowed) or 'nothing'}") if told else item

        self._change(garmin_user_id, changed)
        return told

    def history(self, participant_id: str) -> Sequence[Change]:
        """See `IdMap`."""
        items = [item for item in self._scan() if item.get("participant_id") == participant_id != ""]
        lines = [line for item in items for line in item["history"]]
        return [Change(line["at"], line["what"]) for line in sorted(lines, key=lambda line: line["noted_at"])]

    # -- changes

    def _note_pending(self, user: str, at: datetime) -> bool:
        if not user.strip() or user.startswith(CLAIM):
            return False
        item = _noted(_new(user, _text(at)), _text(at), "pending")
        return self._put(item, "attribute_not_exists(garmin_user_id)")

    def _change(self, user: str, change: Callable[[Item], Item | None]) -> bool:
        """Read, change, and write if nobody wrote meanwhile. False if there is nobody, or nothing to change."""
        for _ in range(TRIES):
            old = self._item(user)
            new = change(old) if old else None
            if old is None or new is None or new == old:
                return False
            if self._put(_next(new), "version = :version", {":version": {"N": str(old["version"])}}):
                return True
        raise IdMapError("the id map is being changed by too many at once; try again")

    def _in_steps(self, rows: list_[tuple[str, str | None]]) -> int:
        done = 0
        free = self._free_ids()
        for step in (rows[at : at + MOST_IN_ONE] for at in range(0, len(rows), MOST_IN_ONE)):
            writes: dict[str, Item] = {}
            for number, (user, participant) in enumerate(step, start=done + 1):
                try:
                    for write in self._enrolling(user.strip(), participant, free)[1]:
                        writes[write["Put"]["Item"]["garmin_user_id"]["S"]] = write
                except IdMapError as error:
                    before = f"the {done} entries before {done + 1} were enrolled" if done else "nobody was enrolled"
                    raise IdMapError(f"entry {number}: {error}; {before}") from error
            if writes and not self._transact([*writes.values()]):
                raise IdMapError(f"the id map was changed meanwhile; {done} were enrolled, do the same again")
            done += len(step)
        return done

    def _enrolling(self, user: str, participant: str | None, free: Iterator[str]) -> tuple[str, list_[Item]]:
        """The participant id, and what is to be written in one transaction; nothing if it is so already."""
        if not user:
            raise IdMapError("a Garmin user id is needed, and this one is empty")
        if user.startswith(CLAIM):
            raise IdMapError("a Garmin user id does not begin with #")
        old = self._item(user)
        known = old["participant_id"] if old else ""
        wanted = participant.strip() if participant else (known or next(free))
        check_participant(wanted, user)
        if known and known != wanted:
            raise IdMapError(f"this Garmin user is enrolled as {known} already; revoke {known} or leave it as it is")
        if old and old["status"] == "active":
            return wanted, []
        now = _now()
        item = old or _new(user, now)
        item = {**item, "participant_id": wanted, "enrolled_at": item["enrolled_at"] or now}
        condition: Item = {"ConditionExpression": "attribute_not_exists(garmin_user_id)"}
        if old:
            version = {":version": {"N": str(old["version"])}}
            condition = {"ConditionExpression": "version = :version", "ExpressionAttributeValues": version}
        put = {"TableName": self.table, "Item": _packed(_next(_with_status(item, "active", now))), **condition}
        claim: Item = {"TableName": self.table, "Item": {"garmin_user_id": {"S": CLAIM + wanted}}}
        if not participant and not known:  # an id that was free must still be
            claim["ConditionExpression"] = "attribute_not_exists(garmin_user_id)"
        return wanted, [{"Put": put}, {"Put": claim}]

    def _free_ids(self) -> Iterator[str]:
        """P0001 and so on, from behind the last one that is taken."""
        taken = (item["garmin_user_id"] for item in self._scan() if item["garmin_user_id"].startswith(f"{CLAIM}P"))
        numbers = [int(one[2:]) for one in taken if one[2:].isdecimal()]
        for number in itertools.count(max(numbers, default=0) + 1):
            yield f"P{number:04d}"

    # -- DynamoDB

    def _item(self, user: str) -> Item | None:
        if not user.strip() or user.startswith(CLAIM):
            return None
        found = self._ask("get_item", Key={"garmin_user_id": {"S": user}}, ConsistentRead=True)
        return _unpacked(found["Item"]) if "Item" in found else None

    def _scan(self) -> Iterator[Item]:
        more: Item = {}
        while True:
            page = self._ask("scan", ConsistentRead=True, **more)
            yield from map(_unpacked, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _put(self, item: Item, condition: str, values: Item | None = None) -> bool:
        extra = {"ExpressionAttributeValues": values} if values else {}
        answer = self._ask("put_item", Item=_packed(item), ConditionExpression=condition, **extra)
        return answer is not None

    def _transact(self, writes: list_[Item]) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            self._client.transact_write_items(TransactItems=writes)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in ("TransactionCanceledException", "TransactionConflictException"):
                return False
            raise IdMapError(f"DynamoDB refused a change of the id map: {code}") from None
        except BotoCoreError as error:
            raise IdMapError(f"DynamoDB could not be asked: {type(error).__name__}") from None
        return True

    def _ask(self, call: str, **arguments: Any) -> Any:
        """The answer, or None when the condition of a write does not hold."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            return getattr(self._client, call)(TableName=self.table, **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code == "ConditionalCheckFailedException":
                return None
            raise IdMapError(f"DynamoDB refused {call} on the id map: {code}") from None
        except BotoCoreError as error:
            raise IdMapError(f"DynamoDB could not be asked: {type(error).__name__}") from None

    @cached_property
    def _client(self) -> Any:
        if self.client is not None:
            return self.client
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        patience = Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 2, "mode": "standard"})
        return boto3.session.Session().client("dynamodb", config=patience)


def _new(user: str, at: str) -> Item:
    texts = dict.fromkeys(("participant_id", "enrolled_at", "status_before", "status_at", "permissions_at"), "")
    return {
        "garmin_user_id": user,
        "status": "pending",
        "created_at": at,
        "updated_at": at,
        "permissions": None,
        "history": [],
        "version": 0,
        **texts,
    }


def _with_status(item: Item, status: str, at: str) -> Item:
    if item["status"] == status:
        return item
    return _noted({**item, "status_before": item["status"], "status": status, "status_at": at}, at, status)


def _noted(item: Item, at: str, what: str) -> Item:
    return {**item, "history": [*item["history"], {"at": at, "what": what, "noted_at": _now()}]}


def _next(item: Item) -> Item:
    return {**item, "version": item["version"] + 1, "updated_at": _now()}


def _enrolment(item: Item) -> Enrolment:
    permissions = None if item["permissions"] is None else tuple(item["permissions"])
    return Enrolment(
        item["garmin_user_id"],
        item["participant_id"],
        item["status"],
        item["updated_at"],
        item["enrolled_at"],
        permissions,
    )


def _packed(item: Item) -> Item:
    from boto3.dynamodb.types import TypeSerializer  # noqa: PLC0415

    packed: Item = TypeSerializer().serialize(item)["M"]
    return packed


def _unpacked(item: Item) -> Item:
    from boto3.dynamodb.types import TypeDeserializer  # noqa: PLC0415

    read: Item = TypeDeserializer().deserialize({"M": item})
    return {**read, "version": int(read.get("version", 0))}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _now() -> str:
    return _text(datetime.now(UTC))
