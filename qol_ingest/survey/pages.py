"""What a participant reads around the questionnaire, in Japanese and in English, and the page of items.

Belongs here: our own words, all of them in TEXTS and LABELS, and the HTML of a page of items. The wording of the items
comes from the licensed text. The pages work without scripts; their style is one text, named by its hash.
"""

# ruff: noqa: E501 - one paragraph of a text is one line

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qol_ingest.consent.pages import STYLE, Programme, content_of, document
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.survey.questionnaire import CHOICES, PAGES, Questionnaire

PageName = Literal["enter", "start", "done", "later", "unknown", "expired", "used", "too-many", "lost", "absent"]
Notice = Literal["", "blank", "not-saved"]

TEXTS: Mapping[PageName, Mapping[Language, str]] = {
    "enter": {
        "ja": """
            # コードの入力
            ご案内に書かれている16文字のコードを入力してください。
            ? コード
            [次へ進む]
            大文字と小文字の区別はありません。間の「-」（ハイフン）は省いてもかまいません。
        """,
        "en": """
            # Enter your code
            Please enter the 16 characters of the code in your letter.
            ? Code
            [Continue]
            Capital or small letters are both fine, and you may leave out the hyphens.
        """,
    },
    "start": {
        "ja": """
            # {title}
            {instructions}
            ## ご回答のしかた
            - 質問は全部で26問、{pages}ページあります。
            - 各ページの下のボタンを押すたびに、そのページの回答が保存されます。
            - 途中でやめても、同じリンクを開くと続きから回答できます。
            - 答えたくない質問は、答えなくてもかまいません。
            お名前をおたずねすることはありません。回答は参加者番号で管理します。
            [回答をはじめる]
        """,
        "en": """
            # {title}
            {instructions}
            ## How it works
            - There are 26 questions on {pages} pages.
            - The button at the end of each page saves its answers.
            - You may stop at any time. The same link takes you to where you left off.
            - You may leave out any question that you would rather not answer.
            We do not ask for your name. Your answers are kept under your participant number.
            [Begin]
        """,
    },
    "done": {
        "ja": """
            # ご回答ありがとうございました
            すべての回答を受け取りました。
            この画面は閉じていただいてかまいません。ほかに必要な手続きはありません。
        """,
        "en": """
            # Thank you
            We have received all your answers.
            You can close this page. There is nothing else to do.
        """,
    },
    "later": {
        "ja": """
            # ただいま回答できません
            申し訳ありません。一時的な問題が起きています。これまでに保存された回答は失われていません。
            数分たってから、もう一度お試しください。
            [もう一度開く]
        """,
        "en": """
            # This does not work right now
            We are sorry. There is a problem that should soon pass. Answers that were saved are not lost.
            Please try again in a few minutes.
            [Try again]
        """,
    },
    "unknown": {
        "ja": """
            # コードが確認できません
            コードが正しくないようです。ご案内をご確認のうえ、もう一度入力してください。
            ? コード
            [次へ進む]
            何度入力しても進めない場合は、担当者にご連絡ください。
        """,
        "en": """
            # We do not know this code
            The code does not seem to be right. Please compare it with your letter and enter it again.
            ? Code
            [Continue]
            If it still does not work, please tell the staff.
        """,
    },
    "expired": {
        "ja": """
            # このリンクは使えなくなりました
            有効期限が過ぎたか、新しいリンクが送られています。これまでに保存された回答は失われていません。
            新しいリンクをお持ちでしたら、そちらをお使いください。お持ちでない場合は、担当者にご連絡ください。
        """,
        "en": """
            # This link can no longer be used
            It has expired, or a newer link was sent to you. Answers that were saved are not lost.
            If you have a newer link, please use that one. If not, please tell the staff.
        """,
    },
    "used": {
        "ja": """
            # このアンケートは回答済みです
            回答はすべて受け取っています。何もなさる必要はありません。
            回答した覚えがない場合や、回答を直したい場合は、担当者にご連絡ください。
        """,
        "en": """
            # This form was sent already
            We have all its answers, and you need not do anything.
            If it was not you, or if you want to change an answer, please tell the staff.
        """,
    },
    "too-many": {
        "ja": """
            # しばらくお待ちください
            正しくないコードが何度も入力されました。
            ご案内のコードをご確認のうえ、10分ほどたってから、もう一度お試しください。
        """,
        "en": """
            # Please wait a little
            Wrong codes were entered many times.
            Please compare the code with your letter and try again in about ten minutes.
        """,
    },
    "lost": {
        "ja": """
            # ページが見つかりません
            アドレスに誤りがないか、ご案内をご確認ください。
        """,
        "en": """
            # There is no such page
            Please compare the address with your letter.
        """,
    },
    "absent": {
        "ja": """
            # アンケートは準備中です
            ただいま回答を受け付けていません。お手数ですが、担当者にご連絡ください。
        """,
        "en": """
            # This questionnaire is not ready
            No answers are taken at present. Please tell the staff.
        """,
    },
}
"""Line by line, as in `consent.pages`."""

LABELS: Mapping[Language, Mapping[str, str]] = {
    "ja": {
        "page": "{pages}ページ中 {page}ページ目",
        "next": "保存して次へ",
        "last": "保存して終える",
        "back": "保存して前のページへ",
        "none": "答えない",
        "blank": "まだ答えていない質問があります：{items}。答えない場合は、このまま下のボタンを押してください。",
        "item": "質問{item}",
        "comma": "、",
        "not-saved": "申し訳ありません。回答を保存できませんでした。選んだ回答は下に残っています。少し待ってから、もう一度ボタンを押してください。",
    },
    "en": {
        "page": "Page {page} of {pages}",
        "next": "Save and go on",
        "last": "Save and finish",
        "back": "Save and go back",
        "none": "I would rather not answer",
        "blank": "Not answered yet: {items}. If you want to leave them out, just press the button again.",
        "item": "question {item}",
        "comma": ", ",
        "not-saved": "We are sorry: your answers could not be saved. They are still marked below. Please wait a moment and press the button again.",
    },
}

FORM_STYLE = (
    STYLE
    + """
.page{margin:0 0 1.25rem;color:var(--soft)}
.notice{border:.1875rem solid var(--focus);border-radius:.5rem;padding:.75rem 1rem;margin:0 0 1.5rem;background:var(--warm)}
.notice a{white-space:nowrap}
fieldset{border:0;margin:0 0 2.25rem;padding:0;min-width:0}
legend{padding:0;font-weight:700;font-size:1.25rem;line-height:1.5;margin-bottom:.75rem}
.choice{display:flex;align-items:center;gap:.875rem;min-height:3.25rem;padding:.5rem .875rem;margin-bottom:.5rem;\
border:.125rem solid var(--line);border-radius:.5rem;font-weight:400;line-height:1.4;cursor:pointer}
.choice:hover{border-color:var(--blue)}
.choice:has(:checked){border-color:var(--blue);background:var(--tint);font-weight:600}
.choice:focus-within{outline:.25rem solid var(--focus);outline-offset:.125rem}
.choice input{flex:none;width:1.5rem;height:1.5rem;margin:0;padding:0;border:0;accent-color:var(--blue)}
.choice input:focus-visible{outline:0}
.none{border-style:dashed;color:var(--soft)}
.quiet{background:var(--paper);color:var(--blue);border:.125rem solid var(--blue);margin:0 0 1rem;font-size:1.125rem;font-weight:600}
.quiet:hover{background:var(--tint)}
"""
).strip()


@dataclass(frozen=True)
class Shown:
    """A page of items as it is shown: its number from 1 on, the answers that are marked, and what is said above."""

    page: int
    answers: Mapping[int, int | None]
    notice: Notice = ""

    @property
    def items(self) -> tuple[int, ...]:
        """The items of the page."""
        return PAGES[self.page - 1]


def text_page(
    name: PageName,
    language: Language,
    programme: Programme,
    *,
    button_url: str,
    other_url: str,
    text: Questionnaire | None = None,
) -> str:
    """Return a page of our own words; "start" also has the title and the instructions of the licensed text."""
    lines = [line.strip() for line in TEXTS[name][language].strip().splitlines()]
    about = {"title": text.title, "instructions": text.instructions} if text else {}
    filled = [part for line in lines for part in line.format(pages=len(PAGES), **about).splitlines() if part.strip()]
    content = content_of(filled, language, button_url, {}, "code")
    return document(filled[0].removeprefix("# "), content, language, programme, other_url=other_url, style=FORM_STYLE)


def items_page(
    shown: Shown,
    text: Questionnaire,
    programme: Programme,
    *,
    url: str,
    hidden: Mapping[str, str],
    others: Sequence[Language] = (),
) -> str:
    """Return a page of items, whose form leads to `url` with `hidden`; `others` are languages it may change to."""
    language = text.language
    labels = LABELS[language]
    progress = labels["page"].format(page=shown.page, pages=len(PAGES))
    content = "\n".join(
        [
            f"<h1>{html.escape(text.title)}</h1>",
            f'<p class="page">{html.escape(progress)}</p>',
            *_notice(shown, labels),
            f'<form method="post" action="{html.escape(url)}">',
            *(f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in hidden.items()),
            *(_fieldset(item, text, shown, labels["none"]) for item in shown.items),
            *_buttons(shown.page, labels, others),
            "</form>",
        ]
    )
    return document(f"{progress} | {text.title}", content, language, programme, style=FORM_STYLE)


def _notice(shown: Shown, labels: Mapping[str, str]) -> Iterator[str]:
    if not shown.notice:
        return
    blank = [item for item in shown.items if item not in shown.answers]
    links = [f'<a href="#q{item}">{html.escape(labels["item"].format(item=item))}</a>' for item in blank]
    said = labels[shown.notice].format(items=labels["comma"].join(links))
    yield f'<p class="notice" role="alert">{said}</p>'


def _fieldset(item: int, text: Questionnaire, shown: Shown, none: str) -> str:
    wording = text.items[item]
    choices = [(str(choice), label, "choice") for choice, label in zip(CHOICES, wording.labels, strict=True)]
    marked = "missing" if item not in shown.answers else str(shown.answers[item] or "")
    return "\n".join(
        [
            f'<fieldset id="q{item}">',
            f"<legend>{item}. {html.escape(wording.text)}</legend>",
            *(
                f'<label class="{kind}"><input type="radio" name="q{item}" value="{value}"'
                f"{' checked' if value == marked else ''}><span>{html.escape(label)}</span></label>"
                for value, label, kind in [*choices, ("", none, "choice none")]
            ),
            "</fieldset>",
        ]
    )


def _buttons(page: int, labels: Mapping[str, str], others: Sequence[Language]) -> Iterator[str]:
    """Yield the buttons, all of which save. The first is what Enter presses."""
    label = labels["last" if page == len(PAGES) else "next"]
    yield f'<button class="button" name="to" value="next">{html.escape(label)}</button>'
    if page > 1:
        yield f'<button class="button quiet" name="to" value="back">{html.escape(labels["back"])}</button>'
    for other in others:
        yield f'<button class="button quiet" name="to" value="{other}" lang="{other}">{LANGUAGES[other]}</button>'
