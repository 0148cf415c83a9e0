"""質問票の表の日本語の説明。What `dictionary.py` says in Japanese, by table and column.

Belongs here: Japanese texts and nothing else. No item's wording: items are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

from qol_dagster.metrics.dictionary.japanese import TEXTS, Japanese
from qol_dagster.surveys.whoqol import DOMAINS, ITEMS, DomainName
from qol_dagster.surveys.windows import LEAST_VALID_DAYS, MEASURES, WINDOW_DAYS, Measure

_J = Japanese

DOMAIN_TERMS: Mapping[DomainName, str] = {
    "physical": "身体的領域",
    "psychological": "心理的領域",
    "social": "社会的関係",
    "environment": "環境領域",
}

_TEXT_DATE = "YYYY-MM-DD 形式の文字列"
_COMPUTED_AT = _J("計算時刻", "この行を計算した時刻（UTC）")
_LATEST = "最後に受信した送信の値"
_ANSWERED_ON = _J(
    "回答日",
    "回答した日。採用された回答のうち最も早いものの日付",
    "パーティション列。YYYY-MM-DD 形式の文字列（日本時間）",
)
_MISSING_RULE = _J(
    "欠損の規則",
    "無回答の項目をどう扱うか",
    "who_syntax は全体 22 項目以上、各領域 6、5、2、6 項目以上。who_text は 21 項目、5、4、2、6 項目以上",
)


def _key(day: Japanese = _ANSWERED_ON) -> dict[str, Japanese]:
    return {
        "participant_id": TEXTS["daily"]["participant_id"],
        "date": day,
        "wave": _J("調査回", "何回目の調査か", "0 はベースライン"),
    }


_RESPONSES = {
    **_key(),
    **{
        f"q{item}": _J(
            f"項目 {item}",
            f"項目 {item} の回答（1〜5）",
            "項目ごとに最後に受信した回答。逆転していない。空欄、または 1〜5 のいずれでもなければ欠損",
        )
        for item in ITEMS
    },
    "n_missing": _J("無回答数", "有効な回答のない項目の数"),
    "n_invalid": _J("無効回答数", "1〜5 の範囲にない回答、または複数に印のある回答の数", "n_missing に含まれる"),
    "longest_run": _J("同一回答の連続", "同じ回答が続いた最大の項目数", "印のとおり、項目の順に数える"),
    "is_straight_lined": _J(
        "一律回答",
        "すべての回答が同じかどうか",
        "13 項目以上に回答し、逆転項目を含む場合。得点は計算する",
    ),
    "language": _J("言語", "回答用紙の言語", _LATEST),
    "mode": _J("回答方法", "どのように回答されたか（ウェブ、紙、取り込み）", _LATEST),
    "completed_at": _J("回答完了時刻", "最後の回答の時刻（UTC）", "採用された回答のうち"),
    "last_received_at": _J("最終受信時刻", "最後に受信した時刻（UTC）", "その回のすべての送信のうち"),
    "n_sendings": _J("送信数", "その回に受信した送信の数", "同じものを二度受信しても 1 と数える"),
    "computed_at": _COMPUTED_AT,
}

_DUE = {
    **_key(_J("予定日", "回答の予定日", "パーティション列。YYYY-MM-DD 形式の文字列（日本時間）")),
    "opens_on": _J("受付開始日", "回答できる最初の日", f"{_TEXT_DATE}。ベースラインは予定日から"),
    "closes_on": _J("受付終了日", "回答できる最後の日", _TEXT_DATE),
    "state": _J(
        "状況",
        "その回の状況（upcoming は開始前、open は受付中、answered は回答済み、missed は未回答）",
        "computed_at の時点（日本時間）。answered_outside は受付期間の外の回答",
    ),
    "answered_on": _J("回答日", "回答した日", f"{_TEXT_DATE}。回答がなければ欠損"),
    "computed_at": _COMPUTED_AT,
}


def _domain(domain: DomainName) -> dict[str, Japanese]:
    term = DOMAIN_TERMS[domain]
    rule = f"項目 3、4、26 は逆転する（6 − x）。{domain}_reason に理由があれば欠損"
    return {
        f"n_{domain}": _J(f"{term}の回答数", f"{term}で回答された項目の数"),
        f"{domain}_mean": _J(f"{term}の平均", f"{term}の項目の平均（1〜5）", rule),
        f"{domain}_4_20": _J(f"{term}（4〜20）", f"{term}の平均を 4 倍した得点", rule),
        f"{domain}_0_100": _J(f"{term}（0〜100）", f"{term}の得点を 0〜100 に換算したもの", rule),
        f"{domain}_reason": _J(
            f"{term}が欠損の理由",
            f"{term}の得点がない理由",
            "欠損の規則により、全体の回答が足りない（form_incomplete）か、領域の回答が足りない（domain_incomplete）。"
            "得点があれば欠損",
        ),
    }


_SCORES = {
    **_key(),
    "missing_rule": _MISSING_RULE,
    "n_answered": _J("回答数", "回答された項目の数"),
    "overall_qol": _J("全般的な QOL", "項目 1 の回答（1〜5）", "回答が足りない用紙では欠損"),
    "general_health": _J("全般的な健康", "項目 2 の回答（1〜5）", "回答が足りない用紙では欠損"),
    **{name: text for domain in DOMAINS for name, text in _domain(domain).items()},
    "is_straight_lined": _J("一律回答", "すべての回答が同じかどうか", "survey_responses と同じ"),
    "computed_at": _COMPUTED_AT,
}

_STATISTICS = {"mean": "平均", "sd": "標準偏差（不偏）", "circular_mean": "円周平均", "circular_sd": "円周標準偏差"}
_OVER = {
    "valid_days": f"{WINDOW_DAYS} 日のうち、値のある有効日",
    "nights": f"{WINDOW_DAYS} 日のうち、主睡眠のある夜",
    "days": f"{WINDOW_DAYS} 日のうち、値のあるすべての日",
}


def _measure(one: Measure) -> dict[str, Japanese]:
    term, statistic = TEXTS["daily"][one.column].term, _STATISTICS[one.statistic]
    least = "。2 日以上" if one.statistic.endswith("sd") else ""
    return {
        one.name: _J(
            f"{term}の{statistic}", f"回答前 {WINDOW_DAYS} 日間の{term}の{statistic}", _OVER[one.over] + least
        ),
        one.count: _J("使用日数", f"{one.name} の計算に使った日の数（分母）", _OVER[one.over]),
    }


_SENSOR_WINDOWS = {
    **_key(),
    "window_start": _J("期間の初日", f"回答前 {WINDOW_DAYS} 日間の最初の日", _TEXT_DATE),
    "window_end": _J("期間の末日", "回答日の前日", f"{_TEXT_DATE}。回答日とそれより後の日は決して含まれない"),
    "n_days": _J("記録日数", "期間のうち、記録のある日の数"),
    "n_valid_days": _J("有効日数", "期間のうちの有効日の数"),
    "is_valid_window": _J("有効期間", f"有効日が {LEAST_VALID_DAYS} 日以上あるかどうか"),
    **{name: text for one in MEASURES for name, text in _measure(one).items()},
    "computed_at": _COMPUTED_AT,
}

_NONE = "reason に理由があれば欠損"
_ASSOCIATIONS = {
    "date": _J("最後の回答日", "使った回答のうち最も遅い日", "パーティション列。YYYY-MM-DD 形式の文字列。1 つだけある"),
    "domain": _J("領域", "WHOQOL-26 の領域（0〜100）"),
    "measure": _J("指標", "whoqol_sensor_windows の指標", "列の名前"),
    "method": _J(
        "方法",
        "何を推定したか",
        "個人内の相関（反復測定相関）、個人の平均どうしの相関、個人ごとの切片をもつ混合モデルの傾き（REML）",
    ),
    "n_persons": _J("人数", "推定に使った人数", "個人内の方法では、2 回以上回答した人"),
    "n_forms": _J(
        "回答数",
        "推定に使った回答の数",
        f"有効な期間をもち、指標が {LEAST_VALID_DAYS} 日以上あり、領域の得点があるもの",
    ),
    "estimate": _J("推定値", "推定された値", f"相関係数。mixed_slope では指標 1 単位あたりの領域の得点の差。{_NONE}"),
    "ci_low": _J("信頼区間の下限", "95 % 信頼区間の下限", f"相関は Fisher の z、傾きは Student の t による。{_NONE}"),
    "ci_high": _J("信頼区間の上限", "95 % 信頼区間の上限", f"ci_low と同じ。{_NONE}"),
    "p": _J("p 値", "関連がないとしたときの両側 p 値", f"この行だけの値。{_NONE}"),
    "p_adjusted": _J(
        "調整済み p 値",
        "偽発見率を調整した p 値",
        f"Benjamini と Hochberg の方法。同じ方法で推定値のあるすべての行について。{_NONE}",
    ),
    "reason": _J(
        "推定値がない理由",
        "推定しなかった理由",
        "10 人未満、個人内の方法では 30 回答未満、またはばらつきがない。推定値があれば欠損",
    ),
    "missing_rule": _J("欠損の規則", "無回答の項目をどう扱うか", "whoqol_scores と同じ"),
    "computed_at": _COMPUTED_AT,
}

SURVEY_TEXTS: Mapping[str, Mapping[str, Japanese]] = {
    "survey_responses": _RESPONSES,
    "survey_due": _DUE,
    "whoqol_scores": _SCORES,
    "whoqol_sensor_windows": _SENSOR_WINDOWS,
    "whoqol_associations": _ASSOCIATIONS,
}
"""By table, then by column."""


def survey_texts(table: str, name: str) -> Japanese:
    """Return the Japanese text of a column."""
    return SURVEY_TEXTS[table][name]
