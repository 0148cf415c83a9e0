"""The languages that participants and staff read, each under the name it has for itself; Japanese first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Language = Literal["ja", "en"]
LANGUAGES: Mapping[Language, str] = {"ja": "日本語", "en": "English"}
