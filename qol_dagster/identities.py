"""Who is who when a job runs: a value taken from the id map, which knows nothing of where the map is stored.

Belongs here: the mapping of Garmin user ids to participant ids. Not here: enrolling and revoking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from qol_ingest.shared.permissions import HEALTH


@dataclass(frozen=True)
class Identities:
    """The id map as the job needs it: Garmin user id -> participant id, and the ids of revoked users.

    `enrolled`: participant id -> date in Japan of the first enrolment, of all who ever were. `withheld`: active user ->
    Garmin's permission (for health data or for activities) that is missing; who gives neither is revoked.
    """

    active: Mapping[str, str]
    revoked: frozenset[str] = frozenset()
    enrolled: Mapping[str, date] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)

    def participants_with_health_data(self) -> set[str]:
        """Participants of whom at least one account gives health data."""
        return {participant for user, participant in self.active.items() if self.withheld.get(user) != HEALTH}

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
        return digest.hexdigest()[:16]
