"""The figures one by one, as tables, charts and tiles; every number leads to the conversations behind it."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from crm_store.models.tickets import PROMISES, REASONS
from crm_store.queries import figures, figures_intents, figures_promises, listening
from crm_store.queries.figures import BANDS, BEFORE, OUTCOMES, Scope
from crm_store.queries.figures_promises import Kept, Verdict
from crm_store.rules.figures import share, wilson
from crm_store.rules.suggestions import NetPromoter
from desk.charts import Series, stacked_bars
from desk.figures_board import LOGS, Board, Cell, Figure, number, percent
from desk.rendering import MINUS

SATISFIED = 4
SCORES = (5, 4, 3, 2, 1)
HOURS = range(24)
INTENTS_SHOWN = 15
OUTCOME_WORDS = {"bot": "fig_outcome_bot", "resolved": "fig_outcome_resolved", "open": "fig_outcome_open",
                 "snoozed": "fig_outcome_snoozed", "pending": "fig_outcome_pending"}
FAILURE_WORDS = ("fig_failed_messages", "fig_failed_not_understood", "fig_failed_unsure", "fig_failed_asked_back",
                 "fig_failed_corrected", "fig_failed_stuck")


@dataclass(frozen=True)
class Tile:
    """A number to see first. ``tone`` is "good", "bad" or "" of the change against the period before."""

    title: str
    value: str
    about: str
    change: str = ""
    tone: str = ""
    link: str | None = None


def tiles(board: Board) -> list[Tile]:
    """The numbers to see first."""
    return [_started(board), _bot_alone(board), _first_response(board), _angry(board), _rated(board), _open(board)]


def _started(board: Board) -> Tile:
    total, before = _total(board.volume), _total(board.volume, before=True)
    change = "" if not before else _signed(round((total - before) / before * 100), " %")
    about = board.say("fig_begun_about", days=board.scope.period.days)
    return Tile(board.say("fig_conversations"), number(total), about, change, link=board.log(dates="begun"))


def _bot_alone(board: Board) -> Tile:
    title = board.say("fig_bot_alone")
    if board.of_people:
        return Tile(title, "–", board.say("fig_bot_of_nobody"))
    total, alone = _total(board.volume), _total(board.volume, figures.BOT)
    before = share(_total(board.volume, figures.BOT, before=True), _total(board.volume, before=True))
    change, tone = _points(share(alone, total), before)
    return Tile(title, percent(share(alone, total)), board.say("fig_of", part=number(alone), whole=number(total)),
                change, tone, board.log(dates="begun", by_bot="yes"))


def _first_response(board: Board) -> Tile:
    found = [verdict for verdict in board.verdicts if verdict.promise == "first_response"]
    kept, before = sum(verdict.kept for verdict in found), board.kept_before.get("first_response")
    change, tone = _points(share(kept, len(found)), share(before.kept, before.total) if before else None)
    return Tile(board.say("fig_first_kept"), percent(share(kept, len(found))),
                board.say("fig_of", part=number(kept), whole=number(len(found))), change, tone,
                board.log(promise="first_response", breached="yes"))


def _angry(board: Board) -> Tile:
    now, before = _bands(board, before=False), _bands(board, before=True)
    read = {True: sum(before[band] for band in BANDS[:3]), False: sum(now[band] for band in BANDS[:3])}
    change, tone = _points(share(now["route"], read[False]), share(before["route"], read[True]), less_is_better=True)
    about = board.say("fig_of", part=number(now["route"]), whole=number(read[False]))
    if now["unknown"]:
        about += " · " + board.say("fig_unknown_about", count=number(now["unknown"]))
    return Tile(board.say("fig_angry"), percent(share(now["route"], read[False])), about, change, tone,
                _angry_link(board))


def _rated(board: Board) -> Tile:
    given, before = _scores(board.scores, before=False), _scores(board.scores, before=True)
    average, average_before = _average(given), _average(before)
    change, tone = "", ""
    if average is not None and average_before is not None:
        change, tone = _signed(round(average - average_before, 2)), _tone(average - average_before)
    return Tile(board.say("rating"), "–" if average is None else f"{average:.2f}",
                board.say("fig_ratings_about", count=number(given.total())), change, tone)


def _open(board: Board) -> Tile:
    open_now = sum(each.conversations for each in board.backlog if each.status == "open")
    waiting = sum(each.conversations for each in board.backlog) - open_now
    return Tile(board.say("fig_open_now"), number(open_now), board.say("fig_waiting_about", count=number(waiting)),
                link=f"{LOGS}?" + urlencode({**board.filters, "status": "open"}))


def volume(board: Board) -> Figure:
    """Conversations that began, by what has become of them."""
    outcomes = [outcome for outcome in OUTCOMES if _total(board.volume, outcome)]

    def link(outcome: str) -> Callable[[tuple[date, date]], str]:
        more = {"by_bot": "yes"} if outcome == figures.BOT else {"by_bot": "no", "status": outcome}
        return lambda days: board.log(days, dates="begun", **more)

    chart = board.chart((outcome, board.say(OUTCOME_WORDS[outcome]),
                         lambda place, outcome=outcome: board.volume.get((place, outcome), 0),  # type: ignore[misc]
                         link(outcome)) for outcome in outcomes)
    rows = []
    for place, days in enumerate(board.buckets):
        counts = [board.volume.get((place, outcome), 0) for outcome in outcomes]
        rows.append([board.label(board.days(days)), board.count(sum(counts), board.log(days, dates="begun")),
                     *(board.count(count, link(outcome)(days))
                       for outcome, count in zip(outcomes, counts, strict=True))])
    return Figure("volume", [board.say("fig_days"), board.say("fig_begun"),
                             *(board.say(OUTCOME_WORDS[outcome]) for outcome in outcomes)], rows, chart)


def reasons(board: Board) -> Figure:
    """Conversations handed over, by reason."""
    by_bucket, whole = board.handovers
    used = [reason for reason in REASONS if whole.get(reason)]

    def link(reason: str) -> Callable[[tuple[date, date]], str]:
        return lambda days: board.log(days, reason=reason)

    chart = board.chart((reason, board.say(f"reason_{reason}"),
                         lambda place, reason=reason: by_bucket.get((place, reason), 0),  # type: ignore[misc]
                         link(reason)) for reason in used)
    most = max(whole.values(), default=0)
    rows = [[board.label(board.say(f"reason_{reason}"), board.log(reason=reason)),
             board.count(count, board.log(reason=reason), most)]
            for reason, count in sorted(whole.items(), key=lambda each: -each[1])]
    return Figure("reasons", [board.say("reason"), board.say("fig_conversations")], rows, chart)


def promises(board: Board) -> Figure:
    """How each kind of promise was kept."""
    groups = figures_promises.kept_by(board.verdicts, lambda verdict: verdict.promise)
    rows = []
    for promise in PROMISES:
        if promise not in groups:
            continue
        before = board.kept_before.get(promise)
        change, _ = _points(share(groups[promise].kept, groups[promise].total),
                            share(before.kept, before.total) if before else None)
        rows.append([board.label(board.say(f"promise_{promise}"), board.log(promise=promise)),
                     *_kept_cells(board, groups[promise], board.log(promise=promise, breached="yes")),
                     Cell(_plain(change), change or "–")])
    return Figure("promises", [board.say("promise"), *_kept_columns(board), board.say("fig_change")], rows)


def breaches(board: Board) -> Figure:
    """Conversations in which a promise was broken, over time."""
    broken: dict[tuple[int, str], set[int]] = defaultdict(set)
    for verdict in board.verdicts:
        if not verdict.kept:
            broken[verdict.bucket, verdict.promise].add(verdict.conversation_id)
    used = [promise for promise in PROMISES if any(of == promise for _, of in broken)]

    def link(promise: str) -> Callable[[tuple[date, date]], str]:
        return lambda days: board.log(days, promise=promise, breached="yes")

    chart = board.chart((promise, board.say(f"promise_{promise}"),
                         lambda place, promise=promise: len(broken.get((place, promise), ())),  # type: ignore[misc]
                         link(promise)) for promise in used)
    rows = [[board.label(board.days(days)),
             *(board.count(len(broken.get((place, promise), ())), link(promise)(days)) for promise in used)]
            for place, days in enumerate(board.buckets)]
    return Figure("breaches", [board.say("fig_days"), *(board.say(f"promise_{promise}") for promise in used)],
                  rows if used else [], chart)


def policies(board: Board) -> Figure:
    """How the chosen promise was kept, by policy."""
    groups = figures_promises.kept_by(_chosen(board), lambda verdict: verdict.policy_id)
    order = [policy for policy in board.policies if policy in groups]
    return Figure("policies", [board.say("fig_policy"), *_kept_columns(board)],
                  [[board.label(board.policies[policy]), *_kept_cells(board, groups[policy])] for policy in order])


def agents(board: Board) -> Figure:
    """How the chosen promise was kept, by the keeper of the ticket."""
    groups = figures_promises.kept_by(_chosen(board), lambda verdict: verdict.agent_id)
    rows = []
    for agent_id, kept in sorted(groups.items(), key=lambda each: (-each[1].total, each[0] or 0)):
        link = board.log(agent=agent_id, promise=board.promise) if agent_id in board.agents else None
        rows.append([board.label(board.agent(agent_id), link), *_kept_cells(board, kept)])
    return Figure("agents", [board.say("fig_keeper"), *_kept_columns(board)], rows)


def hours(board: Board) -> Figure:
    """How the chosen promise was kept, by the hour at which it was made."""
    chosen = _chosen(board)
    groups = figures_promises.kept_by(chosen, lambda verdict: verdict.hour)
    nothing = Kept(0, 0, None, None)
    names = [f"{hour:02}:00" for hour in HOURS]

    def link(hour: int, breached: str) -> str:
        return board.log(promise=board.promise, hour=hour, breached=breached)

    chart = stacked_bars(
        [f"{hour}" for hour in HOURS], names,
        [Series("kept", board.say("kept"), [groups.get(hour, nothing).kept for hour in HOURS],
                [link(hour, "no") for hour in HOURS]),
         Series("late", board.say("breached"), [groups.get(hour, nothing).broken for hour in HOURS],
                [link(hour, "yes") for hour in HOURS])], say=number)
    rows = [[board.label(names[hour]), *_kept_cells(board, groups[hour], link(hour, "yes"))]
            for hour in HOURS if hour in groups]
    return Figure("hours", [board.say("fig_hour"), *_kept_columns(board)], rows, chart)


def mood(board: Board) -> Figure:
    """The share of customers' messages that read angry or upset, over time; unknown ones are counted apart."""
    counts: Counter[tuple[int, str]] = Counter()
    for each in board.read:
        counts[each.bucket, each.band] += each.messages
    read = [sum(counts[place, band] for band in BANDS[:3]) for place in range(len(board.buckets))]

    def value(band: str) -> Callable[[int], float]:
        return lambda place: round((share(counts[place, band], read[place]) or 0) * 100, 1)

    chart = board.chart([
        ("angry", board.say("mood_route"), value("route"), lambda days: _angry_link(board, days)),
        ("upset", board.say("mood_watch"), value("watch"),
         lambda days: board.log(days, anger=f"{board.limits.watch:g}"))],
        say=lambda shown: f"{shown:g} %", whole=False)
    rows = []
    for place, days in enumerate(board.buckets):
        rows.append([board.label(board.days(days)), board.count(read[place]),
                     board.count(counts[place, "route"], _angry_link(board, days)),
                     board.share(counts[place, "route"], read[place]), board.count(counts[place, "watch"]),
                     board.count(counts[place, "unknown"])])
    columns = [board.say("fig_days"), board.say("fig_messages_read"), board.say("mood_route"),
               board.say("fig_angry_share"), board.say("mood_watch"), board.say("mood_unknown")]
    return Figure("mood", columns, rows, chart)


def angry_intents(board: Board) -> Figure:
    """What angry messages were about."""
    about: Counter[str | None] = Counter()
    for each in board.read:
        if each.bucket != BEFORE and each.band == "route":
            about[each.intent] += each.messages
    shown = about.most_common(INTENTS_SHOWN)
    most = max(about.values(), default=0)
    rows = []
    for intent, count in shown:
        link = board.log(intent=intent, anger=f"{board.limits.route:g}") if intent else None
        rows.append([board.label(board.intent(intent), link), board.count(count, link, most)])
    return Figure("angry_intents", [board.say("intent"), board.say("fig_angry_messages")], rows)


def calmed(board: Board) -> Figure:
    """The mood at the handover and at the end, of conversations resolved since."""
    found = figures.calmed(board.session, board.scope)
    rows = []
    for start in BANDS:
        ends = {each.at_end: each.conversations for each in found if each.at_handover == start}
        total = sum(ends.values())
        if total:
            rows.append([board.label(board.say(f"mood_{start}")), board.count(total),
                         *(board.count(ends.get(end, 0), of=total) for end in reversed(BANDS[:3])),
                         board.count(ends.get("unknown", 0))])
    ends_as = [board.say("fig_ended", mood=board.say(f"mood_{end}")) for end in (*reversed(BANDS[:3]), "unknown")]
    return Figure("calmed", [board.say("fig_mood_at_handover"), board.say("fig_conversations"), *ends_as], rows)


def ratings(board: Board) -> Figure:
    """Ratings by score."""
    given = _scores(board.scores, before=False)
    rows = [[board.label(board.say("rated", score=score), board.log(rating=score) if given[score] else None),
             board.count(given[score], board.log(rating=score), given.total()),
             board.share(given[score], given.total())] for score in SCORES] if given.total() else []
    return Figure("ratings", [board.say("rating"), board.say("fig_ratings"), board.say("fig_share")], rows)


def ratings_by_agent(board: Board) -> Figure:
    """Ratings by the agent who had the conversation."""
    return _rated_by(board, "ratings_by_agent", board.say("agent"),
                     figures.scores_of_agents(board.session, board.scope),
                     lambda agent_id: (board.agent(agent_id), board.log(agent=agent_id) if agent_id in board.agents
                                       else None))


def ratings_by_reason(board: Board) -> Figure:
    """Ratings by why the conversation had been handed over."""
    return _rated_by(board, "ratings_by_reason", board.say("reason"),
                     figures.scores_of_reasons(board.session, board.scope),
                     lambda reason: (board.say(f"reason_{reason}"), board.log(reason=reason)))


def ratings_by_policy(board: Board) -> Figure:
    """Ratings by the SLA policy that the conversation's latest ticket had."""
    return _rated_by(board, "ratings_by_policy", board.say("fig_policy"),
                     figures.scores_of_policies(board.session, board.scope),
                     lambda name: (name or board.say("fig_no_policy"), None))


def nps(board: Board) -> Figure:
    """Whether customers would recommend the shop, in all and by the agent they had talked to."""
    rows = [_promoted(board, board.say("fig_nps_all"), listening.recommended(board.session, board.scope))]
    rows += [_promoted(board, board.agent(agent_id), found) for agent_id, found in sorted(
        listening.recommended_by_agent(board.session, board.scope).items(), key=lambda each: -each[1].answers)]
    return Figure("nps", _promoted_columns(board, board.say("agent")), rows if rows[0][1].value else [])


def nps_by_policy(board: Board) -> Figure:
    """Whether customers would recommend the shop, by the SLA policy of the ticket before."""
    found = listening.recommended_by_policy(board.session, board.scope)
    rows = [_promoted(board, name or board.say("fig_no_policy"), each)
            for name, each in sorted(found.items(), key=lambda each: -each[1].answers)]
    return Figure("nps_by_policy", _promoted_columns(board, board.say("fig_policy")), rows)


def failed_intents(board: Board) -> Figure:
    """The intents with which something went wrong."""
    found = figures_intents.failures(board.session, board.scope, board.read)[:INTENTS_SHOWN]
    rows = [[board.label(board.intent(each.intent), board.log(intent=each.intent) if each.intent else None),
             board.count(each.messages), board.count(each.not_understood), board.count(each.unsure),
             board.count(each.asked_back), board.count(each.corrected),
             board.count(each.stuck, board.log(intent=each.intent, reason="stuck") if each.intent else None)]
            for each in found]
    return Figure("failed_intents", [board.say("intent"), *(board.say(word) for word in FAILURE_WORDS)], rows)


def backlog(board: Board) -> Figure:
    """What is open and waiting now, by team and age."""
    counts: Counter[tuple[int | None, str, int]] = Counter()
    for each in board.backlog:
        counts[each.team_id, each.status, each.age] += each.conversations
    ages = range(len(figures.AGES) + 1)
    rows = []
    for team_id, status in sorted({(team, status) for team, status, _ in counts},
                                  key=lambda each: (each[0] is None, each[0] or 0, each[1])):
        about = {**board.filters, "status": status, **({"team": team_id} if team_id else {})}
        row = [counts[team_id, status, age] for age in ages]
        rows.append([board.label(board.teams.get(team_id or 0, board.say("fig_no_team"))),
                     board.label(board.say(f"status_{status}")),
                     board.count(sum(row), f"{LOGS}?{urlencode(about)}"), *(board.count(count) for count in row)])
    names = [board.say("fig_age_below", hours=int(limit.total_seconds() // 3600)) for limit in figures.AGES]
    last = board.say("fig_age_above", hours=int(figures.AGES[-1].total_seconds() // 3600))
    return Figure("backlog", [board.say("fig_team"), board.say("fig_status"), board.say("fig_conversations"), *names,
                              last], rows)


def backlog_over_time(board: Board) -> Figure:
    """Complaints and handoffs that were open at the end of each day."""
    counts = figures.backlog_over_time(board.session, board.scope)
    shown = [count if days[0] <= board.reader.local(board.reader.now).date() else 0
             for count, days in zip(counts, board.buckets, strict=True)]
    chart = board.chart([("open", board.say("fig_open_tickets"), lambda place: shown[place],
                          lambda days: board.log(days, by_bot="no"))])
    rows = [[board.label(board.days(days)), board.count(shown[place], board.log(days, by_bot="no"))]
            for place, days in enumerate(board.buckets)]
    return Figure("backlog_over_time", [board.say("fig_days"), board.say("fig_open_tickets")], rows, chart)


FIGURES: dict[str, Callable[[Board], Figure]] = {each.__name__: each for each in (
    volume, reasons, promises, breaches, policies, agents, hours, mood, angry_intents, calmed, ratings,
    ratings_by_agent, ratings_by_reason, ratings_by_policy, nps, nps_by_policy, failed_intents, backlog,
    backlog_over_time)}


def satisfied(board: Board) -> str:
    """The share of ratings of 4 and 5 with its interval, in words."""
    given = _scores(board.scores, before=False)
    good = sum(count for score, count in given.items() if score >= SATISFIED)
    found = wilson(good, given.total())
    if found is None:
        return ""
    return board.say("fig_satisfied", share=percent(share(good, given.total())), low=f"{found[0] * 100:.0f}",
                     high=f"{found[1] * 100:.0f}", count=number(given.total()))


def _rated_by(board: Board, name: str, column: str, scored: Iterable[figures.Scored],
              words: Callable[[Any], tuple[str, str | None]]) -> Figure:
    groups: dict[Any, Counter[int]] = defaultdict(Counter)
    for each in scored:
        groups[each.name][each.score] += each.count
    rows = []
    for key, given in sorted(groups.items(), key=lambda each: -each[1].total()):
        average, good = _average(given), given[4] + given[5]
        text, link = words(key)
        rows.append([board.label(text, link), Cell(average and round(average, 2), f"{average:.2f}"),
                     board.count(given.total()), board.share(good, given.total(), bar=True),
                     board.interval(good, given.total())])
    return Figure(name, [column, board.say("fig_average"), board.say("fig_ratings"), board.say("fig_good_share"),
                         board.say("fig_interval")], rows)


def _promoted(board: Board, name: str, found: NetPromoter) -> list[Cell]:
    score, interval = found.score, found.interval
    return [board.label(name), board.count(found.answers),
            Cell(None if score is None else round(score, 1), "–" if score is None else f"{score:+.0f}"),
            Cell(None if interval is None else f"{interval[0]:.1f}…{interval[1]:.1f}",
                 "–" if interval is None else f"{interval[0]:+.0f} … {interval[1]:+.0f}"),
            board.share(found.promoters, found.answers, bar=True), board.share(found.detractors, found.answers)]


def _promoted_columns(board: Board, what: str) -> list[str]:
    return [what, *(board.say(name) for name in (
        "fig_nps_answers", "fig_nps_score", "fig_interval", "fig_nps_promoters", "fig_nps_detractors"))]


def _kept_columns(board: Board) -> list[str]:
    return [board.say(name) for name in ("fig_promised", "fig_kept_share", "fig_late", "fig_median", "fig_p90")]


def _kept_cells(board: Board, kept: Kept, late: str | None = None) -> list[Cell]:
    return [board.count(kept.total), board.share(kept.kept, kept.total, bar=True), board.count(kept.broken, late),
            board.time(kept.median), board.time(kept.p90)]


def _chosen(board: Board) -> list[Verdict]:
    return [verdict for verdict in board.verdicts if verdict.promise == board.promise]


def _angry_link(board: Board, days: tuple[date, date] | None = None) -> str:
    return board.log(days, anger=f"{board.limits.route:g}")


def _total(counts: figures.Counts, kind: str | None = None, *, before: bool = False) -> int:
    return sum(count for (bucket, of), count in counts.items()
               if (bucket == BEFORE) is before and kind in (None, of))


def _bands(board: Board, *, before: bool) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in board.read:
        if (each.bucket == BEFORE) is before:
            found[each.band] += each.messages
    return found


def _scores(counts: figures.Counts, *, before: bool) -> Counter[int]:
    found: Counter[int] = Counter()
    for (bucket, score), count in counts.items():
        if (bucket == BEFORE) is before:
            found[int(score)] += count
    return found


def _average(given: Counter[int]) -> float | None:
    return sum(score * count for score, count in given.items()) / given.total() if given.total() else None


def _points(now: float | None, before: float | None, *, less_is_better: bool = False) -> tuple[str, str]:
    """The change of a share in points, and whether it is good."""
    if now is None or before is None:
        return "", ""
    points = round((now - before) * 100, 1)
    return _signed(points), _tone(-points if less_is_better else points)


def _signed(value: float, unit: str = "") -> str:
    return f"{'▲ +' if value > 0 else f'▼ {MINUS}' if value < 0 else '±'}{abs(value):g}{unit}"


def _plain(change: str) -> float | None:
    """A change as programs read it."""
    return float(change.lstrip("▲▼± ").replace(MINUS, "-")) if change else None


def _tone(value: float) -> str:
    return "good" if value > 0 else "bad" if value < 0 else ""


def file_name(figure: str, scope: Scope) -> str:
    """The name of an export."""
    return f"warmline-{figure.replace('_', '-')}-{scope.period.start}-{scope.period.end}.csv"
