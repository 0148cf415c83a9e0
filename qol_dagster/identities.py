"""Who is who when a job runs: a value taken from the id map, which knows nothing of where the map is stored.

Belongs here: the mapping of Garmin user ids to participant ids. Not here: enrolling and revoking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from qol_ingest.shared.permissions import HEALTH

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Identities:
    """The id map as the job needs it: Garmin user id -> participant id, and the ids of revoked users.

    `enrolled`: participant id -> date in Japan of the first enrolment, of all who ever were. `withheld`: active user ->
    Garmin's permission (for health data or for activities) that is missing; who gives neither is revoked. `withdrawn`:
    participant id -> first date of which nothing is computed.
    """

    active: Mapping[str, str]
    revoked: frozenset[str] = frozenset()
    enrolled: Mapping[str, date] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)
    withdrawn: Mapping[str, date] = field(default_factory=dict)

    def participants_with_health_data(self) -> set[str]:
        """Return participants of whom at least one account gives health data."""
        return {participant for user, participant in self.active.items() if self.withheld.get(user) != HEALTH}

    def participants_to_ask(self) -> set[str]:
        """Return who may be asked for something: not those who withdrew, though their past is still computed."""
        return set(self.active.values()) - self.withdrawn.keys()

    def of_participant(self, participant_id: str) -> Identities:
        """Return the accounts of one participant that may be used, and nobody else."""
        mine = {user: name for user, name in self.active.items() if name == participant_id}
        return Identities(mine, withheld={user: one for user, one in self.withheld.items() if user in mine})

    def without_withdrawn(self, rows: pa.Table, day: date) -> pa.Table:
        """Return the rows of a date or week without those of participants who had withdrawn by then."""
        import pyarrow as pa
        import pyarrow.compute as pc

        gone = sorted(one for one, since in self.withdrawn.items() if since <= day)
        return rows.filter(pc.invert(pc.is_in(rows["participant_id"], pa.array(gone, pa.string())))) if gone else rows

    def as_table(self) -> pa.Table:
        """Return who is who, as the metrics' expressions take it."""
        import pyarrow as pa

        names = {"user_id": pa.string(), "participant_id": pa.string(), "revoked": pa.bool_(), "withheld": pa.string()}
        schema = pa.schema(names)
        people = [(user, name, False, self.withheld.get(user, "")) for user, name in sorted(self.active.items())]
        people += [(user, "", True, "") for user in sorted(self.revoked - self.active.keys())]
        columns = [[one[n] for one in people] for n in range(len(schema))]
        return pa.table([pa.array(column, type_) for column, type_ in zip(columns, schema.types, strict=True)], schema)

    def fingerprint(self) -> str:
        """Changes when anybody is enrolled, revoked or renamed, or permits something else; shows no id.

        A date of enrolment changes no metric.
        """
        digest = hashlib.sha256()
        for user, participant in sorted(self.active.items()):
            digest.update(f"{user}\0{participant}\n".encode())
        for user in sorted(self.revoked):
            digest.update(f"{user}\0\0\n".encode())
        for user, permission in sorted(self.withheld.items()):
            digest.update(f"{user}\0\0{permission}\n".encode())
        for participant, since in sorted(self.withdrawn.items()):
            digest.update(f"\0{participant}\0{since}\n".encode())
        return digest.hexdigest()[:16]
