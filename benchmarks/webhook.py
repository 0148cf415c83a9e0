"""How much the receiver costs: handler latency over body sizes, import time, memory.

    .venv/bin/python benchmarks/webhook.py

The handler is timed without a store (keys and contents are made and thrown away). Import time is that of a fresh
interpreter, as a ratio to boto3's in the same run. Memory is the peak of a process that takes one body.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime

import garmin_sim
from qol_ingest.webhook import Receiver

SECRET = "benchmark-benchmark"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 6_000_000)

MEMORY = """
import sys
sys.path.insert(0, "benchmarks")
from webhook import NOW, event, receiver

def status(name):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines[name].split()[0])

takes, body = receiver(), open(sys.argv[1], "rb").read()
before = status("VmRSS")
takes.handle(event(body), NOW)
print(status("VmHWM") - before)
"""


class NoStore:
    """Takes everything and keeps nothing."""

    def put_new(self, key: str, content: bytes) -> bool:  # noqa: ARG002
        """Throw it away."""
        return True


def receiver() -> Receiver:
    """Return the receiver without a store."""
    return Receiver(NoStore(), SECRET)


def event(body: bytes) -> dict[str, object]:
    """Return the event API Gateway makes of a push."""
    return {"rawPath": f"/garmin/{SECRET}", "requestContext": {"http": {"method": "POST"}}, "body": body.decode()}


def bodies() -> dict[int, bytes]:
    """Return a body of simulated summaries for each size, of at least that many bytes."""
    records: dict[str, list[object]] = {}
    made, size = {}, 2
    for delivery in garmin_sim.Simulation(20, 2, date(2026, 11, 22), 1).deliveries():
        for kind, elements in json.loads(delivery.body).items():
            for element in elements:
                records.setdefault(kind, []).append(element)
                size += len(json.dumps(element)) + 2
                if len(made) < len(SIZES) and size >= SIZES[len(made)]:
                    made[SIZES[len(made)]] = json.dumps(records).encode()
    return made


def latencies(handle: Callable[[], object], seconds: float = 2.0) -> tuple[float, float]:
    """p50 and p99 in milliseconds over so many seconds."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 20:
        begun = time.perf_counter()
        handle()
        taken.append(1000 * (time.perf_counter() - begun))
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return cuts[49], cuts[98]


def import_seconds(module: str, times: int = 9) -> float:
    """Median seconds of a fresh interpreter that imports a module, less one that imports none."""

    def run(code: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - begun

    nothing = statistics.median(run("pass") for _ in range(times))
    return statistics.median(run(f"import {module}") for _ in range(times)) - nothing


def peak_mb(body: bytes) -> float:
    """Memory one request needs on top of the loaded process, MB."""
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        done = subprocess.run([sys.executable, "-c", MEMORY, file.name], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def main() -> None:
    """Print the figures."""
    takes, made = receiver(), bodies()
    print(f"{'body':>12}  {'records':>8}  {'p50 ms':>8}  {'p99 ms':>8}")
    for body in made.values():
        request = event(body)
        stored = json.loads(takes.handle(request, NOW)["body"])["stored"]
        p50, p99 = latencies(lambda request=request: takes.handle(request, NOW))  # type: ignore[misc]
        print(f"{len(body):>10} B  {stored:>8}  {p50:>8.2f}  {p99:>8.2f}")
    mine, boto3 = import_seconds("boto3, qol_ingest.webhook"), import_seconds("boto3")
    print(f"\nimport boto3: {boto3:.3f} s; with the receiver: {mine:.3f} s, ratio {mine / boto3:.2f}")
    print(f"peak memory for {len(made[SIZES[-1]]) / 1e6:.1f} MB: {peak_mb(made[SIZES[-1]]):.0f} MB")


if __name__ == "__main__":
    main()
