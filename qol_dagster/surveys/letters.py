"""Letters to participants: a sheet of A4 each, with the personal link as a QR code and as an address and a code to type.

Belongs here: the words, and the letters as one HTML file that needs no network. Making links is not this module's.
"""

# ruff: noqa: E501 - one text is one line

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from qol_ingest.shared.languages import Language

TEXTS: Mapping[Language, Mapping[str, str]] = {
    "ja": {
        "title": "アンケートへのご回答のお願い",
        "greeting": "いつもご協力いただき、ありがとうございます。最近2週間の暮らしについて、26の質問にお答えください。",
        "scan": "スマートフォンのカメラで、下の四角いコードを読み取ってください。回答のページが開きます。",
        "type": "読み取れないときは、次のアドレスを開いて、コードを入力してください。",
        "code": "コード",
        "until": "{date}まで使えます。途中でやめても、同じコードで続きから回答できます。",
        "own": "このコードはあなた専用です。ほかの方に渡さないでください。",
        "contact": "お問い合わせ：{contact}",
        "number": "参加者番号 {participant_id}",
        "picture": "回答のページを開くQRコード",
    },
    "en": {
        "title": "Please fill in our questionnaire",
        "greeting": "Thank you for taking part. We have 26 questions about your life in the last two weeks.",
        "scan": "Point your phone's camera at the square code. It opens the questionnaire.",
        "type": "If that does not work, open the address beside it and enter the code.",
        "code": "Code",
        "until": "It can be used until {date}. You may stop at any time: the same code takes you to where you left off.",
        "own": "The code is for you alone. Please do not pass it on.",
        "contact": "Questions: {contact}",
        "number": "Participant number {participant_id}",
        "picture": "QR code that opens the questionnaire",
    },
}


@dataclass(frozen=True)
class Letter:
    """A participant's personal link, which is as confidential as what it leads to, and the last date on which it works."""

    participant_id: str
    link: str = field(repr=False)
    expires_on: date

    @property
    def address(self) -> str:
        """Where the code can be typed."""
        return self.link.partition("?")[0]

    @property
    def code(self) -> str:
        """The code, as it is spelled for people."""
        return self.link.rpartition("code=")[2]


def render_letters(letters: Iterable[Letter], programme: Mapping[Language, str], contact: str = "") -> str:
    """Return letters in the languages of `programme`, which has its name in each; the first is the larger part."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("qol_dagster.surveys"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    shown = [
        (one, qr_code(one.link), {language: _words(one, language, contact) for language in programme})
        for one in letters
    ]
    return environment.get_template("letters.html.j2").render(letters=shown, programme=programme)


def qr_code(link: str) -> str:
    """Return a link as a QR code in SVG, with the quiet zone of four modules. A quarter of it may be damaged."""
    import segno

    return segno.make_qr(link, error="q").svg_inline(omitsize=True, border=4, light="#fff")


def _words(letter: Letter, language: Language, contact: str) -> dict[str, str]:
    from babel.dates import format_date

    values = {
        "date": format_date(letter.expires_on, "long", locale=language),
        "participant_id": letter.participant_id,
        "contact": contact,
    }
    return {name: text.format(**values) for name, text in TEXTS[language].items() if contact or name != "contact"}
