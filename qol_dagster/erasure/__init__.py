"""Erasing a person: everything of theirs goes, everything of others stays, and a search proves it.

Belongs here: the places where a person's data is stored below QOL_HOME, the order in which they are cleared, the search
over all bytes, and the signed report. How rows leave a table and its history is `lake/erasure.py`'s; the ledger, which
the receiver reads too, is `qol_ingest.shared.erasures`.
"""

from __future__ import annotations

from qol_dagster.errors import QolError, QolInputError


class ErasureError(QolError):
    """An erasure could not be carried out or is not complete; the message says what is left, and names nobody."""


class UnknownPersonError(QolInputError):
    """There is nobody of that id, and nothing stored."""
