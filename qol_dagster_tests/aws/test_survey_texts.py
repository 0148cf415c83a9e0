"""The licensed texts in both forms: which there are, and all faults of all files at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qol_dagster_tests.support.cloud import Cloud
from qol_ingest.shared import aws
from qol_ingest.shared.languages import Language
from qol_ingest.shared.stores import StoreError
from qol_ingest.survey.questionnaire import QuestionnaireError, file_name, template
from qol_ingest.survey.texts import PREFIX, DirectoryTexts, S3Texts, Texts, read_texts

Put = Callable[[Language, bytes], None]


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.aws)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Texts, Put]:
    """Where texts are read, and what puts one there."""
    if request.param == "folder":
        return DirectoryTexts(tmp_path), lambda language, content: _write(tmp_path / file_name(language), content)
    cloud: Cloud = request.getfixturevalue("cloud")
    bucket = cloud.bucket()
    put = aws.client("s3").put_object
    return S3Texts(bucket), lambda language, content: put(
        Bucket=bucket, Key=f"{PREFIX}{file_name(language)}", Body=content
    )


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def test_those_that_are_there_are_read_and_one_language_is_enough(place: tuple[Texts, Put]) -> None:
    texts, put = place
    assert read_texts(texts) == {}
    put("en", template("en").encode())
    assert list(read_texts(texts)) == ["en"]
    put("ja", template("ja").encode())
    assert {language: text.language for language, text in read_texts(texts).items()} == {"en": "en", "ja": "ja"}


def test_faults_of_all_files_are_named_with_their_place(place: tuple[Texts, Put]) -> None:
    texts, put = place
    put("ja", template("en").encode())
    put("en", b"not a text")
    with pytest.raises(QuestionnaireError) as error:
        read_texts(texts)
    assert f"{texts.place('ja')}: language must be ja, as in its name" in str(error.value)
    assert f"{texts.place('en')}: it is no TOML" in str(error.value)


@pytest.mark.aws
@pytest.mark.usefixtures("cloud")
def test_a_bucket_that_cannot_be_read_is_not_one_without_texts() -> None:
    with pytest.raises(StoreError, match="^s3://no-such-bucket-of-ours/survey/ cannot be listed: NoSuchBucket$"):
        read_texts(S3Texts("no-such-bucket-of-ours"))
