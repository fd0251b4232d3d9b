"""Where somebody is in the queue: the view and the filter, as the address of the page remembers them."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlencode

from crm_store.models.base import LARGEST_ID
from crm_store.models.customers import LANGUAGES
from crm_store.models.tickets import GRADES, REASONS
from crm_store.queries.queue import VIEWS, QueueFilter

CHOICES = {"language": LANGUAGES, "reason": REASONS, "grade": GRADES}


@dataclass(frozen=True)
class QueuePlace:
    """A view and a filter."""

    view: str = "all"
    only: QueueFilter = QueueFilter()

    @cached_property
    def filters(self) -> dict[str, str]:
        """What is filtered by, as the address names it."""
        wanted = {"language": self.only.language, "team": self.only.team_id, "reason": self.only.reason,
                  "grade": self.only.grade, "unassigned": "1" if self.only.unassigned else None}
        return {name: str(value) for name, value in wanted.items() if value is not None}

    @cached_property
    def address(self) -> str:
        """The page's address without a conversation."""
        return self.in_view(self.view)

    def in_view(self, view: str) -> str:
        """The address of another view with the same filter."""
        return "/desk?" + urlencode({"view": view, **self.filters})


def read_place(asked: Mapping[str, str]) -> QueuePlace:
    """The place that a query names; what it does not know counts as not asked for."""
    view = asked.get("view", "")
    known = {name: asked[name] for name, values in CHOICES.items() if asked.get(name) in values}
    return QueuePlace(view if view in VIEWS else "all", QueueFilter(
        **known, team_id=_id(asked.get("team", "")), unassigned=asked.get("unassigned") == "1"))


def _id(text: str) -> int | None:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return number if 0 < number <= LARGEST_ID else None
