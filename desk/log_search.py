"""The log's search as it stands in an address: read, written, and said in words.

``/manage/logs`` and its export take these parameters. Whatever cannot be read is left out, and the page names it.

=============  =======================================================================================================
``words``      in messages, notes, customers' names and numbers, tickets' numbers; "in quotes" what belongs together
``channel``    ``web``, ``http``, ``telegram``, ``wechat``
``language``   ``zh``, ``en``
``status``     ``pending``, ``open``, ``snoozed``, ``resolved``
``intent``     the name of an intent, of any message
``anger``      at least so angry in any message, 0 to 1
``anger_to``   in no message angrier than this
``unread``     ``yes``: the mood of a message could not be read; ``no``: of none
``reason``     of a handover: ``asked``, ``anger``, ``major_complaint``, ``stuck``, ``system``
``agent``      id of the agent who has it or wrote in it
``team``       id of the team it was given to or whose member has it
``grade``      of a complaint: ``ordinary``, ``complex``, ``major``
``breached``   ``yes``: a promise was broken; ``no``: none
``promise``    which: ``first_response``, ``next_response``, ``resolution``, ``follow_up``; alone: one was made
``rating``     ``1`` to ``5``
``cause``      a ticket's outcome: ``solved``, ``explained``, ``compensated``, ``no_answer``, ``not_ours``, ``spam``
``by_bot``     ``yes``: the bot settled it alone
``hour``       ``0`` to ``23`` on the shop's clock: when it began, or, with ``breached`` or ``promise``, when that was
``since``      first day, YYYY-MM-DD on the shop's calendar
``until``      last day, included
``dates``      what the days are of. ``active`` (the default): any part of the conversation, and each message, handover,
               rating, outcome and verdict on a promise that is asked for. ``begun``: its beginning; the default with
               ``by_bot``, and with ``hour`` unless a promise is asked for
``sort``       ``newest`` (the default) or ``relevance``
=============  =======================================================================================================
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from crm_store.models.conversations import STATUSES
from crm_store.models.customers import CHANNELS, LANGUAGES
from crm_store.models.tickets import GRADES, PROMISES, REASONS
from crm_store.queries.log import SORTS
from desk.filters import day_begins, number, one_of
from desk.rendering import Reader
from desk.shapes import CAUSES

VALUE_LIMIT = 200
DATES = ("active", "begun")
CHOICES: dict[str, tuple[str, ...]] = {
    "channel": CHANNELS, "language": LANGUAGES, "status": STATUSES, "reason": REASONS, "grade": GRADES,
    "promise": PROMISES, "cause": CAUSES,
}
"""The conditions that are one of few values; a value's word is named by the condition and the value."""


@dataclass
class Search:
    """What was asked for: ``given`` as it was typed, ``wanted`` as the store is asked, ``bad`` what cannot be read."""

    given: dict[str, str]
    wanted: dict[str, Any] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)

    def query(self, without: str | None = None, **more: Any) -> str:
        """The search as the query of an address, without what could not be read."""
        kept = {name: value for name, value in self.given.items() if value and name not in (without, *self.bad)}
        return urlencode({**kept, **more})

    @property
    def asked(self) -> dict[str, str]:
        """What was given and could be read, in the order of the fields; the order of results is no condition."""
        return {name: value for name, value in self.given.items()
                if value and name not in self.bad and name not in ("sort", "dates")}

    @property
    def sort(self) -> str:
        """In which order the results come."""
        return self.given["sort"] if self.given["sort"] in SORTS else "newest"


def read_search(parameters: Mapping[str, str], reader: Reader) -> Search:
    """Read the parameters; a condition that cannot be read is left out and named."""
    kinds = _kinds(reader)
    search = Search({name: _storable(parameters.get(name, ""))[:VALUE_LIMIT].strip() for name in kinds})
    for name, text in search.given.items():
        if not text:
            continue
        argument, read = kinds[name]
        try:
            search.wanted[argument] = read(text)
        except (ValueError, OverflowError):
            search.bad.append(name)
    search.wanted.pop("sort", None)
    began = "by_bot" in search.wanted or ("hour" in search.wanted and not {"breached", "promise"} & set(search.wanted))
    if began:
        search.wanted.setdefault("dates", "begun")
    return search


def _kinds(reader: Reader) -> dict[str, tuple[str, Callable[[str], Any]]]:
    """For each parameter the condition it becomes and how it is read."""
    return {
        "words": ("words", str), **{name: (name, one_of(values)) for name, values in CHOICES.items()},
        "intent": ("intent", _intent), "anger": ("anger_at_least", _share), "anger_to": ("anger_at_most", _share),
        "unread": ("anger_unknown", _yes_no), "agent": ("agent_id", number), "team": ("team_id", number),
        "breached": ("breached", _yes_no), "rating": ("rating", lambda text: int(one_of(tuple("12345"))(text))),
        "by_bot": ("by_bot", _yes_no), "hour": ("hour", _hour),
        "since": ("since", lambda text: day_begins(text, reader)),
        "until": ("until", lambda text: day_begins(text, reader, later=1)),
        "dates": ("dates", one_of(DATES)), "sort": ("sort", one_of(SORTS)),
    }


def _storable(text: str) -> str:
    """What can stand in an address and be asked of a database: NUL and lone surrogates cannot."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _intent(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w/.-]{0,59}", text):
        raise ValueError(text)
    return text


def _hour(text: str) -> int:
    if not re.fullmatch(r"[0-9]|1[0-9]|2[0-3]", text):
        raise ValueError(text)
    return int(text)


def _share(text: str) -> float:
    value = float(text.replace(",", "."))
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def _yes_no(text: str) -> bool:
    return one_of(("yes", "no"))(text) == "yes"
