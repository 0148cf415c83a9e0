"""The simulated cloud over real HTTP: what arrives at a receiver that is not always well, and the command."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from garmin_sim import PushError, Simulation, push
from garmin_sim.cli import app

SUNDAY = date(2026, 3, 1)
SECRET = "very-secret-path"
DROP, NO_ANSWER = 0, -1

Answer = Callable[[int], int]
"""The status for the n-th request; DROP closes the connection, NO_ANSWER keeps it waiting."""


@dataclass
class Received:
    """What a receiver saw."""

    taken: list[bytes] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    content_types: set[str | None] = field(default_factory=set)
    client_ids: set[str | None] = field(default_factory=set)
    sent_at: list[str | None] = field(default_factory=list)
    requests: int = 0
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, received: Received, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received, self.answer = received, answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{SECRET}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        received = self.server.received
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with received.lock:
            received.requests += 1
            received.at_once += 1
            received.most_at_once = max(received.most_at_once, received.at_once)
            received.paths.add(self.path)
            received.content_types.add(self.headers["Content-Type"])
            received.client_ids.add(self.headers["garmin-client-id"])
            received.sent_at.append(self.headers["Date"])
            status = self.server.answer(received.requests)
        time.sleep(0.002)
        if status == NO_ANSWER:
            received.closing.wait(20)
        with received.lock:
            received.at_once -= 1
            if status == 200:
                received.taken.append(body)
        if status <= 0:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def receiver(answer: Answer = lambda _number: 200) -> Iterator[tuple[str, Received]]:
    received = Received()
    with Server(received, answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.url, received
        finally:
            received.closing.set()
            server.shutdown()
            thread.join()


def moody(number: int) -> int:
    """Out of 23 requests one gets 503, one 500, one 202 and one a dropped connection."""
    return {2: 503, 3: 500, 4: 202, 9: DROP}.get(number % 23, 200)


def nobody() -> str:
    """A URL on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{SECRET}"


def dailies_of(bodies: list[bytes]) -> dict[str, list[tuple[str, str]]]:
    """For each user the dailies in the order of arrival."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for body in bodies:
        for daily in json.loads(body).get("dailies", []):
            found[daily["userId"]].append((daily["calendarDate"], daily["summaryId"]))
    return found


def test_everything_arrives_as_it_was_made() -> None:
    sim = Simulation(3, 1, SUNDAY, seed=4)
    with receiver() as (url, received):
        report = push(sim, url)
    made = [delivery.body for delivery in sim.deliveries()]
    assert Counter(received.taken) == Counter(made)
    assert (report.bodies, report.bytes, report.retries) == (len(made), sum(map(len, made)), 0)
    assert report.seconds > 0
    assert received.paths == {f"/{SECRET}"}
    assert received.content_types == {"application/json"}
    assert received.client_ids == {None}


def test_refused_and_dropped_requests_are_sent_again_until_the_answer_is_200() -> None:
    sim = Simulation(4, 1, SUNDAY, seed=4)
    with receiver(moody) as (url, received):
        report = push(sim, url)
    made = [delivery.body for delivery in sim.deliveries()]
    assert Counter(received.taken) == Counter(made)
    assert report.retries == received.requests - len(made) >= 8


def test_each_users_versions_arrive_in_order_over_four_connections() -> None:
    sim = Simulation(12, 1, SUNDAY, seed=4)
    with receiver(lambda number: 503 if number % 9 == 0 else 200) as (url, received):
        push(sim, url, connections=4)
    assert dailies_of(received.taken) == dailies_of([delivery.body for delivery in sim.deliveries()])
    assert received.most_at_once > 1


def test_one_connection_sends_one_request_at_a_time() -> None:
    with receiver() as (url, received):
        push(Simulation(10, 1, SUNDAY, seed=4), url, connections=1)
    assert received.most_at_once == 1


def test_progress_never_goes_back_and_ends_at_the_total() -> None:
    calls: list[tuple[int, int]] = []
    with receiver() as (url, _):
        push(Simulation(3, 1, SUNDAY), url, on_progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (8 * 24, 8 * 24)


def test_where_nothing_listens_the_push_gives_up_in_time_and_keeps_the_secret() -> None:
    begun, url = time.monotonic(), nobody()
    with pytest.raises(PushError, match=r"did not take a body within 0\.4 s.*refused.*check") as caught:
        push(Simulation(3, 1, SUNDAY), url, patience_s=0.4)
    assert time.monotonic() - begun < 3
    assert SECRET not in str(caught.value)


def test_a_receiver_that_never_answers_is_given_up_within_the_patience() -> None:
    begun = time.monotonic()
    with (
        receiver(lambda _number: NO_ANSWER) as (url, _),
        pytest.raises(PushError, match="timed out") as caught,
    ):
        push(Simulation(3, 1, SUNDAY), url, patience_s=0.5)
    assert time.monotonic() - begun < 4
    assert SECRET not in str(caught.value)


def test_a_receiver_that_always_refuses_is_named_with_its_answer_and_without_credentials() -> None:
    with receiver(lambda _number: 403) as (url, received), pytest.raises(PushError, match="last answer: 403") as caught:
        push(Simulation(3, 1, SUNDAY), url.replace("//", "//someone:password@") + "?key=hidden", patience_s=0.2)
    assert received.taken == []
    assert all(secret not in str(caught.value) for secret in (SECRET, "password", "hidden"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/hidden",
        "127.0.0.1:8321/hidden",
        "http:///hidden",
        "http://127.0.0.1:eight/hidden",
        "http://127.0.0.1:8321/hidden path",
        "http://127.0.0.1:8321/hidden-\u5bc6",
    ],
)
def test_an_url_that_is_not_http_is_refused_without_repeating_its_path(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort") as caught:
        push(Simulation(3, 1, SUNDAY), url)
    assert "hidden" not in str(caught.value)


def test_less_than_one_connection_is_refused() -> None:
    with pytest.raises(ValueError, match="connections is 0"):
        push(Simulation(3, 1, SUNDAY), nobody(), connections=0)


def test_each_push_says_when_it_was_sent_in_simulated_time() -> None:
    sim = Simulation(3, 1, SUNDAY, seed=4)
    with receiver() as (url, received):
        push(sim, url, connections=1)
    assert [parsedate_to_datetime(str(at)) for at in received.sent_at] == [each.at for each in sim.deliveries()]


# -- the command

SMALL = ["--participants", "3", "--weeks", "1", "--until", "2026-03-01", "--seed", "4"]


def test_the_command_pushes_and_says_how_much() -> None:
    with receiver() as (url, received):
        done = CliRunner().invoke(app, ["push", "--to", url, *SMALL])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"pushed {len(received.taken)} bodies, ")
    assert done.stdout.endswith("; 0 retries\n")
    assert done.stderr == ""


def test_the_command_sends_the_client_id_that_the_receiver_asks_for() -> None:
    with receiver() as (url, received):
        CliRunner().invoke(app, ["push", "--to", url, *SMALL, "--client-id", "our-client"])
    assert received.client_ids == {"our-client"}


def test_the_command_writes_a_lake_and_says_how_much(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["lake", str(tmp_path), *SMALL, "--files-per-day", "2"])
    assert done.exit_code == 0
    files = list((tmp_path / "raw" / "daily").glob("date=*/simulated-4-*.jsonl"))
    assert f"in {len(files)} files below {tmp_path}" in done.stdout
    assert len(files) >= 7


def test_the_command_prints_the_user_ids_alone() -> None:
    done = CliRunner().invoke(app, ["users", "--participants", "5", "--seed", "4"])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == Simulation(5, 1, SUNDAY, seed=4).user_ids()


def test_a_push_that_fails_ends_with_1_and_one_line_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garmin_sim.push", partial(push, patience_s=0.2))
    done = CliRunner().invoke(app, ["push", "--to", nobody(), *SMALL])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("garmin-sim: http://127.0.0.1:")
    assert done.stderr.count("\n") == 1


def test_a_lake_that_cannot_be_written_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file in the way")
    done = CliRunner().invoke(app, ["lake", str(tmp_path), *SMALL])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("garmin-sim: ")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["push", "--to", "ftp://somewhere/x", *SMALL], "http://"),
        (["users", "--participants", "0"], "participants"),
        (["lake", "unused", *SMALL, "--traps", "nuls"], "unknown traps nuls"),
        (["lake", "unused", "--weeks", "521"], "weeks is 521"),
        (["lake", "unused", "--until", "9999-12-31"], "until is 9999-12-31"),
        (["push"], "--to"),
    ],
)
def test_a_wrong_value_ends_with_2_and_is_named(
    arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert named in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_help_shows_the_commands() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert all(command in shown.stdout for command in ("push", "lake", "users"))
