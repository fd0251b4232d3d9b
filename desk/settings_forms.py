"""The fields of the settings: how each is typed, read, shown again and told in the history."""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from crm_store.services.shop_settings import InvalidSettings, Refusal
from desk.rendering import Reader

Options = list[tuple[str, str]]
UNITS = {  # seconds
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒", "秒钟"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "分", "分钟"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "小时", "时", "钟头", "个小时"), 3600),
    **dict.fromkeys(("d", "day", "days", "天", "日"), 86_400),
}
_LENGTH = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(" + "|".join(sorted(UNITS, key=len, reverse=True)) + r")")
_INTERVAL = re.compile(r"(\d{1,2})[:：](\d{2})\s*(?:[-–—−~～]|至|到|to)\s*(\d{1,2})[:：](\d{2})")
_BETWEEN = r"[\s,，;；、]*"


class Unreadable(Exception):
    """What was typed cannot be read as what the field holds."""

    def __init__(self, reason: str, **values: Any) -> None:
        super().__init__(reason)
        self.refusal = Refusal(reason, values)


def read_text(typed: str) -> Any:
    """A text as it was typed."""
    return typed


def read_choice(typed: str) -> str | None:
    """One of several, None where none was chosen."""
    return typed or None


def read_id(typed: str) -> int | None:
    """The id of a chosen row."""
    if not typed:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", typed):
        raise Unreadable("unknown")
    return int(typed)


def read_flag(typed: str) -> bool:
    """Whether a box was ticked."""
    return typed == "yes"


def read_choices(typed: str) -> list[str]:
    """The ticked boxes of several."""
    return typed.split(",") if typed else []


def read_lines(typed: str) -> list[str]:
    """A list, a line each."""
    return [line.strip() for line in typed.splitlines() if line.strip()]


def read_whole(typed: str) -> int | None:
    """A whole number."""
    text = _plain(typed).replace(",", "")
    if not text:
        return None
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise Unreadable("not_a_number")
    return int(text)


def read_number(typed: str) -> float | None:
    """A number with decimals, written with a point or a comma."""
    text = _plain(typed).replace(",", ".")
    if not text:
        return None
    if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,6})?", text):
        raise Unreadable("not_a_number")
    return float(text)


def read_yuan(typed: str) -> int | None:
    """An amount in yuan, as fen."""
    text = _plain(typed).replace(",", "").lstrip("¥￥").strip()
    if not text:
        return None
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,2})?", text):
        raise Unreadable("not_an_amount")
    return int(Decimal(text) * 100)


def read_length(typed: str) -> int | None:
    """A length of time such as "15 min", "1 h 30 min" or "2 小时", in seconds; None where nothing was typed."""
    text = _plain(typed).lower()
    if not text:
        return None
    if not re.fullmatch(f"(?:{_LENGTH.pattern}{_BETWEEN})+", text):
        raise Unreadable("not_a_length")
    return round(sum(Decimal(number) * UNITS[unit] for number, unit in _LENGTH.findall(text)))


def read_hours(typed: str) -> list[list[str]]:
    """A day's hours such as "09:00-12:00, 13:00-18:00"."""
    text = _plain(typed)
    if not text:
        return []
    if not re.fullmatch(f"(?:{_INTERVAL.pattern}{_BETWEEN})+", text):
        raise Unreadable("not_hours")
    return [[f"{int(h):02}:{m}", f"{int(hh):02}:{mm}"] for h, m, hh, mm in _INTERVAL.findall(text)]


def read_days(typed: str) -> list[str]:
    """Days such as 2026-12-31, one a line or with commas between."""
    days = [day for day in re.split(r"[\s,，;；、]+", _plain(typed)) if day]
    wrong = next((day for day in days if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day)), None)
    if wrong is not None:
        raise Unreadable("not_a_date", given=wrong[:20])
    return days


def show_text(value: Any, reader: Reader) -> str:
    """A value as it is typed."""
    return "" if value is None else str(value)


def show_flag(value: Any, reader: Reader) -> str:
    """The value of a box."""
    return "yes" if value else ""


def show_choices(value: Any, reader: Reader) -> str:
    """The values of ticked boxes."""
    return ",".join(value or ())


def show_lines(value: Any, reader: Reader) -> str:
    """A list, a line each."""
    return "\n".join(value or ())


def show_number(value: Any, reader: Reader) -> str:
    """A number without noughts at its end."""
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def show_yuan(value: Any, reader: Reader) -> str:
    """Fen as yuan, to type."""
    return "" if value is None else f"{value // 100}" if value % 100 == 0 else f"{value / 100:.2f}"


def show_length(value: Any, reader: Reader) -> str:
    """Seconds as people say them: "1 h 30 min"."""
    if value is None:
        return ""
    hours, rest = divmod(int(value), 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [reader.say(key, n=number) for key, number in
             (("set_length_h", hours), ("set_length_min", minutes), ("set_length_s", seconds)) if number]
    return " ".join(parts) or reader.say("set_length_s", n=0)


def show_hours(value: Any, reader: Reader) -> str:
    """A day's hours."""
    return ", ".join(f"{start}–{end}" for start, end in value or ())


@dataclass(frozen=True)
class Field:
    """One field of a form.

    Attributes:
        name: the name in the snapshot, in the form and in the audit log.
        label: its word.
        control: "text", "area", "select", "check", "checks" or "list" (typed, with proposals).
        read: what was typed as a value; raises :class:`Unreadable`.
        show: the value as it is typed.
        hint: the word below it.
        options: what can be chosen, as (value, label).
        optional: whether the form says that it may stay empty.
        limit: the most signs that can be typed.
        rows: the height of a text area.
        fixed: chosen when it is created, never changed.
        admins: only admins change it.
        begins: what a new one has.
        part: the word of the part of the form that begins with it.
        narrow: half the width is enough.
        lang: the language of the text, where there is one for each.
    """

    name: str
    label: str
    control: str = "text"
    read: Callable[[str], Any] = read_text
    show: Callable[[Any, Reader], str] = show_text
    hint: str | None = None
    options: Callable[[Session, Reader], Options] | None = None
    optional: bool = False
    limit: int = 200
    rows: int = 4
    fixed: bool = False
    admins: bool = False
    begins: Any = None
    part: str | None = None
    narrow: bool = False
    lang: str | None = None

    def named(self, reader: Reader) -> str:
        """Its label, with the language the text is in where there are two."""
        label = reader.say(self.label)
        return f"{label} · {reader.known('language', self.lang)}" if self.lang else label

    def tell(self, value: Any, reader: Reader, options: Options) -> str:
        """A value as people read it."""
        if value is None or value == "" or value == []:
            return "–"
        if self.control == "check":
            return reader.say("set_yes" if value else "set_no")
        if options:
            labels = dict(options)
            values = value if isinstance(value, list) else [value]
            return ", ".join(labels.get(str(each), str(each)) for each in values)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return ", ".join(value)
        return self.show(value, reader)


@dataclass(frozen=True)
class Control:
    """A field as it stands in a form."""

    field: Field
    typed: str
    options: Options
    locked: bool
    problem: str | None = None

    @property
    def described(self) -> str:
        """The ids of what describes it."""
        there = (("problem", self.problem), ("hint", self.field.hint))
        return " ".join(f"{self.field.name}-{what}" for what, text in there if text)

    @property
    def chosen(self) -> list[str]:
        """The ticked boxes."""
        return self.typed.split(",") if self.typed else []


@dataclass
class Filled:
    """A form that came back: what was typed, what it means, and what cannot be read."""

    typed: dict[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, Refusal] = field(default_factory=dict)

    def refuse(self, error: InvalidSettings) -> None:
        """Keep what the service refused besides what cannot be read."""
        self.problems = {**error.problems, **self.problems}

    def require_all_read(self) -> None:
        """Stop a unit of work that knew only the fields that can be read.

        Raises:
            InvalidSettings: some cannot.
        """
        if self.problems:
            raise InvalidSettings(problems={})


def read_form(fields: Sequence[Field], typed: Mapping[str, str], locked: Callable[[Field], bool]) -> Filled:
    """Read what was typed; a field the reader may not change counts only where a program sent it all the same."""
    filled = Filled({})
    for each in fields:
        if locked(each) and each.name not in typed:
            continue
        text = filled.typed[each.name] = typed.get(each.name, "")
        try:
            filled.values[each.name] = each.read(text)
        except Unreadable as error:
            filled.problems[each.name] = error.refusal
    return filled


def options_of(each: Field, session: Session, reader: Reader) -> Options:
    """What can be chosen in a field."""
    return each.options(session, reader) if each.options else []


def say_refusal(refusal: Refusal, reader: Reader) -> str:
    """Why a field was refused, in words."""
    return reader.say(f"error_field_{refusal.reason}", **refusal.values)


def _plain(typed: str) -> str:
    return unicodedata.normalize("NFKC", typed).strip()
