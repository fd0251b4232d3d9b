"""Reads pages as a browser does and finds what came out of a payload: elements, attributes, addresses that run."""
from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

from bench.hostile.payloads import MARK

RUNNING = ("javascript:", "data:", "vbscript:")
ADDRESSES = ("href", "src", "action", "formaction", "poster", "xlink:href")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.seen = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if MARK in tag or tag in ("iframe", "object", "embed", "base"):
            self.found.append(f"<{tag}>")
        if tag == "script" and not str(named.get("src", "")).startswith("/"):
            self.found.append("a script of its own")
        if tag == "style":
            self.found.append("a style of its own")
        for name, value in attrs:
            ours = name == "autofocus" and tag == "input"
            if name.startswith("on") or MARK in name or (name in ("style", "srcdoc", "autofocus") and not ours):
                self.found.append(f"<{tag} {name}>")
            if name in ADDRESSES and (value or "").strip().lower().startswith(RUNNING):
                self.found.append(f"<{tag} {name}={value}>")
            self.seen |= MARK in (value or "")

    def handle_data(self, data: str) -> None:
        self.seen |= MARK in data
        if self.cdata_elem and data.strip():
            self.found.append(f"words in <{self.cdata_elem}>")


def intruders(html: str) -> tuple[list[str], bool]:
    """What of a page is markup that none of our templates has, and whether a payload is on it at all."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.found, reader.seen


def formulas(table: str) -> list[str]:
    """The cells of a CSV file that a spreadsheet would run."""
    return [cell for row in csv.reader(io.StringIO(table.replace("\0", ""), newline="")) for cell in row
            if cell.startswith(FORMULA) and not cell.lstrip("-+").replace(".", "", 1).isdigit()]
