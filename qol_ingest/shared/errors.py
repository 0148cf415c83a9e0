"""The one base of every error that is made to be read by a person, and how any other error is named in one.

Belongs here: what such an error has. An error that derives from none of these is a bug, or quotes data: only its kind
may be shown. A class that a function raises stands beside that function.
"""

from __future__ import annotations

from typing import ClassVar


class QolError(Exception):
    """Something could not be done. The message says what, to what, and what to do; it holds no id and no secret.

    `advice` is what to do next, where it can be said apart; the text of the error ends in it.
    """

    exit_code: ClassVar[int] = 1
    """With which a command ends that meets it."""

    def __init__(self, message: str = "", *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice

    def __str__(self) -> str:
        """Return the message and the advice."""
        message = super().__str__()
        return f"{message}. {self.advice}" if self.advice else message


def reason(error: Exception) -> str:
    """Return what the system says of its refusal, or the kind of the error.

    Not its text: that may quote a path or content.
    """
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


class QolInputError(QolError, ValueError):
    """What was asked for, or given, is wrong."""

    exit_code: ClassVar[int] = 2
