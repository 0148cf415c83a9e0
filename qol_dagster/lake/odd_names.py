"""Folders with names that no key can have: not UTF-8, or with a control character such as a line break.

Belongs here: which names these are, listing a folder without them, and how they are spelled for people. obstore does
not list a folder that holds one; the object stores of others have no such names, or hide them.
"""

from __future__ import annotations

import os
import re
from itertools import chain
from pathlib import Path
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNFINISHED = re.compile(r"#\d+$")
"""What obstore is writing ends so, and it lists none of it."""


def is_key_name(name: str) -> bool:
    """Return whether a name, as Python decodes those of files, can be part of a key."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not _CONTROL.search(name)


def spelled(name: str) -> str:
    """Return a name on one line: what is not UTF-8, or cannot be printed, as an escape."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def odd_names(folder: Path) -> list[str]:
    """Return the names in a folder that no key can have, in order. Raises OSError."""
    return sorted(one.name for one in folder.iterdir() if not is_key_name(one.name)) if folder.is_dir() else []


def list_without(store: Any, root: Path, prefix: str) -> dict[str, list[Any]]:
    """Return what obstore's `list_with_delimiter` has of a folder, without odd names. Raises OSError."""
    folders, objects = [], []
    for path in sorted(one for one in (root / prefix).iterdir() if is_key_name(one.name)):
        if path.is_dir():
            folders.append(path.relative_to(root).as_posix())
        elif path.is_file() and not _UNFINISHED.search(path.name):
            objects.append(store.head(path.relative_to(root).as_posix()))
    return {"common_prefixes": folders, "objects": objects}


def walk_without(store: Any, root: Path, prefix: str) -> list[Any]:
    """Return what obstore's `list` has of a folder and those in it, without odd names. Raises OSError."""
    found = list_without(store, root, prefix)
    inner = [walk_without(store, root, folder) for folder in found["common_prefixes"]]
    return [*found["objects"], *chain.from_iterable(inner)]


def has_odd_names(folder: Path) -> bool:
    """Return whether a folder, or one in it, holds an odd name. Raises OSError."""
    return any(odd_names(Path(inner)) for inner, _folders, _files in os.walk(folder, followlinks=True))
