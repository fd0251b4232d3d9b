"""What customers are worth, as it reads: in the customer pane, and as figures for managers."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from crm_store.models import ValueModel
from crm_store.queries.value import UNKNOWN, Group, Value, current_model, group_of, groups_by, value_of
from crm_store.rules.points import SHOP_ZONE
from crm_store.rules.value import RISKS, SCORES, SEGMENTS, STAGES
from crm_store.rules.value_model import FEWEST_BUYERS, FEWEST_DAYS, FEWEST_REPEATERS
from desk.charts import Series, stacked_bars
from desk.figures_board import Cell, Figure, number, percent
from desk.figures_view import Tile
from desk.rendering import Reader

LIST = "/manage/value/customers"
SEGMENT_WORDS = {
    "champions": "segment_champions", "loyal": "segment_loyal", "new": "segment_new",
    "promising": "segment_promising", "attention": "segment_attention", "fading": "segment_fading",
    "at_risk": "segment_at_risk", "hibernating": "segment_hibernating", "lost": "segment_lost",
    UNKNOWN: "segment_unknown"}
STAGE_WORDS = {"new": "life_new", "active": "life_active", "cooling": "life_cooling", "dormant": "life_dormant",
               "lost": "life_lost"}
RISK_WORDS = {"low": "risk_low", "medium": "risk_medium", "high": "risk_high"}
RISK_SERIES = {"low": "kept", "medium": "upset", "high": "late"}
SHADES = 5
FROM_CORRELATION = 0.3  # what the Gamma-Gamma paper would call more than slight


@dataclass(frozen=True)
class Shown:
    """One customer's value as it reads. ``churn`` is empty where it is judged by the silence."""

    value: Value
    segment: str
    stage: str
    risk: str
    churn: str
    why: str
    worth: str
    spent: str
    scores: str
    scores_are: str


@dataclass(frozen=True)
class GridCell:
    """A cell of the RFM grid; ``shade`` from 0, nobody, to 5, the most."""

    text: str
    money: str
    link: str
    shade: int


def shop_day(reader: Reader) -> date:
    """The shop's day."""
    return reader.now.astimezone(SHOP_ZONE).date()


def value_shown(session: Session, customer_id: int, reader: Reader) -> Shown | None:
    """What one customer is worth; None of who has none yet."""
    found = value_of(session, customer_id, shop_day(reader))
    return None if found is None else shown(found, reader)


def shown(value: Value, reader: Reader) -> Shown:
    """A customer's value in the reader's words."""
    scores = dict(zip(("recency", "frequency", "monetary"), value.scores, strict=True)) if value.scores else None
    return Shown(
        value=value, segment=reader.say(SEGMENT_WORDS[value.segment or UNKNOWN]),
        stage=reader.say(STAGE_WORDS[value.stage]), risk=reader.say(RISK_WORDS[value.risk]),
        churn="" if value.churn is None else percent(value.churn), why=why(value, reader),
        worth=reader.say("value_too_little") if value.worth_fen is None else whole_yuan(value.worth_fen, reader),
        spent=reader.money(value.facts.spent_fen),
        scores=reader.say("value_scores", **scores) if scores else "",
        scores_are=reader.say("value_scores_are", **scores) if scores else "")


def why(value: Value, reader: Reader) -> str:
    """What the stage and the risk come from: how often the customer buys, and when they did last."""
    last = {0: reader.say("value_today"), 1: reader.say("value_yesterday")}.get(
        value.silence_days) or reader.say("value_days_ago", days=value.silence_days)
    if value.own_rhythm:
        return reader.say("value_why_own", rhythm=value.facts.rhythm_days, last=last)
    if value.facts.purchases == 1:
        return reader.say("value_why_once", last=last, rhythm=value.rhythm_days)
    return reader.say("value_why_few", purchases=value.facts.purchases, last=last, rhythm=value.rhythm_days)


def whole_yuan(fen: int, reader: Reader) -> str:
    """An estimate or a sum of many, in whole yuan: more would be more than is known."""
    return reader.money(round(fen / 100) * 100)


class ValueBoard:
    """The figures of the console's page of customer value."""

    def __init__(self, session: Session, reader: Reader) -> None:
        """Read everything that the page shows."""
        self.reader = reader
        self.say = reader.say
        self.model: ValueModel | None = current_model(session)
        self.all = group_of(session)
        self._segments = groups_by(session, "segment")
        self._cells = groups_by(session, "cell")
        self._stages: Mapping[Any, Group] = groups_by(session, "stage")
        self._risks: Mapping[Any, Group] = groups_by(session, "risk")
        self._stage_risks: Mapping[Any, Group] = groups_by(session, "stage_risk")

    @property
    def tiles(self) -> list[Tile]:
        """The numbers to see first."""
        high = self._risks.get("high", Group(0, 0, None))
        return [
            Tile(self.say("value_buyers"), number(self.all.customers), self.say(
                "value_tile_buyers_about", repeaters=number(self.model.repeaters if self.model else 0)), link=LIST),
            Tile(self.say("value_spent"), whole_yuan(self.all.spent_fen, self.reader), ""),
            Tile(self.say("value_worth"), self._worth(self.all), self.say("value_worth_hint")),
            Tile(self.say("value_tile_risk"), number(high.customers), self.say(
                "value_tile_risk_about", spent=whole_yuan(high.spent_fen, self.reader)), link=_link(risk="high")),
            Tile(self.say("value_rhythm"), self.say("value_rhythm_days", days=self.model.rhythm_days)
                 if self.model else "–", self.say("value_rhythm_about")),
        ]

    @property
    def notes(self) -> list[str]:
        """What the numbers rest on, or that there is too little to rest them on."""
        model = self.model
        if model is None:
            return []
        if model.r is None or model.p is None:
            return [self.say("value_not_learned", buyers=FEWEST_BUYERS, repeaters=FEWEST_REPEATERS, days=FEWEST_DAYS,
                             has=number(model.customers), back=number(model.repeaters))]
        notes = [self.say(
            "value_learned", day=self.reader.day(model.fitted_at), sample=number(model.sample), r=f"{model.r:.3f}",
            alpha=f"{model.alpha:.1f}", a=f"{model.a:.3f}", b=f"{model.b:.3f}", p=f"{model.p:.2f}", q=f"{model.q:.2f}",
            gamma=f"{model.gamma / 100:.2f}")]
        if model.correlation is not None and abs(model.correlation) >= FROM_CORRELATION:
            notes.append(self.say("value_correlated", value=f"{model.correlation:.2f}"))
        return notes

    @property
    def grid(self) -> list[tuple[int, list[GridCell]]]:
        """How lately from above, how often and how much to the right; nothing where nobody can be compared."""
        if not self._cells:
            return []
        most = max(group.customers for group in self._cells.values())
        return [(recency, [self._cell(recency, weight, most) for weight in SCORES]) for recency in reversed(SCORES)]

    def _cell(self, recency: int, weight: int, most: int) -> GridCell:
        group = self._cells.get((recency, weight), Group(0, 0, None))
        shade = -(-group.customers * SHADES // most)
        return GridCell(number(group.customers), whole_yuan(group.spent_fen, self.reader) if group.customers else "",
                        _link(recency=recency, weight=weight), shade)

    @property
    def segments(self) -> Figure:
        """Each segment: how many, what they spent and will spend."""
        used = [name for name in (*SEGMENTS, UNKNOWN) if name in self._segments]
        return self._figure("segments", self.say("value_segment"), [
            (self.say(SEGMENT_WORDS[name]), self._segments[name], _link(segment=name)) for name in used])

    @property
    def stages(self) -> Figure:
        """Each stage of life, with the risk of its customers as a chart."""
        names = [self.say(STAGE_WORDS[stage]) for stage in STAGES]
        nobody = Group(0, 0, None)
        chart = stacked_bars(names, names, [Series(
            RISK_SERIES[risk], f"{self.say('value_risk')}: {self.say(RISK_WORDS[risk])}",
            [self._stage_risks.get((stage, risk), nobody).customers for stage in STAGES],
            [_link(stage=stage, risk=risk) for stage in STAGES]) for risk in RISKS], say=number)
        figure = self._figure("stages", self.say("value_stage"), [
            (name, self._stages[stage], _link(stage=stage))
            for stage, name in zip(STAGES, names, strict=True) if stage in self._stages])
        return Figure(figure.name, figure.columns, figure.rows, chart)

    def _figure(self, name: str, title: str, groups: list[tuple[str, Group, str]]) -> Figure:
        rows = [[Cell(word, word, link, number=False),
                 Cell(group.customers, number(group.customers), link, group.customers / self.all.customers),
                 Cell(group.customers, percent(group.customers / self.all.customers)),
                 Cell(group.spent_fen, whole_yuan(group.spent_fen, self.reader), None,
                      group.spent_fen / self.all.spent_fen),
                 Cell(group.worth_fen, self._worth(group))] for word, group, link in groups]
        return Figure(name, [title, self.say("value_customers"), self.say("value_share"), self.say("value_spent"),
                             self.say("value_worth")], rows)

    def _worth(self, group: Group) -> str:
        return "–" if group.worth_fen is None else whole_yuan(group.worth_fen, self.reader)


def _link(**wanted: Any) -> str:
    return f"{LIST}?{urlencode(wanted)}"
