"""The words that columns of questionnaires may hold, each labelled in two languages.

Belongs here: closed sets of values. Which column has which set stands with its entry in `dictionary.py`. No item texts.
"""

from __future__ import annotations

from qol_dagster.metrics.dictionary.values import numbered

DUE_STATES = numbered(
    ("upcoming", "Not yet open", "開始前"),
    ("open", "Open", "受付中"),
    ("answered", "Answered", "回答済み"),
    ("answered_outside", "Answered outside of its time", "受付期間外に回答"),
    ("missed", "Missed", "未回答"),
)
ANSWER_MODES = numbered(
    ("web", "Web page", "ウェブ"),
    ("paper", "Paper", "紙"),
    ("import", "Imported", "取り込み"),
)
MISSING_RULES = numbered(
    ("who_syntax", "WHO, SPSS syntax", "WHO の SPSS シンタックス"),
    ("who_text", "WHO, text", "WHO の本文"),
)
NO_SCORE = numbered(
    ("form_incomplete", "Too few answers in the form", "用紙全体の回答が足りない"),
    ("domain_incomplete", "Too few answers in the domain", "領域の回答が足りない"),
)
DOMAIN_NAMES = numbered(
    ("physical", "Physical", "身体的領域"),
    ("psychological", "Psychological", "心理的領域"),
    ("social", "Social", "社会的関係"),
    ("environment", "Environment", "環境領域"),
)
METHODS = numbered(
    ("within_correlation", "Correlation within persons", "個人内の相関"),
    ("between_correlation", "Correlation between persons", "個人間の相関"),
    ("mixed_slope", "Slope of a mixed model", "混合モデルの傾き"),
)
NO_ESTIMATE = numbered(
    ("too_few_persons", "Too few persons", "人数が足りない"),
    ("too_few_forms", "Too few forms", "回答が足りない"),
    ("no_variance", "Nothing varies", "ばらつきがない"),
)
