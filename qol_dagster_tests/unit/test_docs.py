"""The documentation agrees with the code, in both languages: settings, columns, commands, links, decisions, places."""

from __future__ import annotations

import hashlib
import html
import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer

from qol_dagster.cli.app import app
from qol_dagster.definitions import build_defs
from qol_dagster.metrics.dictionary import TABLES
from qol_dagster.metrics.fields import FIELDS, KNOWN_TYPES
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_dagster.settings import VARIABLES, Settings, load_settings
from qol_ingest.shared.languages import Language

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
JAPANESE = DOCS / "ja"
PAGES = sorted(DOCS.rglob("*.md"))
IN_JAPANESE = [file.relative_to(JAPANESE).as_posix() for file in PAGES if JAPANESE in file.parents]
IN_ENGLISH = [file.relative_to(DOCS).as_posix() for file in PAGES if JAPANESE not in file.parents]
TRANSLATED = [page for page in IN_ENGLISH if not page.startswith("adr/")]
SHARED = ("adr", "assets", "img")
TEXTS = [
    file for file in (*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md") if file.exists()
]
LANGUAGES: tuple[Language, ...] = ("en", "ja")
IN_THE_LAKE = {"raw/daily/", "processed/weekly/", "date=YYYY-MM-DD/"}
STANDARDS = ("backend_standard_spec.md", "archive/backend_standard_spec_20251104.md")

CODE_BLOCK = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MARKER = re.compile(r"^<!-- .* -->$", re.M)
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
HEADING = re.compile(r"^#+ (.+?)(?: \{#([\w-]+)\})?$", re.M)


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(markdown: str) -> list[list[str]]:
    """The cells of all table rows, heads left out."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = {at for at, row in enumerate(cells) if all(set(cell) == {"-"} for cell in row)}
    return [row for at, row in enumerate(cells) if at not in rules and at + 1 not in rules]


def settings_table() -> list[list[str]]:
    return rows_of((DOCS / "guide/settings.md").read_text())


def test_the_settings_page_lists_every_variable_in_the_code_s_order_and_no_other() -> None:
    assert [row[0].strip("`") for row in settings_table()] == list(VARIABLES)


def test_the_settings_page_gives_the_true_defaults() -> None:
    stated = {row[0].strip("`"): row[1].strip("`") for row in settings_table()}
    assert load_settings(stated) == Settings()
    empty = [name for name in VARIABLES if not stated[name]]
    assert [name for name in empty if getattr(Settings(), name.removeprefix("QOL_").lower())] == []


def test_no_page_names_a_variable_that_does_not_exist() -> None:
    misspelled_on_purpose = {"QOL_ENGIN"}
    named = {name for file in TEXTS for name in re.findall(r"\bQOL_[A-Z_]*[A-Z]\b", file.read_text())}
    assert named - set(VARIABLES) == misspelled_on_purpose


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Language:
    return request.param  # type: ignore[no-any-return]


def text_of(page: str, language: Language) -> str:
    return ((DOCS if language == "en" else JAPANESE) / page).read_text()


@pytest.fixture(scope="module")
def metrics_page(hooks: ModuleType, language: Language) -> str:
    page = hooks.fill_markers(text_of("reference/metrics.md", language), language)
    assert "<!-- " not in page
    return str(page)


def entries_of(page: str) -> dict[str, str]:
    """The text of each entry of the catalogue by its anchor, as a reader sees it."""
    found = re.findall(r'<section class="metric"><h3 class="metric-name" id="([\w-]+)">(.*?)</section>', page)
    assert len(dict(found)) == len(found)
    return {anchor: html.unescape(re.sub(r"<[^>]*>", "", entry)) for anchor, entry in found}


def test_the_metrics_page_has_an_entry_for_every_column_in_the_dictionary_s_order(metrics_page: str) -> None:
    every = [metric for metrics in TABLES.values() for metric in metrics]
    assert list(entries_of(metrics_page)) == [f"{metric.table}-{metric.name}" for metric in every]


def test_an_entry_of_the_metrics_page_tells_all_of_it_in_the_page_s_language(
    metrics_page: str, language: Language
) -> None:
    entries = entries_of(metrics_page)
    for metric in (metric for metrics in TABLES.values() for metric in metrics):
        entry, japanese = entries[f"{metric.table}-{metric.name}"], metric.japanese
        for part in (metric.name, japanese.term, metric.unit, metric.formula, *metric.inputs):
            assert part in entry
        texts = {"en": (metric.description, metric.rule), "ja": (japanese.text, japanese.rule)}
        assert all(text in entry for text in texts[language])
        assert all(source.name in entry for source in metric.sources)
        bounds = [bound for bound in (metric.minimum, metric.maximum, *(metric.plausible or ())) if bound is not None]
        assert all(f"{bound:,g}" in entry for bound in bounds)


def test_every_link_within_the_metrics_page_leads_to_an_entry_or_heading(metrics_page: str) -> None:
    targets = set(re.findall(r'(?:href="|\]\()#([\w-]+)', metrics_page))
    headings = {given or slug(title) for title, given in HEADING.findall(metrics_page)}
    assert targets <= {*re.findall(r' id="([\w-]+)"', metrics_page), *headings}
    assert "thresholds" in targets


def test_the_metrics_page_lists_every_threshold_with_what_it_decides_and_every_source(metrics_page: str) -> None:
    rows = {re.sub(r"[`\\]", "", row[0]): row for row in rows_of(metrics_page)}
    for name, value in DEFAULT_THRESHOLDS.as_dict().items():
        assert rows[name][1] == str(value)
    assert "(#weekly-is_valid_week)" in rows["valid_week_days"][2]
    cited = {source for metrics in TABLES.values() for metric in metrics for source in metric.sources}
    assert set(rows) == {*DEFAULT_THRESHOLDS.as_dict(), *(html.escape(one.name, quote=False) for one in cited)}
    assert all(url in rows[html.escape(one.name, quote=False)][2] for one in cited for _, url in one.identifiers)


def test_the_page_of_raw_files_has_every_field_and_every_type(hooks: ModuleType, language: Language) -> None:
    page = hooks.fill_markers(text_of("reference/raw.md", language), language)
    first = [row[0].strip("`") for row in rows_of(page)]
    assert [one for one in first if one in KNOWN_TYPES] == list(KNOWN_TYPES)
    assert first[-len(FIELDS) :] == [field.name for field in FIELDS]
    assert all(f"`{name}`" in page for field in FIELDS for name in field.garmin)
    assert {field.kind for field in FIELDS} <= set(first)


def test_a_marker_that_nobody_knows_stops_the_build(hooks: ModuleType) -> None:
    with pytest.raises(hooks.UnknownMarkerError, match="metrics: monthly"):
        hooks.fill_markers("a\n\n<!-- metrics: monthly -->\n", "en")


@pytest.mark.parametrize("file", TEXTS, ids=name_of)
def test_every_link_leads_to_a_file_and_heading_that_exist(file: Path) -> None:
    for target in LINK.findall(CODE_BLOCK.sub("", file.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = in_the_site((file.parent / path).resolve()) if path else file
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def in_the_site(file: Path) -> Path:
    """Where the build finds a file of the Japanese site that both languages share."""
    if JAPANESE in file.parents and file.relative_to(JAPANESE).parts[0] in SHARED:
        return DOCS / file.relative_to(JAPANESE)
    return file


def anchors(page: Path) -> set[str]:
    headings = HEADING.findall(CODE_BLOCK.sub("", page.read_text()))
    return {given or slug(title) for title, given in headings}


def slug(title: str) -> str:
    """The anchor that Markdown makes of a heading."""
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def test_the_decisions_are_numbered_one_by_one() -> None:
    files = sorted((DOCS / "adr").glob("*.md"))
    assert [int(file.name.split("-")[0]) for file in files] == list(range(1, len(files) + 1))
    for number, file in enumerate(files, start=1):
        assert re.match(rf"# {number}\. \S", file.read_text()), file.name
        assert {"## Context", "## Decision", "## Consequences"} <= set(file.read_text().splitlines()), file.name


def test_the_page_of_decisions_lists_each_of_them(hooks: ModuleType, language: Language) -> None:
    page = hooks.fill_markers(text_of("decisions.md", language), language)
    assert re.findall(r"\]\((adr/[^)]+)\)", re.sub(r"\(\[.*?\]\(.*?\)\)", "", page)) == [
        page for page in IN_ENGLISH if page.startswith("adr/")
    ]


@pytest.mark.parametrize("config", ["mkdocs.yml", "mkdocs.ja.yml"])
def test_every_page_but_decisions_is_in_the_navigation_in_the_same_place(config: str) -> None:
    english, listed = (
        re.findall(r"[\w./-]+\.md", (ROOT / name).read_text().partition("\nnav:\n")[2])
        for name in ("mkdocs.yml", config)
    )
    assert listed == english
    assert sorted(listed) == TRANSLATED


def test_every_page_but_decisions_is_there_in_both_languages() -> None:
    assert IN_JAPANESE == TRANSLATED


@pytest.mark.parametrize("page", [page for page in TRANSLATED if page in IN_JAPANESE])
def test_a_page_has_the_same_code_tables_pictures_and_anchors_in_both_languages(page: str) -> None:
    english, japanese = (text_of(page, language) for language in LANGUAGES)
    assert CODE_BLOCK.findall(japanese) == CODE_BLOCK.findall(english)
    assert MARKER.findall(japanese) == MARKER.findall(english)
    pictures = [
        [re.sub(r"\.(en|ja)(?=\.)", "", name) for name in PICTURE.findall(text)] for text in (english, japanese)
    ]
    assert pictures[1] == pictures[0]
    titles = [HEADING.findall(CODE_BLOCK.sub("", text)) for text in (english, japanese)]
    assert [anchor for _, anchor in titles[1]] == [given or slug(title) for title, given in titles[0]]


@pytest.mark.parametrize("source", sorted((DOCS / "diagrams").glob("*.mmd")), ids=lambda file: file.name)
def test_a_diagram_was_drawn_from_its_source_as_it_is_now(source: Path) -> None:
    picture = (DOCS / "img" / f"{source.stem}.svg").read_text()
    assert f"source: {hashlib.sha256(source.read_bytes()).hexdigest()} " in picture, "run make diagrams"


@pytest.mark.parametrize("page", STANDARDS)
def test_the_standard_has_its_nine_parts(page: str, language: Language) -> None:
    parts = re.findall(r"^## (\d)\. ", text_of(page, language), re.M)
    assert parts == list("123456789")


def test_what_the_standard_s_page_names_is_there(language: Language) -> None:
    named = re.findall(r"`([^`]+)`", CODE_BLOCK.sub("", text_of("backend_standard_spec.md", language)))
    places = {name for name in named if re.fullmatch(r"[\w./-]*/[\w./-]*|[\w.]+\.yml", name)} - IN_THE_LAKE
    assert len(places) > 30
    assert sorted(place for place in places if not (ROOT / place).exists()) == []
    tests = [name.split()[1] for name in named if name.startswith(".venv/bin/pytest ")]
    assert [test for test in tests if not (ROOT / test).is_file()] == []
    targets = {name.split()[1] for name in named if name.startswith("make ")}
    assert targets <= set(re.findall(r"^([a-z-]+)(?=[a-z -]*:)", (ROOT / "Makefile").read_text(), re.M))


def commands() -> Iterator[tuple[str, list[str]]]:
    """The `qol` commands of all console blocks: where they stand, and their words."""
    for file in TEXTS:
        for block in re.findall(r"^```console\n(.*?)^```", file.read_text(), re.M | re.S):
            for line in re.findall(r"^\$ (.*)$", block, re.M):
                for words in simple_commands(line):
                    if words[0] in ("qol", ".venv/bin/qol"):
                        yield name_of(file), words[1:]


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a shell line, without the variables set in front of it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for is_operator, words in itertools.groupby(lexer, lambda word: set(word) <= set("&|;<>()")):
        command = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words))
        if command and not is_operator:
            yield command


def test_every_command_shown_is_one_the_program_takes() -> None:
    shown, program = list(commands()), typer.main.get_command(app)
    assert len(shown) > 10
    for file, words in shown:
        command, rest = program, words
        while hasattr(command, "commands"):
            assert rest, (file, words)
            assert rest[0] in command.commands, (file, words)
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context("qol", list(rest))  # raises what a person who types it would be told


@pytest.mark.parametrize("file", TEXTS, ids=name_of)
def test_no_page_shows_a_place_of_the_machine_it_was_written_on(file: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:work|root|home|tmp|Users)/\S*", file.read_text()) == []


@pytest.mark.parametrize("name", re.findall(r"`(test_\w+)`", (DOCS / "privacy.md").read_text()))
def test_a_test_the_privacy_page_names_exists(name: str) -> None:
    tests = "\n".join(file.read_text() for file in (ROOT / "qol_dagster_tests").rglob("test_*.py"))
    assert f"def {name}(" in tests


def test_the_page_on_dagster_lists_every_asset_with_its_group_partitions_and_inputs() -> None:
    graph = build_defs(Settings()).resolve_asset_graph()
    page = (DOCS / "reference/dagster.md").read_text()
    table = rows_of(page[page.index("## Assets") : page.index("**Partitions.**")])
    listed = {row[0].strip("`"): [cell.replace("`", "") for cell in row[1:4]] for row in table}
    every = {node.key.to_user_string(): node for node in graph.asset_nodes}
    assert listed == {
        name: [
            str(node.group_name),
            {"DailyPartitionsDefinition": "daily", "WeeklyPartitionsDefinition": "weekly"}.get(
                type(node.partitions_def).__name__, "none"
            ),
            ", ".join(sorted(one.to_user_string() for one in node.parent_keys)) or "outside",
        ]
        for name, node in every.items()
        if not name.endswith("_strict") and "_strict_" not in name
    }
    strict = {name for name, node in every.items() if node.group_name == "strict"}
    assert strict == set(every) - set(listed)
    assert not set(every) & {str(node.group_name) for node in every.values()}


def test_the_page_on_dagster_lists_the_jobs_schedules_and_sensors_and_resources_have_names() -> None:
    repository = build_defs(Settings()).get_repository_def()
    page = (DOCS / "reference/dagster.md").read_text()
    names = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    names |= {one.name for one in (*repository.schedule_defs, *repository.sensor_defs)}
    assert {name for name in names if f"| `{name}` |" not in page} == set()
    for name, resource in repository.get_top_level_resources().items():
        assert resource.resource_fn.__name__ == name
        assert str(resource.description).endswith(".")
