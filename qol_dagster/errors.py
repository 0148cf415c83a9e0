"""Errors that are made to be read by a person, each with an exit code and advice.

Belongs here: their bases, which the receiver shares. A class that a function raises stands beside that function.
"""

from qol_ingest.shared.errors import QolError, QolInputError

__all__ = ["QolError", "QolInputError"]
