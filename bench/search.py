"""`python -m bench.search`: the search of the log beside LIKE, on a store with very many messages.

Both find the same first page of conversations in the same store: Warmline by its index
(:mod:`crm_store.queries.log`), the other without one, each word by ``LIKE '%…%'`` in any message of a conversation.
"""
from __future__ import annotations

import argparse
import functools
import io
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from crm_store.database import Store
from crm_store.models import (
    BusinessCalendar,
    ChannelIdentity,
    Conversation,
    Customer,
    Escalation,
    Message,
    Rating,
    SupportAgent,
    Team,
    Ticket,
    Tier,
)
from crm_store.models.search import stored_words
from crm_store.queries.log import MOST_COUNTED, LogPage, escape_like, search_log
from crm_store.schema import migrate

NOW = datetime(2026, 11, 18, 2, 0, tzinfo=timezone.utc)
MESSAGES_EACH = 8
SENTENCES = 50_000
BATCH = 20_000
PIECES = (
    "我的快递到哪了", "已经等了三周", "退款怎么还没到", "请帮我查一下订单", "您好",
    "好的，谢谢", "这个颜色和图片不一样", "客服一直不回复",
    "可以换大一号吗", "发票怎么开", "积分什么时候过期", "地址写错了想改一下", "包裹显示已签收但是我没有收到",
    "质量太差了",
    "羊毛毯可以机洗吗", "我要投诉", "運費是多少", "訂單可以取消嗎", "非常抱歉给您带来不便",
    "我们会尽快为您处理", "预计三到五个工作日",
    "where is my parcel", "i want a refund", "the refunds take too long", "my order has not arrived", "please help me",
    "thank you", "can i change the address", "the quality is poor", "we are sorry for the trouble", "it was delivered",
    "how many points do i have", "the colour is not what you showed", "i have been waiting for three weeks",
)
RARE = ("毯子发霉了", "it smells of mildew")
INTENTS = ("ask_parcel_status", "ask_refund_status", "ask_points_balance", "file_complaint", "greet", "out_of_scope")
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("退款 (common)", {"words": "退款"}), ("的 (one character, common)", {"words": "的"}),
    ("订单 (finds 訂單)", {"words": "订单"}), ("refund (finds refunds)", {"words": "refund"}),
    ("发霉 (rare)", {"words": "发霉"}), ("霉 (one character, rare)", {"words": "霉"}),
    ("mildew (rare)", {"words": "mildew"}),
    ("an order's number", {"words": "WL-00012340"}), ("a customer's name", {"words": "顾客1234"}),
    ("包裹显示已签收 (phrase)", {"words": "包裹显示已签收"}), ("退款 refund", {"words": "退款 refund"}),
    ("退款 发霉", {"words": "退款 发霉"}), ("退款, rated 1", {"words": "退款", "rating": 1}),
    ("退款, telegram, angry", {"words": "退款", "channel": "telegram", "anger_at_least": 0.8}),
    ("refund, by the bot", {"words": "refund", "by_bot": True}), ("no words", {}), ("rated 1", {"rating": 1}),
    ("by relevance: 发霉", {"words": "发霉", "sort": "relevance"}), ("nothing of the kind", {"words": "鑫鑫鑫"}),
)


def sentences(rng: random.Random) -> list[str]:
    """What is said, in both languages, with an order's number now and then and rarely a rare word."""
    found = []
    for number in range(SENTENCES):
        said = [rng.choice(PIECES) for _ in range(rng.choice((1, 1, 2, 3)))]
        if number % 20 == 0:
            said.append(f"WL-{number:08}")
        if number % 2000 == 0:
            said.append(RARE[number // 2000 % 2])
        found.append("，".join(said))
    return found


words_of = functools.lru_cache(SENTENCES)(stored_words)


def fill(store: Store, messages: int) -> None:
    """Put so many messages into a migrated, empty store, eight a conversation, with what happens around them."""
    rng = random.Random(7)
    talks = messages // MESSAGES_EACH
    people = max(1, talks // 6)
    with store.write() as session:
        session.add(Tier(code="silver", rank=0, name_zh="银卡", name_en="Silver", minimum_spend_fen=0, multiplier=1,
                         benefits_zh="-", benefits_en="-", anger_route=0.8, anger_watch=0.5))
        team = Team(name="一线", level="front_line")
        session.add(team)
        session.add(BusinessCalendar(name="desk", time_zone="Asia/Shanghai", holidays=None, closing_days=[],
                                     weekly={str(day): [["09:00", "21:00"]] for day in range(7)}))
        session.flush()
        session.add(SupportAgent(login="wang", name="王敏", password_hash="-", role="manager", team_id=team.id,
                                 languages=["zh"], capacity=5, created_at=NOW))
    _add(store, Customer, ({"id": n, "number": f"WLC{n:07}", "name": f"顾客{n}", "language": "zh",
                            "tier_code": "silver", "created_at": NOW} for n in range(1, people + 1)))
    _add(store, ChannelIdentity, ({"id": n, "channel": ("web", "telegram")[n % 2], "external_id": f"bench-{n}",
                                   "customer_id": n, "created_at": NOW} for n in range(1, people + 1)))
    _add(store, Conversation, (
        {"id": n, "identity_id": 1 + n % people, "customer_id": 1 + n % people, "channel": ("web", "telegram")[n % 2],
         "status": "resolved", "version": 1 + (n % 10 == 0), "language": "zh", "anger": 0.2, "assignee_id": None,
         "created_at": _began(n, talks), "updated_at": _began(n, talks) + timedelta(minutes=30)}
        for n in range(1, talks + 1)))
    (_copy_messages if store.engine.dialect.name == "postgresql" else _add_messages)(store, _messages(rng, talks))
    _add(store, Ticket, (
        {"id": n, "number": f"C{n}", "kind": "handoff", "conversation_id": n * 10, "status": "resolved",
         "stage": "resolved", "level": "front_line", "summary": "-", "language": "zh", "cycle": 1,
         "opened_at": _began(n * 10, talks), "idempotency_key": f"bench-{n}"} for n in range(1, talks // 10 + 1)))
    _add(store, Escalation, (
        {"id": n, "conversation_id": n * 10, "ticket_id": n, "reason": ("anger", "asked")[n % 2],
         "decided_at": _began(n * 10, talks)} for n in range(1, talks // 10 + 1)))
    _add(store, Rating, (
        {"id": n, "conversation_id": n * 8, "episode_resolved_at": NOW, "score": rng.choice((1, 3, 4, 5, 5, 5)),
         "created_at": NOW} for n in range(1, talks // 8 + 1)))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def _began(talk: int, talks: int) -> datetime:
    return NOW - timedelta(days=365) + timedelta(days=365) * (talk / talks)


def _messages(rng: random.Random, talks: int) -> Iterator[dict[str, Any]]:
    said = sentences(rng)
    for talk in range(1, talks + 1):
        began = _began(talk, talks)
        for place in range(MESSAGES_EACH):
            incoming = place % 2 == 0
            yield {"id": (talk - 1) * MESSAGES_EACH + place + 1, "conversation_id": talk,
                   "identity_id": 1 + talk % max(1, talks // 6), "direction": "incoming" if incoming else "outgoing",
                   "author": "customer" if incoming else "bot", "text": rng.choice(said), "position": 0, "attempts": 0,
                   "created_at": began + timedelta(minutes=place), "handled_at": began + timedelta(minutes=place),
                   "delivery_state": None if incoming else "delivered",
                   "intent": rng.choice(INTENTS) if incoming else None,
                   "anger": round(rng.betavariate(1, 5), 3) if incoming else None}


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _add(store: Store, model: Any, rows: Iterator[dict[str, Any]]) -> None:
    for batch in _batches(rows):
        with store.write() as session:
            session.execute(model.__table__.insert(), batch)


def _add_messages(store: Store, rows: Iterator[dict[str, Any]]) -> None:
    for batch in _batches(rows):
        with store.write() as session:
            session.execute(Message.__table__.insert(), [{**row, "buttons": []} for row in batch])


def _copy_messages(store: Store, rows: Iterator[dict[str, Any]]) -> None:
    """By COPY, and the index of the words at the end: a million rows would take an hour otherwise."""
    connection = store.engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("DROP INDEX ix_message_words_words")
    for batch in _batches(rows):
        names = list(batch[0])
        messages = io.StringIO("".join("\t".join(
            "\\N" if row[name] is None else str(row[name]) for name in names) + "\t[]\n" for row in batch))
        cursor.copy_expert(f"COPY messages ({', '.join(names)}, buttons) FROM STDIN", messages)
        words = io.StringIO("".join(
            f"{row['id']}\t{row['conversation_id']}\t{words_of(row['text'], 'postgresql')}\n" for row in batch))
        cursor.copy_expert("COPY message_words (message_id, conversation_id, words) FROM STDIN", words)
    cursor.execute("CREATE INDEX ix_message_words_words ON message_words USING gin (words)")
    connection.commit()
    connection.close()


def by_like(store: Store, words: str) -> None:
    """The first page without an index: every word in any message of a conversation."""
    holds = [sa.exists().where(Message.conversation_id == Conversation.id,
                               Message.text.ilike(f"%{escape_like(word)}%", escape="\\")).correlate(Conversation)
             for word in words.split()]
    with store.read() as session:
        session.execute(select(Conversation.id).where(*holds).order_by(Conversation.updated_at.desc())
                        .limit(MOST_COUNTED + 1)).all()


def by_index(store: Store, asked: dict[str, Any]) -> LogPage:
    """The first page as the log gives it."""
    with store.read() as session:
        return search_log(session, **asked)


def timed(work: Callable[[], Any], times: int) -> list[float]:
    """How long each of so many goes took, in ms."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1e3)
    return took


def measure(store: Store, times: int) -> list[dict[str, Any]]:
    """Median and 95th percentile of each case, and LIKE's median beside it."""
    results = []
    for name, asked in CASES:
        ask = functools.partial(by_index, store, asked)
        found = ask()
        took = timed(ask, times)
        like = (statistics.median(timed(functools.partial(by_like, store, asked["words"]), 3))
                if set(asked) == {"words"} else None)
        results.append({"case": name, "found": f"{found.total:,}{'+' if found.more else ''}",
                        "p50_ms": statistics.median(took), "p95_ms": statistics.quantiles(took, n=20)[-1],
                        "like_ms": like, "ratio": like and statistics.median(took) / like})
    return results


def table_of(results: list[dict[str, Any]], title: str) -> Table:
    """The results to look at."""
    table = Table(title=title)
    for heading in ("first page", "found", "p50", "p95", "LIKE", "ratio"):
        table.add_column(heading, justify="left" if heading == "first page" else "right")
    for row in results:
        like = ("", "") if row["like_ms"] is None else (f"{row['like_ms']:.1f} ms", f"{row['ratio']:.3f} ×")
        table.add_row(row["case"], row["found"], f"{row['p50_ms']:.1f} ms", f"{row['p95_ms']:.1f} ms", *like)
    return table


def run(messages: int, database_url: str | None = None, times: int = 20) -> list[dict[str, Any]]:
    """Build a store of so many messages, unless that database is filled already, and measure."""
    with tempfile.TemporaryDirectory(prefix="warmline-search-") as folder:
        url = database_url or f"sqlite:///{Path(folder) / 'search.db'}"
        migrate(url)
        store = Store(url)
        with store.read() as session:
            there = session.execute(select(sa.func.count()).select_from(Message)).scalar_one()
        if not there:
            fill(store, messages)
        results = measure(store, times)
        kind = store.engine.dialect.name
        store.close()
    Console().print(table_of(results, f"{there or messages:,} messages, {kind}"))
    return results


def main() -> None:
    """Measure and print; with ``--json`` also write."""
    arguments = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__.splitlines()[0])
    arguments.add_argument("--messages", type=int, default=200_000)
    arguments.add_argument("--database-url", help="an empty PostgreSQL database, instead of a file of SQLite")
    arguments.add_argument("--times", type=int, default=20, help="searches of each kind")
    arguments.add_argument("--json", type=Path, help="where to write the figures")
    asked = arguments.parse_args()
    results = run(asked.messages, asked.database_url, asked.times)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
