"""All versions of the objects of a bucket: listed, searched, and removed for good.

Belongs here: what `lake/` does not know of, since everybody else sees the newest version alone. A bucket without
versioning has one version of each object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qol_dagster.erasure import ErasureError
from qol_dagster.erasure.names import Person
from qol_dagster.erasure.search import content_names
from qol_ingest.shared import aws

READ_AT_ONCE = 8
REMOVED_AT_ONCE = 1000
"""As many as S3 takes in one request."""
GONE = ("NoSuchKey", "NoSuchVersion", "404")


@dataclass(frozen=True)
class Version:
    """One version of an object, or a mark that it was deleted. `size`: bytes."""

    key: str
    id: str
    is_latest: bool
    size: int = 0
    is_marker: bool = False


@dataclass(frozen=True)
class Versions:
    """The versions of a bucket. Raises ErasureError."""

    bucket: str
    client: Any = field(default=None, repr=False)

    def all(self) -> Iterator[Version]:
        """Yield every version and every mark of a deletion."""
        more: dict[str, str] = {}
        while True:
            page = self._ask("list_object_versions", **more)
            for is_marker, kind in ((False, "Versions"), (True, "DeleteMarkers")):
                for one in page.get(kind) or ():
                    yield Version(one["Key"], one["VersionId"], one["IsLatest"], one.get("Size", 0), is_marker)
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def naming(self, person: Person, count: Callable[[Version], object] = lambda _one: None) -> list[Version]:
        """Return the versions whose key or bytes name a person; `count` hears of each that was looked at."""

        def is_found(one: Version) -> bool:
            count(one)
            return person.is_named_in(one.key.encode()) or (not one.is_marker and self._names(one, person))

        everything = list(self.all())
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            return [one for one, found in zip(everything, pool.map(is_found, everything), strict=True) if found]

    def remove(self, versions: Iterable[Version]) -> None:
        """Remove versions for good; none of them need be there."""
        wanted = [{"Key": one.key, "VersionId": one.id} for one in versions]
        for at in range(0, len(wanted), REMOVED_AT_ONCE):
            some = {"Objects": wanted[at : at + REMOVED_AT_ONCE], "Quiet": True}
            answer = self._ask("delete_objects", Delete=some)
            codes = {str(one.get("Code")) for one in answer.get("Errors") or ()} - {*GONE}
            if codes:
                raise self._failure("delete_objects", ", ".join(sorted(codes)))

    def mark_as_deleted(self, key: str) -> None:
        """Have an object be seen no more; its versions stay."""
        self._ask("delete_object", Key=key)

    def _names(self, one: Version, person: Person) -> bool:
        try:
            content = self._client.get_object(Bucket=self.bucket, Key=one.key, VersionId=one.id)["Body"].read()
        except aws.faults() as error:
            if (why := aws.why(error)) in GONE:
                return False
            raise self._failure("get_object", why) from None
        return content_names(content, person)

    def _ask(self, call: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, call)(Bucket=self.bucket, **arguments)
        except aws.faults() as error:
            raise self._failure(call, aws.why(error)) from None

    def _failure(self, call: str, why: str) -> ErasureError:
        return ErasureError(
            f"S3 did not do {call} in {self.bucket}: {why}",
            advice="Erasing takes the rights of `qol-eraser`. Give the same command again: it goes on",
        )

    @cached_property
    def _client(self) -> Any:
        return self.client or aws.session().client("s3", config=aws.patience(read_s=60))
