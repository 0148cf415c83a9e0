"""What a browser's request says: a form, a language, and by what its wrong codes are counted.

Belongs here: reading it, for every page that participants see. Which page is shown belongs elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import cast

from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.webhook import Event

LARGEST_FORM_BYTES = 4096


def form_of(event: Event) -> str:
    """Return a form's content; "" for what is too large to be one, or no text."""
    body = event.get("body") or ""
    try:
        sent = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
        return sent.decode() if len(sent) <= LARGEST_FORM_BYTES else ""
    except ValueError:
        return ""


def visitor_of(address: str, key: str) -> str:
    """Return what a network address is counted by, which nobody without the key leads back to it.

    All of an IPv6 network (/64) counts as one, since a single host may use any of its addresses.
    """
    with suppress(ValueError):
        parsed = ip_address(address.partition("%")[0])
        address = str(ip_network((parsed, 64), strict=False) if parsed.version == 6 else parsed)
    return hmac.new(key.encode(), f"address {address}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def preferred_language(accept_language: str) -> Language:
    """Return the language that a browser likes better, Japanese if it likes neither."""
    best: tuple[float, Language] = (0.0, "ja")
    for part in accept_language[:1000].split(","):
        tag, _, weight = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        number = weight.strip().removeprefix("q=").strip()
        liked = float(number) if re.fullmatch(r"[01](\.[0-9]{0,3})?", number) else float(not number)
        if language in LANGUAGES and liked > best[0]:
            best = liked, cast("Language", language)
    return best[1]
