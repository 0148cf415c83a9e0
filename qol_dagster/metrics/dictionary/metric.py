"""What an entry of the dictionary is: one column of one table, with all that is known of it.

Belongs here: the entry, and how one is written down. The entries are in `daily.py`, `weekly.py` and `status.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from qol_dagster.metrics.dictionary import sources as cited
from qol_dagster.metrics.dictionary.japanese import TEXTS, Japanese
from qol_dagster.metrics.dictionary.sources import Source
from qol_dagster.metrics.dictionary.values import Blanks, Value
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_dagster.metrics.types import COLUMN_TYPES, ColumnType, DescribedTable

LONGEST_COMMENT = 255
"""The most characters that Glue takes as the comment of a column."""


@dataclass(frozen=True)
class Metric:
    """One column.

    `formula` gives the value, over the rows or samples that `rule` names; `rule` also says when there is none. Both
    name the thresholds instead of repeating their values. `minimum` and `maximum` are what can never be passed,
    whatever the input; a check holds them. Outside `plausible` a person's value deserves a second look, and nothing
    more. `inputs` are columns of the table before it: for a daily metric Garmin's `type.field`, for the others
    `daily_metrics` columns. What comes from enrolment is `user_id_map.column`. `values` are all words that a column of
    text may hold, if they are few; `blanks` is what is known of missing values.
    """

    name: str
    table: DescribedTable
    type: ColumnType
    unit: str
    description: str
    formula: str
    rule: str
    sources: tuple[Source, ...]
    inputs: tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None
    plausible: tuple[float, float] | None = None
    nullable: bool = True
    values: tuple[Value, ...] = ()
    blanks: Blanks | None = None

    @property
    def ibis_type(self) -> str:
        """The column's type inside an expression."""
        return COLUMN_TYPES[self.type].ibis

    @property
    def source(self) -> str:
        """The citations in one line."""
        return "; ".join(map(str, self.sources))

    @property
    def japanese(self) -> Japanese:
        """The term, description and rule in Japanese."""
        return TEXTS[self.table][self.name]

    @property
    def thresholds(self) -> tuple[str, ...]:
        """Names of the thresholds that the formula or the rule names."""
        words = set(re.findall(r"\w+", f"{self.formula} {self.rule}"))
        return tuple(name for name in DEFAULT_THRESHOLDS.as_dict() if name in words)

    @property
    def definition(self) -> str:
        """One line: description, unit, formula and rule. A formula of one name, such as `mean(steps)`, adds nothing."""
        unit = f" [{self.unit}]" if self.unit else ""
        formula = "" if re.fullmatch(r"\w+|\w+\(\w+\)", self.formula) else self.formula
        return ". ".join(part for part in (f"{self.description}{unit}", formula, self.rule) if part)

    @property
    def comment(self) -> str:
        """The definition as a column comment: its first sentences, as many as `LONGEST_COMMENT` takes."""
        text = self.definition
        while len(text) > LONGEST_COMMENT:
            whole = text.removesuffix(" ...")
            kept, _, _ = whole.rpartition(". " if ". " in whole else " ")
            text = f"{kept} ..."
        return text


def by_name(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """Return the metrics by column name, in order."""
    return {metric.name: metric for metric in metrics}


GARMIN = (cited.GARMIN_HEALTH,)
ACTIVITIES = (cited.GARMIN_ACTIVITY,)
WEAR = (cited.TUDOR_LOCKE, cited.HERRMANN)
WHO = (cited.WHO_2020,)
RAPIDS = (cited.VEGA,)
SLEEP = (cited.GARMIN_HEALTH, cited.OHAYON)
HRV = (cited.GARMIN_HEALTH, cited.TASK_FORCE)
LN_HRV = (cited.PLEWS,)
LONG_NIGHTS = (cited.WATSON,)
CIRCULAR = (cited.MARDIA,)
JETLAG = (cited.WITTMANN, cited.MARDIA)
SRI = (cited.PHILLIPS,)
RHYTHM = (cited.WITTING, cited.VAN_SOMEREN)
LINEAGE = (cited.THIS_PROJECT,)


def entry(
    table: DescribedTable,
    name: str,
    unit: str,
    description: str,
    *,
    formula: str = "",
    rule: str = "",
    inputs: str = "",
    type: ColumnType = "float64",  # noqa: A002
    sources: tuple[Source, ...] = GARMIN,
    low: float | None = 0.0,
    high: float | None = None,
    plausible: tuple[float, float] | None = None,
    nullable: bool = True,
    values: tuple[Value, ...] = (),
    blanks: Blanks | None = None,
) -> Metric:
    """Return an entry; `inputs` are separated by spaces. Only numbers have a range, and none is below 0 unless said."""
    low = low if type in ("int64", "float64") else None
    names = tuple(inputs.split())
    return Metric(
        name, table, type, unit, description, formula, rule, sources, names, low, high, plausible, nullable, values,
        blanks,
    )  # fmt: skip


# -- wording that several tables share

ID_RULE = "Comes from user_id_map when the metrics are computed. Garmin's own id is in no processed data"
DAY_MINUTES = (0, 1440)
WORN, SENSOR, SENSOR_OF_VALID_DAYS = Blanks("worn_days"), Blanks("worn_days", True), Blanks("valid_days", True)
NIGHT, SENSOR_OF_NIGHTS = Blanks("nights"), Blanks("nights", True)
WEEK, LAST_28_DAYS = "of the week", "of the 28 days that end with the week"
