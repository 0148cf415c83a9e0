"""Small objects that several processes change: read, and write if nobody wrote meanwhile.

Belongs here: the compare-and-swap over an object store, and the claim that lets one of many do a thing.
All of it is one conditional PUT at a time; no clock is compared with another's.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qol_dagster.errors import QolError


class SharedObjectError(QolError):
    """A shared object cannot be read or written, or a lease was lost; the message says which."""


@dataclass(frozen=True)
class Version:
    """An object's content and the tag that changes with every write; without a tag there is no object."""

    content: bytes = b""
    tag: str | None = None


@dataclass(frozen=True)
class SharedObject:
    """One object of a store. A folder can only make new ones; changing one takes S3."""

    store: Any
    key: str

    @classmethod
    def local(cls, folder: Path, key: str) -> SharedObject:
        """Return one in a folder, which is made if it is missing."""
        from obstore.store import LocalStore

        return cls(LocalStore(folder.absolute(), mkdir=True), key)

    def read(self) -> Version:
        """Return what is there now. Raises SharedObjectError."""
        try:
            found = self.store.get(self.key)
            return Version(bytes(found.bytes()), found.meta["e_tag"])
        except FileNotFoundError:
            return Version()
        except Exception as error:
            raise SharedObjectError(f"{self.key} cannot be read: {reason(error)}") from error

    def write(self, content: bytes, instead_of: Version) -> Version | None:
        """Put `content` in the place of a version; None if that is there no longer. Raises SharedObjectError.

        A request whose answer was lost may have been carried out, and is then refused when it is sent again. So after
        a refusal it is looked whether `content` is there; it should differ from what others write.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create" if instead_of.tag is None else {"e_tag": instead_of.tag}
        try:
            put = self.store.put(self.key, content, mode=mode, use_multipart=False)
            return Version(content, put["e_tag"])
        except (AlreadyExistsError, PreconditionError):
            now = self.read()
            return now if now.content == content and now.tag is not None else None
        except Exception as error:
            raise SharedObjectError(f"{self.key} cannot be written: {reason(error)}") from error

    def claim(self, word: bytes = b"claimed") -> bool:
        """Make the object, which begins with `word`; False if somebody has. Raises SharedObjectError."""
        return self.write(signed(word, secrets.token_urlsafe(12).encode()), Version()) is not None

    def remove(self) -> None:
        """Take the object away, if it is there. Raises SharedObjectError."""
        try:
            self.store.delete(self.key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise SharedObjectError(f"{self.key} cannot be removed: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return S3's code for a refusal, else an error's first line: obstore goes on for its developers."""
    text = str(error).strip()
    code = re.search(r"<Code>(\w+)</Code>", text)
    return code[1] if code else text.partition("\n")[0]


def signed(word: bytes, me: bytes) -> bytes:
    """Return the word, who writes it, and something that is different every time."""
    where = f"{socket.gethostname()}:{os.getpid()}".encode()
    return b"%s by %s, %s %s" % (word, where, me, secrets.token_urlsafe(6).encode())
