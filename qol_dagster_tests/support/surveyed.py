"""The questionnaire's page on a lake of its own, with the placeholders of the template, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from qol_dagster.resources.survey_pages import make_link, read_texts, survey_links, survey_pages, write_template
from qol_dagster.settings import Settings
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver


@dataclass(frozen=True)
class SurveySite:
    """The page's address, without a slash at its end, and links to it."""

    settings: Settings
    url: str

    def link(self, participant: str, language: Language) -> str:
        """Return a new link to the baseline form of a participant."""
        link, _ = make_link(self.settings, survey_links(self.settings), participant, 0, timedelta(days=1))
        return f"{self.url}/survey?{link.partition('?')[2]}&lang={language}"


@contextmanager
def survey_site(home: Path) -> Iterator[SurveySite]:
    """Serve the page in both languages on a free port."""
    settings = Settings(home=home)
    for language in LANGUAGES:
        write_template(settings, language)
    with LocalWebhook(Receiver(DirectoryStore(settings.lake_dir), "secret")) as server:
        server.survey = survey_pages(settings, read_texts(settings), "key")
        yield SurveySite(settings, server.base_url)
