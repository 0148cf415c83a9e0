"""A mail server on loopback that stores what it takes."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Inbox:
    """A mail server that keeps what it takes."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return self.answer


class HangingServer:
    """A mail server that accepts connections and says nothing."""

    def __init__(self, listening: socket.socket) -> None:
        self.port: int = listening.getsockname()[1]
        self.connections: list[socket.socket] = []
        self._listening = listening

    def accept_all(self) -> None:
        """Accept until the server is closed."""
        with suppress(OSError):
            while True:
                self.connections.append(self._listening.accept()[0])

    def waiting(self) -> int:
        """Count the clients that have not given up."""
        return sum(not select.select([client], [], [], 0)[0] for client in self.connections)

    def drop(self) -> None:
        """Close all connections."""
        while self.connections:
            self.connections.pop().close()


@contextmanager
def hanging_server() -> Iterator[HangingServer]:
    """Run a server that hangs; at the end its clients are dropped."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = HangingServer(listening)
        accepting = Thread(target=server.accept_all)
        accepting.start()
        try:
            yield server
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            server.drop()


class AcceptsAnybody:
    """Takes every user and password, and remembers them."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        self.seen.append(data)
        return AuthResult(success=True)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that nobody has signed but itself: the files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@contextmanager
def mail_server(**options: Any) -> Iterator[tuple[Inbox, int]]:
    """Run a server; yield its inbox and its port. Options are those of aiosmtpd's SMTP."""
    found = Inbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(found, hostname="127.0.0.1", port=port, **options)
    server.start()
    try:
        yield found, port
    finally:
        server.stop()
