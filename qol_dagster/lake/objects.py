"""Objects of a lake, in a folder or in a bucket: read, listed, and written whole or not at all.

Belongs here: single objects by their keys, and errors that say what to do. obstore opens a folder and a bucket alike,
so there is one form of everything but the paths that an engine in this process reads from. What is in an object is the
business of `lake.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from qol_dagster.errors import QolError
from qol_dagster.lake import odd_names
from qol_dagster.lake.shared_object import reason
from qol_ingest.shared import files

T = TypeVar("T")
K = TypeVar("K")

FOOTER_BYTES = 64 * 1024
"""What is read of a Parquet file to know its metadata; a longer footer takes another look."""
ASKED_AT_ONCE = 8
"""Dates, or objects."""
READ_AHEAD = 32
"""Objects that are held in memory at once."""
WRITES = 3
"""How often S3 is sent the same object when no answer comes."""


class LakeError(QolError):
    """A folder or object of the lake cannot be read or written; the message says which and what to do."""


@dataclass(frozen=True)
class Objects:
    """The objects below one root, a folder or `s3://bucket`."""

    root: str
    store: Any
    table_store: Any = None
    """Puts tables under a key of their own; without it, `store` puts them as everything else."""

    @property
    def folder(self) -> Path | None:
        """Return the folder of a lake; None on S3. No folder is named so: Path makes one slash of two."""
        return None if self.root.startswith("s3://") else Path(self.root)

    def local_path(self, key: str) -> str:
        """Absolute path of a key of a lake in a folder. Raises LakeError on S3."""
        if self.folder is None:
            raise LakeError(
                f"{self.root} has no files for an engine in this process; on AWS the Glue job computes weeks"
            )
        return str(self.folder.absolute() / key)

    def uri(self, key: str) -> str:
        """Return the URI of a key, for an engine that opens both a folder and a bucket."""
        return self.local_path(key) if self.folder else f"{self.root}/{key}"

    def keys(self, prefix: str) -> list[str]:
        """Return all keys below a prefix, in order."""
        return list(self.objects(prefix))

    def objects(self, prefix: str) -> dict[str, int]:
        """Return sizes in bytes by key of everything below a prefix, in key order."""
        return dict(sorted((item["path"], item["size"]) for item in self.deep_listing(prefix).objects))

    def deep_listing(self, prefix: str) -> odd_names.Listing:
        """Return everything below a prefix as obstore has it, and what has an odd name."""
        try:
            return odd_names.Listing(objects=[item for batch in self.store.list(prefix) for item in batch])
        except Exception as error:
            return self._without_odd_names(prefix, error, deep=True)

    def listing(self, prefix: str) -> tuple[list[str], list[str], list[str]]:
        """Return the folders and the keys directly in a prefix, and what has an odd name there, each in order.

        A name is odd that can be part of no key (`odd_names`); it is spelled for people. No other method knows of it.
        """
        found = self._list(prefix)
        return sorted(found.folders), sorted(item["path"] for item in found.objects), sorted(found.odd)

    def modified_at(self, key: str) -> datetime:
        """Return when an object was written (UTC)."""
        try:
            written: datetime = self.store.head(key)["last_modified"]
        except Exception as error:
            raise LakeError(f"{self.root}/{key} cannot be read: {reason(error)}") from error
        return written.astimezone(UTC)

    def read_object(self, key: str) -> bytes:
        """Return an object's bytes."""
        try:
            return bytes(self.store.get(key).bytes())
        except Exception as error:
            raise LakeError(f"{self.root}/{key} cannot be read: {reason(error)}") from error

    def read_objects(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield keys with their objects' bytes, in order; on S3 some are asked for at a time."""
        rest = iter(keys)
        with ThreadPoolExecutor(1 if self.folder else ASKED_AT_ONCE) as pool:
            while some := list(itertools.islice(rest, READ_AHEAD)):
                yield from zip(some, pool.map(self.read_object, some), strict=True)

    def replace_object(self, key: str, content: bytes, *, as_tables: bool = False) -> None:
        """Write an object, whole or not at all. In a folder, only its owner may read it.

        `as_tables`: on S3 under the key of tables, so that whoever may read those may read it.
        """
        try:
            if self.folder:  # obstore's files are open to whoever the umask allows
                files.make_folder((self.folder / key).parent)
                files.replace(self.folder / key, content)
            else:
                self._put(key, content, store=self.table_store if as_tables else None)
        except Exception as error:
            raise LakeError(f"{self.root}/{key} could not be written: {self._why(key, error)}") from error

    def create_object(self, key: str, content: bytes) -> bool:
        """Write an object that is never changed; False if there is one. In a folder, only its owner may read it."""
        from obstore.exceptions import AlreadyExistsError

        try:
            if self.folder:
                files.make_folder((self.folder / key).parent)
                return files.write_new(self.folder / key, content)
            self._put(key, content, mode="create", store=self.table_store)
        except AlreadyExistsError:
            return self.read_object(key) == content  # of a PUT without an answer, the repetition is refused
        except Exception as error:
            raise LakeError(f"{self.root}/{key} could not be written: {reason(error)}") from error
        return True

    def move_object(self, key: str, target: str) -> None:
        """Give an object another key. In a folder, only its owner may read it from then on."""
        try:
            self.store.rename(key, target)
            if self.folder:
                (self.folder / target).chmod(0o600)
        except Exception as error:
            raise LakeError(f"{self.root}/{key} could not be moved: {self._why(target, error)}") from error

    def remove_objects(self, keys: Iterable[str]) -> None:
        """Remove objects; none of them need be there."""
        from obstore.exceptions import NotFoundError

        for key in keys:
            try:
                self.store.delete(key)
            except (NotFoundError, FileNotFoundError):
                continue
            except Exception as error:
                raise LakeError(f"{self.root}/{key} could not be removed: {reason(error)}") from error

    def _get(self, key: str) -> tuple[bytes, Any]:
        """Return an object's bytes, and what the store has noted of it."""
        try:
            found = self.store.get(key)
            return bytes(found.bytes()), found.meta
        except Exception as error:
            raise LakeError(f"{self.root}/{key} cannot be read: {reason(error)}") from error

    def _footer(self, key: str) -> bytes:
        """Return the end of a Parquet file, made to one without rows: what a `_metadata` file is."""
        try:
            end = bytes(self.store.get(key, options={"range": {"suffix": FOOTER_BYTES}}).bytes())
        except Exception as error:
            raise LakeError(f"{self.root}/{key} cannot be read: {reason(error)}") from error
        length = int.from_bytes(end[-8:-4], "little") + 8
        return b"PAR1" + (end if length <= len(end) else self.read_object(key))[-length:]

    def _put(self, key: str, content: bytes, mode: Any = "overwrite", store: Any = None) -> None:
        """Write an object by one request, so that it is there whole or not at all. Raises what obstore raises."""
        if self.folder:
            self.store.put(key, content, mode=mode)
            return
        import tenacity
        from obstore.exceptions import GenericError

        # obstore does not send again what may have arrived; here that does no harm.
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(GenericError),
            stop=tenacity.stop_after_attempt(WRITES),
            wait=tenacity.wait_random_exponential(max=5),
            reraise=True,
        )
        again((store or self.store).put, key, content, mode=mode, use_multipart=False)

    def _list(self, prefix: str) -> odd_names.Listing:
        try:
            found = self.store.list_with_delimiter(prefix)
            return odd_names.Listing(found["common_prefixes"], found["objects"])
        except Exception as error:
            return self._without_odd_names(prefix, error, deep=False)

    def _without_odd_names(self, prefix: str, error: Exception, *, deep: bool) -> odd_names.Listing:
        """List otherwise what obstore refused to list because of a name in it. Raises LakeError."""
        found = odd_names.Listing()
        if "invalid path" in str(error):
            with contextlib.suppress(Exception):  # the first error says more
                found = self._list_all_names(prefix.rstrip("/"), deep=deep)
        if found.odd:
            return found
        raise LakeError(f"{self.root}/{prefix} cannot be listed: {self._why(f'{prefix}/-', error)}") from error

    def _list_all_names(self, prefix: str, *, deep: bool) -> odd_names.Listing:
        if self.folder:
            return odd_names.list_folder(self.store, self.folder, prefix, deep=deep)
        from qol_ingest.shared import aws

        return odd_names.list_bucket(aws.client("s3"), self.root.removeprefix("s3://"), prefix, deep=deep)

    def _why(self, key: str, error: Exception) -> str:
        """Return why a key cannot be used: what is in its way, else what the store says."""
        found = files.in_the_way(self.folder / key) if self.folder else ""
        return found or reason(error)


def map_concurrently(ask: Callable[[K], T], keys: Iterable[K]) -> dict[K, T]:
    """Return the answers by date or key, in their order, some asked for at a time: on S3, asking is mostly waiting."""
    keys = list(keys)
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return dict(zip(keys, pool.map(ask, keys), strict=True))


def s3_store(bucket: str, config: Any = None, session: Any = None) -> Any:
    """Return a store with the credentials and the region that boto3 finds, at AWS_ENDPOINT_URL if that is set.

    What it puts is encrypted under the bucket's own key, unless `config` is `under` another.
    """
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import S3Store

    from qol_ingest.shared import aws

    plain = any(os.environ.get(name, "").startswith("http:") for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    return S3Store(
        bucket,
        config=config,
        # boto3 hands credentials out that are good for ten minutes more at least.
        credential_provider=Boto3CredentialProvider(session or aws.session(), ttl=timedelta(minutes=5)),
        client_options={"allow_http": plain, "connect_timeout": "5s", "timeout": "60s"},
        retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=60)},
    )


def under(kms_key: str) -> Any:
    """Return the configuration of a store that puts what it puts under a key of KMS."""
    # With a key of the bucket's, KMS is not asked for each object.
    return {"server_side_encryption": "aws:kms", "sse_kms_key_id": kms_key, "sse_bucket_key_enabled": True}
