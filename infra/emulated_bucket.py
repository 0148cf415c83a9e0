"""Runs a job's script beside a folder that stands in for its bucket: what either side writes, the other sees.

Belongs here: what S3 gives for nothing. Spark of an emulated Glue reads and writes a folder, and the job itself the
emulated bucket; on AWS both are one. Only `records/` is written by one side and read by the other.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

SHARED = "records/"


def keep_alike(folder: Path) -> None:
    """Let the job's store and the folder follow each other below `SHARED`."""
    from obstore.store import S3Store

    listed, moved, removed = S3Store.list, S3Store.rename, S3Store.delete

    def list_(self: Any, prefix: str | None = None, **options: Any) -> Any:
        if prefix and prefix.startswith(SHARED):
            there = {item["path"] for batch in listed(self, prefix) for item in batch}
            for file in (folder / prefix).rglob("*"):
                if file.is_file() and (key := file.relative_to(folder).as_posix()) not in there:
                    self.put(key, file.read_bytes())
        return listed(self, prefix, **options)

    def rename(self: Any, key: str, target: str, **options: Any) -> None:
        moved(self, key, target, **options)
        if key.startswith(SHARED):
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).rename(folder / target)

    def delete(self: Any, key: str) -> None:
        removed(self, key)
        if key.startswith(SHARED):
            (folder / key).unlink(missing_ok=True)

    S3Store.list, S3Store.rename, S3Store.delete = list_, rename, delete  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    _, mirror, script, *arguments = sys.argv
    keep_alike(Path(mirror))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
