"""What the receiver spilled on AWS, taken off its queue by whoever erases a person.

Belongs here: draining with the receiver's own code, so that others' records are stored and a refused person's are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qol_ingest.shared.stores import S3Store
from qol_ingest.spill import drain
from qol_ingest.webhook import RefusingStore

if TYPE_CHECKING:
    from qol_ingest.shared.erasures import AnyLedger
    from qol_ingest.shared.queues import SqsQueue


def drain_spilled(queue: SqsQueue, bucket: str, ledger: AnyLedger) -> None:
    """Store what waits in a queue but for what is of refused users; what is not whole waits on. Raises QueueError."""
    drain(queue, RefusingStore(S3Store(bucket), ledger))
