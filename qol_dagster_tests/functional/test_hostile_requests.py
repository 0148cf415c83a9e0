"""A hundred hostile requests, each sent to a real server: it answers and stores what the page says."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qol_dagster_tests.support.hostile import CLIENT_ID, SECRET_PATH, requests
from qol_ingest import server as server_module
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

PAGE = Path(__file__).parents[2] / "docs/reference/hostile-requests.md"
REQUESTS = list(requests())
ROWS = [
    [cell.strip() for cell in line.split("|")[2:-1]]
    for line in PAGE.read_text().splitlines()
    if re.match(r"\| \d+ \|", line) and line.count("|") == 5
]
PLACES = {"daily": "raw line", "lifecycle": "event", "pings": "ping"}


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalWebhook, Path]]:
    lake = tmp_path_factory.mktemp("lake")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "HEAD_S", 1.0)
        patch.setattr(server_module, "BODY_S", 1.0)
        secret = SECRET_PATH.removeprefix("/garmin/")
        with LocalWebhook(Receiver(DirectoryStore(lake), secret, CLIENT_ID)) as running:
            yield running, lake


def answer(port: int, request: bytes) -> str:
    """The status of the answer; a dash if the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        try:
            client.sendall(request)
            answered = b"".join(iter(lambda: client.recv(65_536), b""))
        except ConnectionError:
            answered = b""
    return answered.split(b" ")[1].decode() if answered.startswith(b"HTTP/1.1 ") else "-"


def stored(lake: Path, request: bytes) -> str:
    """What a request left in the lake, which is empty afterwards."""
    found: Counter[str] = Counter()
    for path in [one for one in lake.rglob("*") if one.is_file()]:
        content = path.read_bytes()
        place = path.relative_to(lake).parts[1]
        if path.name.endswith(".body"):
            found["the body"] += 1
            assert request.endswith(content)
        else:
            found["rejected" if place == "quarantine" else PLACES[place]] += len(content.splitlines())
        path.unlink()
    return ", ".join(name if name == "the body" else f"{count} {name}" for name, count in found.items()) or "nothing"


def test_there_are_a_hundred_and_each_has_a_row() -> None:
    assert len(REQUESTS) == 100
    assert [row[0] for row in ROWS] == [name for name, _ in REQUESTS]


@pytest.mark.parametrize("number", range(100), ids=[name for name, _ in REQUESTS])
def test_a_hostile_request_is_answered_and_stored_as_the_page_says(
    hook: tuple[LocalWebhook, Path], number: int
) -> None:
    server, lake = hook
    _, request = REQUESTS[number]
    assert [answer(server.port, request), stored(lake, request)] == ROWS[number][1:3]


def test_after_all_of_them_a_push_is_taken(hook: tuple[LocalWebhook, Path]) -> None:
    server, lake = hook
    (request,) = [request for name, request in REQUESTS if name == "gzip"]
    assert [answer(server.port, request), stored(lake, request)] == ["200", "1 raw line"]
