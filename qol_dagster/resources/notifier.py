"""How people are alerted to a failure: by mail, by SNS, and in the log.

Belongs here: the port and its forms. What a message says is `alerts.py`'s. A notifier that is broken says so in the
log and never raises.
"""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

logger = logging.getLogger("qol_dagster.defs.alerts")

SMTP_TIMEOUT_S = 20
LONGEST_SUBJECT = 100
"""What SNS takes, of ASCII characters."""


class Notifier(Protocol):
    """Notifies people; returns whether the message is out."""

    def send(self, subject: str, body: str) -> bool:
        """Send one message."""


@dataclass(frozen=True)
class LogNotifier:
    """For a deployment without mail: the message stands in the log."""

    def send(self, subject: str, body: str) -> bool:
        """Write the message at level ERROR."""
        logger.error("%s\n%s", subject, body)
        return True


@dataclass(frozen=True)
class SmtpNotifier:
    """One mail to all of QOL_MAIL_TO."""

    settings: Settings

    def send(self, subject: str, body: str) -> bool:
        """Send the mail. When that fails, the log has the message and the reason."""
        message = EmailMessage()
        message["Subject"] = _one_line(subject)
        message["From"] = self.settings.mail_from
        message["To"] = ", ".join(self.settings.mail_to)
        message.set_content(body)
        return _sent_or_logged(lambda: self._deliver(message), subject, body)

    def _deliver(self, message: EmailMessage) -> None:
        to = self.settings
        with smtplib.SMTP(to.smtp_host, to.smtp_port, timeout=SMTP_TIMEOUT_S) as server:
            if to.smtp_starttls:
                server.starttls()
            if to.smtp_user:
                server.login(to.smtp_user, to.smtp_password)
            server.send_message(message)


@dataclass(frozen=True)
class SnsNotifier:
    """One message to a topic, which AWS mails to everybody who subscribed to it."""

    topic_arn: str

    def send(self, subject: str, body: str) -> bool:
        """Publish the message. When that fails, the log has the message and the reason."""
        return _sent_or_logged(lambda: self._publish(subject, body), subject, body)

    def _publish(self, subject: str, body: str) -> None:
        from qol_ingest.shared import aws

        plain = _one_line(subject).encode("ascii", "replace").decode()[:LONGEST_SUBJECT]
        aws.client("sns").publish(TopicArn=self.topic_arn, Subject=plain, Message=body)


def _sent_or_logged(send: Callable[[], object], subject: str, body: str) -> bool:
    try:
        send()
    except Exception as error:
        # The error may quote the server, never the message; a password is not in it.
        logger.error("the alert could not be sent (%s)", type(error).__name__)  # noqa: TRY400
        LogNotifier().send(subject, body)
        return False
    return True


def _one_line(text: str) -> str:
    return " ".join(text.split())
