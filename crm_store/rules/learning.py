"""Tells whether two messages say the same, so that what was decided of one holds of the other."""
from __future__ import annotations

import hashlib
import unicodedata

from crm_store.rules.personal_data import find_personal_data


def text_key(text: str) -> str:
    """A digest that texts share which differ in case, width, punctuation or personal data only.

    Letters and digits count, or all of a text that has none. 64 characters; the text cannot be read from it.
    """
    for span in reversed(find_personal_data(text)):
        text = f"{text[:span.start]} {text[span.end:]}"
    plain = unicodedata.normalize("NFKC", text).casefold()
    said = "".join(sign for sign in plain if sign.isalnum()) or "".join(plain.split())
    return hashlib.sha256(said.encode("utf8", "replace")).hexdigest()
