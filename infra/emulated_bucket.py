"""Runs a job's script beside a folder that stands in for its bucket: what either side writes, the other sees.

Belongs here: what S3 gives for nothing. Spark of an emulated Glue reads and writes a folder, and the job itself the
emulated bucket; on AWS both are one. Only `records/` is written by one side and read by the other.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

SHARED = "records/"
CLIENT = "obstore.store"


class KeptAlike(MetaPathFinder):
    """Changes the job's client of S3 when it is imported: the script unpacks it first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """Return the client's spec, and of nothing else any."""
        if fullname != CLIENT:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            keep_alike(module.S3Store, self.folder)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def keep_alike(store: Any, folder: Path) -> None:
    """Let what a class of stores holds and the folder follow each other below `SHARED`."""
    listed, moved, removed = store.list, store.rename, store.delete

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

    store.list, store.rename, store.delete = list_, rename, delete


if __name__ == "__main__":
    _, mirror, script, *arguments = sys.argv
    sys.meta_path.insert(0, KeptAlike(Path(mirror)))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
