"""What goes wrong in the simulated cloud, on purpose.

Belongs here: which answer is spoilt and how. The n-th answer of a seed has always the same fate, whatever it is
about, so a test that fails can be run again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

ACCESS_LIFE_S = 86_400


@dataclass(frozen=True)
class Faults:
    """What goes wrong; nothing by default. A share is 0 to 1 of the answers.

    Everything but `token_lifetime_s` befalls the REST paths, downloads among them; `rate_limit`, `errors` and `slow_s`
    befall the token endpoint too. The consent page is always well.

    rate_limit        every n-th answer is 429 with Retry-After: 1; 0 is never, 1 is always
    errors            share of 500 and 503; nothing was done then
    drop              share of answers that are lost on the way, after what was asked was done
    cut_downloads     share of downloads that end half-way; such a one does not use up a file
    slow_s            how long every answer takes
    token_lifetime_s  how long an access token lives
    seed              another seed spoils other answers

    Raises ValueError naming the value that is out of range.
    """

    rate_limit: int = 0
    errors: float = 0.0
    drop: float = 0.0
    cut_downloads: float = 0.0
    slow_s: float = 0.0
    token_lifetime_s: int = ACCESS_LIFE_S
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("errors", "drop", "cut_downloads"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share of 0 to 1")
        for name in ("rate_limit", "slow_s", "token_lifetime_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give 0 or more")

    def refusal(self, number: int) -> int | None:
        """Return the status that answer `number`, counted from 1, gets in place of its own; None if it is spared."""
        if self.rate_limit and number % self.rate_limit == 0:
            return 429
        drawn = self._draw(number, "errors")
        if drawn >= self.errors:
            return None
        return 500 if drawn < self.errors / 2 else 503

    def drops(self, number: int) -> bool:
        """Return whether answer `number` is lost on the way."""
        return self._draw(number, "drop") < self.drop

    def cuts(self, number: int) -> bool:
        """Return whether answer `number`, if it is a download, ends half-way."""
        return self._draw(number, "cut") < self.cut_downloads

    def _draw(self, number: int, what: str) -> float:
        digest = hashlib.sha256(f"{self.seed} {what} {number}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48
