"""Folders with names that obstore takes for no key: not UTF-8, with a control character such as a line break, or empty.

Belongs here: which names these are, listing a folder or a bucket without them, and how they are spelled for people.
obstore does not list a folder that holds one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNFINISHED = re.compile(r"#\d+$")
"""What obstore is writing to a folder ends so, and it lists none of it."""


@dataclass
class Listing:
    """Keys of folders, objects as obstore gives them, and what has an odd name, spelled for people."""

    folders: list[str] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def is_key_name(name: str) -> bool:
    """Return whether a name, as Python decodes those of files, can be part of a key."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name not in ("", ".", "..") and not _CONTROL.search(name)


def spelled(name: str) -> str:
    """Return a name on one line: what is not UTF-8, or cannot be printed, as an escape."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def list_folder(store: Any, root: Path, prefix: str, *, deep: bool) -> Listing:
    """List a folder of a lake, with `deep` also those in it. Raises OSError."""
    found = Listing()
    for path in sorted((root / prefix).iterdir()):
        key = path.relative_to(root).as_posix()
        if not is_key_name(path.name):
            found.odd.append(spelled(key))
        elif path.is_dir():
            found.folders.append(key)
        elif path.is_file() and not _UNFINISHED.search(path.name):
            found.objects.append(store.head(key))
    for inner in (list_folder(store, root, folder, deep=True) for folder in found.folders if deep):
        found.objects += inner.objects
        found.odd += inner.odd
    return found


def list_bucket(client: Any, bucket: str, prefix: str, *, deep: bool) -> Listing:
    """List what is below a prefix of a bucket, with `deep` also in its folders. Raises what boto3 raises."""
    found = Listing()
    by_folder = {} if deep else {"Delimiter": "/"}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/", **by_folder):
        for folder in (one["Prefix"].removesuffix("/") for one in page.get("CommonPrefixes", ())):
            (found.folders if _is_key(folder) else found.odd).append(folder)
        for item in page.get("Contents", ()):
            if not _is_key(item["Key"].removesuffix("/")):
                found.odd.append(item["Key"])
            elif not item["Key"].endswith("/"):  # a folder, as S3's console makes them
                known = {"size": item["Size"], "e_tag": item["ETag"], "last_modified": item["LastModified"]}
                found.objects.append({"path": item["Key"], **known})
    found.odd = [spelled(key) for key in found.odd]
    return found


def _is_key(key: str) -> bool:
    return all(map(is_key_name, key.split("/")))
