"""Where the licensed texts are stored, a file for each language: in a folder, or in a bucket.

Belongs here: which texts there are, and reading all of them with every fault. What a text holds is `questionnaire`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from qol_ingest.shared import aws
from qol_ingest.shared.errors import reason
from qol_ingest.shared.keys import SURVEY_TEXTS
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.shared.stores import S3Store, StoreError
from qol_ingest.survey.questionnaire import Questionnaire, QuestionnaireError, file_name, read_questionnaire

PREFIX = f"{SURVEY_TEXTS}/"
"""Of the texts in the bucket of a deployment."""


class Texts(Protocol):
    """Files of texts."""

    def place(self, language: Language) -> str:
        """Return where the text of a language is, for people."""

    def contents(self) -> Mapping[Language, bytes]:
        """Return the content of each file that there is, in the order of `LANGUAGES`. Raises StoreError."""


@dataclass(frozen=True)
class DirectoryTexts:
    """Texts in a folder."""

    folder: Path

    def place(self, language: Language) -> str:
        """See `Texts`."""
        return str(self.folder / file_name(language))

    def contents(self) -> Mapping[Language, bytes]:
        """See `Texts`."""
        found: dict[Language, bytes] = {}
        for language in LANGUAGES:
            try:
                found[language] = (self.folder / file_name(language)).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(f"{self.place(language)} cannot be read: {reason(error)}") from error
        return found


@dataclass(frozen=True)
class S3Texts:
    """Texts in a bucket. They are listed first: without that, S3 does not distinguish none from one that is refused."""

    bucket: str

    def place(self, language: Language) -> str:
        """See `Texts`."""
        return f"s3://{self.bucket}/{PREFIX}{file_name(language)}"

    def contents(self) -> Mapping[Language, bytes]:
        """See `Texts`."""
        client = aws.client("s3")
        try:
            listed = client.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX).get("Contents", ())
        except aws.faults() as error:
            raise StoreError(f"s3://{self.bucket}/{PREFIX} cannot be listed: {aws.why(error)}") from None
        there, store = {one["Key"] for one in listed}, S3Store(self.bucket, client=client)
        keys = {language: f"{PREFIX}{file_name(language)}" for language in LANGUAGES}
        found = {language: store.get(key) for language, key in keys.items() if key in there}
        return {language: content for language, content in found.items() if content is not None}


def read_texts(texts: Texts) -> dict[Language, Questionnaire]:
    """Return the texts by language. Raises QuestionnaireError with every fault of all files, StoreError."""
    return parse_texts(texts, texts.contents())


def parse_texts(texts: Texts, contents: Mapping[Language, bytes]) -> dict[Language, Questionnaire]:
    """Return the texts of files as they were read. Raises QuestionnaireError with every fault of all of them."""
    found: dict[Language, Questionnaire] = {}
    faults: list[str] = []
    for language, content in contents.items():
        try:
            found[language] = read_questionnaire(content)
        except QuestionnaireError as error:
            faults.append(f"{texts.place(language)}: {error}")
        else:
            if found[language].language != language:
                faults.append(f"{texts.place(language)}: language must be {language}, as in its name")
    if faults:
        raise QuestionnaireError("; ".join(faults))
    return found
