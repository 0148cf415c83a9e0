"""What a participant reads while connecting a Garmin account, in Japanese and in English.

Belongs here: the words, all of them in TEXTS, and the one template. Which page is shown, and with what status,
belongs in `oauth`.

The pages work without scripts and load nothing. Their style is one text, so that the content security policy can name
it by its hash.
"""

# ruff: noqa: E501 - one paragraph of a text is one line

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from qol_ingest.shared.languages import LANGUAGES, Language

PageName = Literal[
    "enter",
    "start",
    "done",
    "denied",
    "later",
    "other-account",
    "over",
    "unknown",
    "expired",
    "used",
    "too-many",
    "lost",
]


@dataclass(frozen=True)
class Programme:
    """Who asks for the data. `contact` is shown as it is; without one the participant is sent to the invitation."""

    names: Mapping[Language, str] = field(
        default_factory=lambda: {"ja": "QOL（生活の質）プログラム", "en": "Quality-of-Life (QOL) Programme"}
    )
    contact: str = ""


def programme_of_environment() -> Programme:
    """Return what QOL_PROGRAMME_JA, QOL_PROGRAMME_EN and QOL_CONTACT say; none of them is needed."""
    usual = Programme().names
    names = {one: os.environ.get(f"QOL_PROGRAMME_{one.upper()}") or usual[one] for one in usual}
    return Programme(names, os.environ.get("QOL_CONTACT", ""))


TEXTS: Mapping[PageName, Mapping[Language, str]] = {
    "enter": {
        "ja": """
            # 招待コードの入力
            ご案内に書かれている16文字の招待コードを入力してください。
            ? 招待コード
            [次へ進む]
            大文字と小文字の区別はありません。間の「-」（ハイフン）は省いてもかまいません。
        """,
        "en": """
            # Enter your code
            Please enter the 16 characters of the code in your invitation.
            ? Code
            [Continue]
            Capital or small letters are both fine, and you may leave out the hyphens.
        """,
    },
    "start": {
        "ja": """
            # Garminとの連携
            参加者番号「{participant}」の方のための画面です。番号に心当たりがない場合は、ここで手続きをやめ、担当者にご連絡ください。
            お使いのGarmin（ガーミン）の記録を「{programme}」に送るための手続きです。5分ほどで終わります。
            ## お送りいただく記録
            - 歩数、消費カロリーなど、体の動きの記録
            - 心拍数、睡眠、ストレス、呼吸など、体の状態の記録
            - ウォーキングや運動の記録（場所の情報を含むことがあります）
            - 体重や血圧（Garminに記録している方のみ）
            参加される前の記録が含まれることもあります。
            ## 記録を受け取る人
            「{programme}」の担当者が受け取ります。記録は、お名前ではなく参加者番号「{participant}」で管理します。Garminのパスワードが担当者に伝わることはありません。
            ## いつでもやめられます
            連携は、Garmin Connectアプリの設定から、または担当者へのご連絡で、いつでもやめることができます。やめたあとの記録は送られません。
            ## 手続きのしかた
            1 下のボタンを押すと、Garminの画面に移ります。
            1 Garminのメールアドレスとパスワードを入力します。
            1 送ってよい記録を選び、同意します。
            [同意してGarminの画面へ進む]
        """,
        "en": """
            # Connect your Garmin
            This page is for participant number {participant}. If that is not you, please stop here and tell the staff.
            This lets your Garmin send its records to the {programme}. It takes about five minutes.
            ## What is shared
            - Movement, such as steps and calories
            - Your body, such as heart rate, sleep, stress and breathing
            - Walks and other activities (these may include where you were)
            - Weight and blood pressure, if you record them with Garmin
            Records from before you joined may be included.
            ## Who receives it
            The staff of the {programme}. Your records are kept under the participant number {participant}, not under your name. Nobody but Garmin ever sees your Garmin password.
            ## You can stop at any time
            You can end the connection whenever you like, in the settings of the Garmin Connect app or by telling the staff. Nothing recorded after that is sent.
            ## How it works
            1 The button below takes you to Garmin's page.
            1 Sign in with your Garmin e-mail address and password.
            1 Choose what may be shared, and agree.
            [Agree and go on to Garmin]
        """,
    },
    "done": {
        "ja": """
            # 連携が完了しました
            ありがとうございました。お使いのGarminの記録が「{programme}」に届くようになりました。
            この画面は閉じていただいてかまいません。ほかに必要な手続きはありません。
            いつもどおりGarminを身に着け、ときどきGarmin Connectアプリを開いて、記録を同期してください。
            連携をやめたいときは、Garmin Connectアプリの設定から、または担当者へのご連絡で、いつでもやめることができます。
        """,
        "en": """
            # You are connected
            Thank you. Your Garmin records now reach the {programme}.
            You can close this page. There is nothing else to do.
            Please wear your Garmin as usual, and open the Garmin Connect app now and then so that it can sync.
            You can end the connection at any time, in the settings of the Garmin Connect app or by telling the staff.
        """,
    },
    "denied": {
        "ja": """
            # 連携は行われませんでした
            Garminの画面で同意されなかったため、記録は送られません。
            お考えが変わりましたら、同じご案内からいつでもやり直すことができます。
            [もう一度はじめる]
        """,
        "en": """
            # You are not connected
            You did not agree on Garmin's page, so nothing is shared.
            If you change your mind, you can start again with the same invitation.
            [Start again]
        """,
    },
    "later": {
        "ja": """
            # ただいま手続きができません
            申し訳ありません。一時的な問題で、手続きが完了しませんでした。
            招待コードはまだ使えます。数分たってから、もう一度お試しください。
            [もう一度はじめる]
        """,
        "en": """
            # This does not work right now
            We are sorry. A problem that should soon pass kept us from finishing.
            Your code is still good. Please try again in a few minutes.
            [Start again]
        """,
    },
    "other-account": {
        "ja": """
            # このGarminアカウントは使えません
            ログインされたGarminアカウントは、すでに別の参加者の方が使っています。そのため、連携は行われませんでした。
            ご家族などのアカウントでログインしていないか、ご確認ください。招待コードはまだ使えますので、ご自分のアカウントでやり直すことができます。
            お心当たりがない場合は、担当者にご連絡ください。
            [もう一度はじめる]
        """,
        "en": """
            # This Garmin account cannot be used
            The Garmin account you signed in with belongs to another participant already, so nothing was connected.
            Please check whether you are signed in with the account of a family member, for example. Your code is still good: you can start again with your own account.
            If you do not know why this happened, please tell the staff.
            [Start again]
        """,
    },
    "over": {
        "ja": """
            # この画面の有効期限が切れました
            すでに「連携が完了しました」と表示されていた場合、手続きは終わっています。何もなさる必要はありません。
            まだの場合は、お手数ですが、同じスマートフォンやパソコンで、ご案内のリンクを開くところからやり直してください。
            [もう一度はじめる]
        """,
        "en": """
            # This page is no longer valid
            If you have already seen “You are connected”, all is done and you need not do anything.
            If not, please start again from the link in your invitation, on the same phone or computer throughout.
            [Start again]
        """,
    },
    "unknown": {
        "ja": """
            # 招待コードが確認できません
            招待コードが正しくないようです。ご案内をご確認のうえ、もう一度入力してください。
            ? 招待コード
            [次へ進む]
            何度入力しても進めない場合は、担当者にご連絡ください。
        """,
        "en": """
            # We do not know this code
            The code does not seem to be right. Please compare it with your invitation and enter it again.
            ? Code
            [Continue]
            If it still does not work, please tell the staff.
        """,
    },
    "expired": {
        "ja": """
            # この招待コードは使えなくなりました
            有効期限が過ぎたか、新しいご案内が送られています。
            新しいご案内をお持ちでしたら、そちらをお使いください。お持ちでない場合は、担当者にご連絡ください。新しい招待コードをお送りします。
        """,
        "en": """
            # This code can no longer be used
            It has expired, or a newer invitation was sent to you.
            If you have a newer invitation, please use that one. If not, please tell the staff, and you will get a new code.
        """,
    },
    "used": {
        "ja": """
            # この招待コードは使用済みです
            ご自分で手続きをされた場合、連携は完了しています。何もなさる必要はありません。
            手続きをした覚えがない場合は、担当者にご連絡ください。
        """,
        "en": """
            # This code was used already
            If it was you who used it, you are connected and need not do anything.
            If it was not you, please tell the staff.
        """,
    },
    "too-many": {
        "ja": """
            # しばらくお待ちください
            正しくない招待コードが何度も入力されました。
            ご案内の招待コードをご確認のうえ、10分ほどたってから、もう一度お試しください。
        """,
        "en": """
            # Please wait a little
            Wrong codes were entered many times.
            Please compare the code with your invitation and try again in about ten minutes.
        """,
    },
    "lost": {
        "ja": """
            # ページが見つかりません
            アドレスに誤りがないか、ご案内をご確認ください。
        """,
        "en": """
            # There is no such page
            Please compare the address with your invitation.
        """,
    },
}
"""Line by line: `#` the title, `##` a heading, `-` and `1` lists, `?` a field for the code, `[…]` the button."""

_SMALL: Mapping[Language, Mapping[str, str]] = {
    "ja": {
        "contact": "お問い合わせ：{contact}",
        "no contact": "お問い合わせは、ご案内をお送りした担当者までお願いします。",
        "languages": "言語",
    },
    "en": {
        "contact": "Contact: {contact}",
        "no contact": "If you have a question, please ask the staff who sent you the invitation.",
        "languages": "Language",
    },
}

STYLE = """
*{box-sizing:border-box}
:root{color-scheme:light;--ground:#eef2f6;--paper:#fff;--ink:#16202b;--soft:#41505f;--line:#4d5f73;--blue:#0b57a4;\
--hover:#083f78;--tint:#e6f0fb;--focus:#b35c00;--warm:#fff6e8}
@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark;--ground:#0c1014;--paper:#161c22;--ink:#e6eaee;\
--soft:#b3bec8;--line:#94a3b2;--blue:#8ec2ff;--hover:#b9daff;--tint:#1b3350;--focus:#ffb74d;--warm:#33260f}}
html{background:var(--ground);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0;font:1.125rem/1.8 system-ui,-apple-system,"Hiragino Sans","Noto Sans JP","Yu Gothic UI",sans-serif;\
overflow-wrap:anywhere;line-break:strict;text-wrap:pretty}
body:lang(en){line-height:1.6}
header,main,footer{max-width:38rem;margin:0 auto;padding:0 1.25rem}
header{display:flex;justify-content:space-between;align-items:center;gap:1rem;padding-top:.75rem}
header p{margin:0;font-weight:600;line-height:1.4}
main{background:var(--paper);padding-top:1.75rem;padding-bottom:2rem;margin-top:.5rem;border-top:.375rem solid var(--blue)}
h1{font-size:1.625rem;line-height:1.35;margin:0 0 1.25rem}
h2{font-size:1.25rem;line-height:1.4;margin:2rem 0 .5rem}
h1,h2,.button{word-break:auto-phrase}
p{margin:0 0 1rem}
ul,ol{margin:0 0 1rem;padding-left:1.5rem}
li{margin-bottom:.375rem}
a{color:var(--blue)}
nav a{display:inline-block;padding:.75rem 0;white-space:nowrap}
.button{display:block;width:100%;margin:2rem 0 1.25rem;padding:1rem;border:0;border-radius:.5rem;background:var(--blue);\
color:var(--paper);font:inherit;font-size:1.25rem;line-height:1.4;font-weight:700;text-align:center;text-decoration:none;\
cursor:pointer}
.button:hover{background:var(--hover)}
:focus-visible{outline:.25rem solid var(--focus);outline-offset:.125rem}
label{display:block;font-weight:700}
input{display:block;width:100%;margin-top:.375rem;padding:.75rem;border:.125rem solid var(--line);border-radius:.5rem;\
font:1.375rem/1.4 ui-monospace,Menlo,Consolas,monospace;letter-spacing:.05em;background:var(--paper);color:inherit}
form .button{margin-top:1.25rem}
footer{padding-top:1.25rem;padding-bottom:2.5rem;font-size:1rem}
""".strip()


def headers(form_leads_to: str = "", style: str = STYLE) -> dict[str, str]:
    """Return what goes with every page. Browsers ask where a form leads in the end, which may be another origin."""
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    form_action = f"'self' {form_leads_to}".strip()
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": (
            f"default-src 'none'; style-src 'sha256-{style_hash}'; form-action {form_action}; base-uri 'none'; "
            "frame-ancestors 'none'"
        ),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


_TEMPLATE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="format-detection" content="telephone=no">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<p>{programme}</p>
{switch}
</header>
<main>
{content}
</main>
<footer>
<p>{contact}</p>
</footer>
</body>
</html>
"""


def page(
    name: PageName,
    language: Language,
    programme: Programme,
    *,
    button_url: str,
    other_url: str,
    posted: Mapping[str, str] | None = None,
    participant: str = "",
) -> str:
    """Return a whole HTML page.

    The button, or the form with the code, leads to `button_url`, with `posted` by POST; the same page in the other
    language is at `other_url`. `participant` is whom the page "start" is for.
    """
    words = programme.names[language]
    lines = [line.strip() for line in TEXTS[name][language].strip().splitlines()]
    filled = [line.format(programme=words, participant=participant) for line in lines]
    content = content_of(filled, language, button_url, posted or {})
    return document(lines[0].removeprefix("# "), content, language, programme, other_url=other_url)


def document(
    title: str, content: str, language: Language, programme: Programme, *, other_url: str = "", style: str = STYLE
) -> str:
    """Return a whole HTML page around its content; without `other_url` it leads to no other language."""
    words, small = programme.names[language], _SMALL[language]
    contact = small["contact"].format(contact=programme.contact) if programme.contact else small["no contact"]
    return _TEMPLATE.format(
        language=language,
        title=html.escape(f"{title} | {words}"),
        style=style,
        programme=html.escape(words),
        switch=_switch(language, other_url) if other_url else "",
        content=content,
        contact=html.escape(contact),
    )


def _switch(language: Language, url: str) -> str:
    other: Language = "en" if language == "ja" else "ja"
    link = f'<a href="{html.escape(url)}" lang="{other}" hreflang="{other}">{LANGUAGES[other]}</a>'
    return f'<nav aria-label="{html.escape(_SMALL[language]["languages"])}">{link}</nav>'


def content_of(
    lines: list[str], language: Language, button_url: str, posted: Mapping[str, str], field: str = "entry"
) -> str:
    """Return the HTML of a text's lines; see TEXTS. The code is typed into `field`."""
    return "\n".join(_content(lines, language, button_url, posted, field))


def _content(
    lines: list[str], language: Language, button_url: str, posted: Mapping[str, str], field: str
) -> Iterator[str]:
    """HTML of a text's lines; see TEXTS. A list is ended by the line after it."""
    form = any(line.startswith("? ") for line in lines)
    inside = ""
    for line in lines:
        mark, _, rest = line.partition(" ")
        kind = {"-": "ul", "1": "ol"}.get(mark, "")
        if inside and kind != inside:
            yield f"</{inside}>"
        if kind and kind != inside:
            yield f"<{kind}>"
        inside = kind
        match mark:
            case "#" | "##":
                yield f"<h{len(mark)}>{html.escape(rest)}</h{len(mark)}>"
            case "-" | "1":
                yield f"<li>{html.escape(rest)}</li>"
            case "?":
                yield _field(rest, language, button_url, field)
            case _ if line.startswith("["):
                yield _button(line.strip("[]"), button_url, form, posted)
            case _:
                yield f"<p>{html.escape(line)}</p>"


def _field(label: str, language: Language, url: str, name: str) -> str:
    return (
        f'<form method="get" action="{html.escape(url)}"><input type="hidden" name="lang" value="{language}">'
        f'<label>{html.escape(label)}<input name="{name}" required maxlength="40" autocomplete="off" '
        'autocapitalize="characters" autocorrect="off" spellcheck="false"></label>'
    )


def _button(text: str, url: str, form: bool, posted: Mapping[str, str]) -> str:
    button = f'<button class="button">{html.escape(text)}</button></form>'
    if form:
        return button
    if posted:
        fields = (
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in posted.items()
        )
        return f'<form method="post" action="{html.escape(url)}">{"".join(fields)}{button}'
    return f'<p><a class="button" href="{html.escape(url)}">{html.escape(text)}</a></p>'
