"""The words that a column may hold, and the reasons for a value that is missing, each labelled in two languages.

Belongs here: facts about closed sets of values. Which column has which set stands with its entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Value:
    """One value: the word in the table, its number in formats that label numbers, and its labels."""

    word: str
    code: int
    en: str
    ja: str


def numbered(*labels: tuple[str, str, str]) -> tuple[Value, ...]:
    """Return values with the codes 1, 2, …; a new one goes to the end, so that no code ever changes."""
    return tuple(Value(word, code, en, ja) for code, (word, en, ja) in enumerate(labels, start=1))


YES_NO = (Value("false", 0, "No", "いいえ"), Value("true", 1, "Yes", "はい"))
WEAR_SOURCES = numbered(
    ("heart_rate", "Heart rate", "心拍"),
    ("stress", "Stress", "ストレス"),
)
WHO_LEVELS = numbered(
    ("below", "Below the recommendation", "推奨量未満"),
    ("meets", "Meets the recommendation", "推奨量どおり"),
    ("exceeds", "Exceeds the recommendation", "推奨量を超える"),
    ("unknown", "Unknown: too few valid days", "不明（有効日の不足）"),
)
WEEK_STATES = numbered(
    ("valid", "Valid week", "有効週"),
    ("too_short", "Worn, but too short", "装着不足"),
    ("not_worn", "Not worn", "非装着"),
    ("not_synced", "Not synchronised", "未同期"),
    ("not_enrolled", "Not yet enrolled", "登録前"),
    ("revoked", "Revoked", "利用停止"),
    ("unknown", "Worn for an unknown time", "装着不明"),
)


@dataclass(frozen=True)
class Reason(Value):
    """Why a value is missing; `rule_en` and `rule_ja` say when that is known."""

    rule_en: str
    rule_ja: str


REASONS: tuple[Reason, ...] = (
    Reason(
        "not_worn", 1, "Not worn", "非装着",
        "The device was worn on no day of the row: wear time is 0, or, of a date, missing without any sign of wear",
        "その行のどの日にも装着していない（装着時間が 0。日ごとの行では、欠損で装着の形跡もない場合を含む）",
    ),
    Reason(
        "too_short", 2, "Worn, but too short", "装着不足",
        "The device was worn, but there is no valid day, and the metric is made from valid days",
        "装着はしたが有効日がない（有効日から求める指標）",
    ),
    Reason(
        "not_synced", 3, "Not synchronised", "未同期",
        "Nothing is known of the time yet: the device has not synchronised since",
        "その期間より後に機器が同期していないため、まだ何もわからない",
    ),
    Reason(
        "not_enrolled", 4, "Not yet enrolled", "登録前",
        "Before the participant's enrolment",
        "参加者の登録より前",
    ),
    Reason(
        "revoked", 5, "Revoked", "利用停止",
        "No account of the participant may be used",
        "使用できるアカウントがない",
    ),
    Reason(
        "device_does_not_measure", 6, "Device does not measure it", "機器が測定しない",
        "The device was worn as the metric needs it, and the table has no value of it for the participant on any date: "
        "the device cannot measure it, or a setting keeps it from that",
        "必要な装着はあるが、この参加者の値が表のどの日付にもない（機器が測定できないか、設定で無効になっている）",
    ),
    Reason(
        "below_precondition", 7, "Fewer data than the definition needs", "定義に必要なデータの不足",
        "There are data, but fewer days, nights, pairs or hours than the metric's rule asks for",
        "データはあるが、定義に必要な日数、夜数、組数、時間数に満たない",
    ),
    Reason(
        "unknown", 8, "Unknown", "不明",
        "None of the other reasons is certain",
        "ほかのどの理由とも言えない",
    ),
)  # fmt: skip
"""All reasons; the codes never change."""
_BY_WORD = {one.word: one for one in REASONS}

Basis = Literal["worn_days", "valid_days", "nights", "status"]
"""What a value is made from: days worn at all, valid days, nights with a main sleep, or the state of a week."""
_BASED_ON: dict[Basis, tuple[str, ...]] = {
    "worn_days": ("not_worn",),
    "valid_days": ("not_worn", "too_short"),
    "nights": ("not_worn",),
    "status": ("not_worn", "not_synced", "not_enrolled", "revoked"),
}


@dataclass(frozen=True)
class Blanks:
    """What is known of a column's missing values.

    `sensor`: a device either delivers it or does not, so that one which never did does not measure it. `counts`:
    columns of the same row of which any above 0 says that there are data, but fewer than the definition asks for.
    """

    basis: Basis
    sensor: bool = False
    counts: tuple[str, ...] = field(default=())

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every reason that a missing value of the column may have, in the order of `REASONS`."""
        words = {*_BASED_ON[self.basis], "unknown"}
        words |= {"device_does_not_measure"} if self.sensor else set()
        words |= {"below_precondition"} if self.counts else set()
        return tuple(one for one in REASONS if one.word in words)


def reason(word: str) -> Reason:
    """Return a reason by its word."""
    return _BY_WORD[word]
