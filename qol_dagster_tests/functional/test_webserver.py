"""Dagster's web server as it is hosted: pages of others and links start nothing."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

QUERY = json.dumps({"query": "{ version }"}).encode()
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    command = [sys.executable, "-m", "qol_dagster.defs.webserver", "-h", "127.0.0.1", "-p", str(number)]
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    log = home / "log"
    with (
        log.open("w") as out,
        subprocess.Popen([*command, "--empty-workspace"], env=environment, stdout=out, stderr=out, cwd=home) as server,
    ):
        try:
            until = time.monotonic() + 60
            while not answers(number):
                assert time.monotonic() < until, log.read_text()
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            yield number
        finally:
            server.terminate()


def answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/server_info") == 200
    except OSError:
        return False


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "origin", "content_type", "status"),
    [
        ("POST", "/graphql", "own", "application/json", 200),
        ("POST", "/graphql", "own", "application/json; charset=utf-8", 200),
        ("POST", "/graphql", "https://example.org", "application/json", 403),
        ("POST", "/graphql", "null", "application/json", 403),
        ("POST", "/graphql", "", "application/json", 403),
        ("POST", "/graphql", None, "application/json", 403),
        ("POST", "/graphql", "own", "text/plain", 415),
        ("POST", "/graphql", "own", "text/plain; application/json", 415),
        ("POST", "/graphql", "own", "application/graphql", 415),
        ("POST", "/%67raphql", "https://example.org", "application/json", 403),
        ("GET", "/graphql?query=%7Bversion%7D", "own", None, 405),
        ("GET", "/%67raphql?query=%7Bversion%7D", None, None, 405),
        ("HEAD", "/graphql?query=%7Bversion%7D", None, None, 405),
        ("POST", "/report_asset_materialization/x", None, "application/json", 403),
        ("GET", "/runs", None, None, 200),
    ],
)
def test_graphql_takes_only_json_by_post_from_its_own_pages(
    port: int, method: str, path: str, origin: str | None, content_type: str | None, status: int
) -> None:
    headers = {"Content_Type": content_type, "Origin": f"http://127.0.0.1:{port}" if origin == "own" else origin}
    given = {name: value for name, value in headers.items() if value is not None}
    assert ask(port, method, path, QUERY if method == "POST" else None, **given) == status


@pytest.mark.slow
def test_the_weekly_start_comes_in_with_its_token_and_without_an_origin(port: int) -> None:
    given = {"Content_Type": "application/json", "Authorization": "Bearer x"}
    assert ask(port, "POST", "/graphql", QUERY, **given) == 200
    assert ask(port, "POST", "/report_asset_materialization/x", b"{}", **given) == 403
    assert ask(port, "POST", "/graphql", QUERY, **given, Origin="https://example.org") == 403


@pytest.mark.slow
@pytest.mark.parametrize(("origin", "status"), [("own", b"101"), ("https://example.org", b"403"), (None, b"403")])
def test_a_web_socket_is_for_its_own_pages_alone(port: int, origin: str | None, status: bytes) -> None:
    lines = [
        "GET /graphql HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: graphql-ws",
    ]  # fmt: skip
    if origin:
        lines.append(f"Origin: {f'http://127.0.0.1:{port}' if origin == 'own' else origin}")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        assert client.recv(1000).split(b" ")[1] == status


def test_the_image_runs_it() -> None:
    hosting = (Path(__file__).parents[2] / "infra/hosting.py").read_text()
    assert '"python", "-m", "qol_dagster.defs.webserver"' in hosting
