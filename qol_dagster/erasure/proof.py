"""Whether a report of an erasure is true: signed here, not changed since, and about whom.

Belongs here: reading one. What an erasure does, and what it reports, is `erase.py`'s.
"""

from __future__ import annotations

import hmac
import json
from pathlib import Path

from qol_dagster.erasure.erase import ErasureReport, signed_text
from qol_dagster.errors import QolInputError
from qol_ingest.shared.erasures import AnyLedger


class NoProofError(QolInputError):
    """A file proves nothing; the message says why."""


def verify_report(ledger: AnyLedger, file: Path, person: str = "") -> ErasureReport:
    """Return the report in a file, if it was signed with the ledger's key, and is about a person if one is given.

    `person` is a participant id or Garmin's userId. Raises NoProofError, and LedgerError without the key.
    """
    try:
        found = json.loads(file.read_bytes())
        report, signature = found["report"], str(found["hmac_sha256"])
        told = ErasureReport(**report)
    except OSError as error:
        raise NoProofError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise NoProofError(f"{file} is no report of an erasure") from error
    if not hmac.compare_digest(signature.encode(), ledger.sign(signed_text(report)).encode()):
        raise NoProofError(f"{file} is not as it was signed here: it was changed, or another programme signed it")
    if person and not {ledger.hash_of(person), ledger.hash_of_participant(person)} & {*told.people}:
        raise NoProofError(f"{file} is genuine, and about somebody else")
    return told
