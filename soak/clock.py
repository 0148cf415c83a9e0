"""Simulated time for every process of a soak: one offset in a shared file, which the clock of the system is moved by.

Belongs here: setting that time, and giving it to a process at its start (`child/sitecustomize.py`). The product and
Dagster ask for the time as ever. Intervals that are measured with `time.monotonic` stay those of the machine.

Simulated time is in the past of the machine, so that the time of a file never looks old to a process that compares
both. gRPC counts its deadlines in the machine's time.
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import mmap
import struct
import sys
import time
from pathlib import Path
from typing import Any

_REAL_TIME = time.time
_OFFSET = struct.Struct("d")


class SimulatedClock:
    """The clock in a file, which is made if it is missing. Times are seconds since 1970."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(_OFFSET.pack(0.0))
        with file.open("r+b") as handle:
            self._shared = mmap.mmap(handle.fileno(), _OFFSET.size)

    def time(self) -> float:
        """Return the simulated time."""
        return _REAL_TIME() + float(_OFFSET.unpack_from(self._shared)[0])

    def now(self) -> datetime.datetime:
        """Return the simulated time, UTC."""
        return datetime.datetime.fromtimestamp(self.time(), datetime.UTC)

    def set(self, at: float) -> None:
        """Go on from a time, earlier or later."""
        _OFFSET.pack_into(self._shared, 0, at - _REAL_TIME())

    def advance_to(self, at: float) -> None:
        """Go on from a time, unless it is later already."""
        if at > self.time():
            self.set(at)


def install(clock: SimulatedClock) -> None:
    """Give this process the time of a clock.

    The classes of `datetime` are in C and cannot be replaced: Arrow, Rust and pickle ask for those very ones. So what
    asks for the time is put into their own dictionaries.
    """

    def simulated_time() -> float:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        return _REAL_TIME() if caller.startswith("grpc") else clock.time()

    def now(cls: Any, tz: datetime.tzinfo | None = None) -> Any:
        return cls.fromtimestamp(clock.time(), tz)

    def utcnow(cls: Any) -> Any:
        return cls.fromtimestamp(clock.time(), datetime.UTC).replace(tzinfo=None)

    def today(cls: Any) -> Any:
        return cls.fromtimestamp(clock.time())

    time.time = simulated_time
    _put_into(datetime.datetime, now=now, utcnow=utcnow, today=today)
    _put_into(datetime.date, today=today)


def _put_into(kind: type, **methods: Any) -> None:
    (own,) = gc.get_referents(kind.__dict__)
    own.update({name: classmethod(method) for name, method in methods.items()})
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
