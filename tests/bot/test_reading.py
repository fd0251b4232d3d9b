"""Reading in the background: a saved article and a new case get their vectors soon, in small bites, whatever fails."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa
from rasa.core.agent import Agent

import bot.articles
import bot.channel
import bot.reading
from bot.articles import ArticleFinder
from bot.channel import GatewayChannel
from bot.nlu.encoder import EncoderFailed, load_encoder
from bot.reading import BUSY_SECONDS, IDLE_SECONDS, BackgroundReading, VectorReader, keep_reading
from crm_store.database import Store
from crm_store.models import ArticlePassage, Case, ChannelIdentity, Conversation, Message
from crm_store.services.knowledge import save_article
from tests.bot.talking import Talk

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("退货", "return", "积分", "points", "发票", "invoice")
ARTICLE: dict[str, Any] = {
    "intent": "ask_return_policy", "title_zh": "退货", "title_en": "Returns", "body_zh": "七天内可以退货。",
    "body_en": "You may return it within seven days.",
}


class WordEncoder:
    """Stands for the encoder: a direction for each of a few words."""

    def __init__(self, name: str = "words") -> None:
        self.name = name
        self.read: list[str] = []
        self.broken = False

    def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        if self.broken:
            raise EncoderFailed("broken")
        self.read += texts
        rows = np.array([[float(word in text.lower()) for word in WORDS] for text in texts], np.float32)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1), np.float32)


def save(store: Store, now: datetime, slug: str = "returns", **changes: Any) -> None:
    with store.write() as session:
        save_article(session, slug=slug, now=now, **{**ARTICLE, **changes})


def resolved(store: Store, now: datetime, text: str = "退货多久到账") -> int:
    """A conversation that an agent has closed, without its history."""
    with store.write() as session:
        sender = ChannelIdentity(channel="web", external_id=text, created_at=now)
        session.add(sender)
        session.flush()
        conversation = Conversation(identity_id=sender.id, channel="web", status="resolved", language="zh",
                                    created_at=now, updated_at=now, last_customer_message_at=now, resolved_at=now)
        session.add(conversation)
        session.flush()
        said = {"conversation_id": conversation.id, "identity_id": sender.id, "buttons": [], "created_at": now}
        session.add(Message(**said, direction="incoming", author="customer", text=text, handled_at=now))
        session.add(Message(**said, direction="outgoing", author="agent", text="今天退款。"))
        return int(conversation.id)


def unread(store: Store) -> int:
    with store.read() as session:
        return int(session.execute(sa.select(sa.func.count()).where(ArticlePassage.vector.is_(None))).scalar_one())


def reader_of(store: Store, encoder: WordEncoder, batch: int = 16) -> VectorReader:
    return VectorReader(store, encoder, batch)  # type: ignore[arg-type]


def background(store: Store, encoder: WordEncoder) -> tuple[BackgroundReading, ArticleFinder]:
    finder = ArticleFinder(store, encoder)  # type: ignore[arg-type]
    return BackgroundReading(reader_of(store, encoder), finder), finder


def slugs(finder: ArticleFinder, text: str) -> list[str]:
    return [row["slug"] for row in finder.find(text)]


def test_an_article_saved_while_the_bot_runs_is_found_after_the_next_look(store: Store, now: datetime) -> None:
    reading, finder = background(store, WordEncoder())
    assert reading.once() == 0 and slugs(finder, "怎么退货") == []
    save(store, now)
    assert slugs(finder, "怎么退货") == []
    assert reading.once() == 4
    assert slugs(finder, "怎么退货") == ["returns"]
    save(store, now, intent="ask_points_rules", title_zh="积分", body_zh="积分一年内有效。", title_en="Points",
         body_en="Points are valid for a year.")
    assert reading.once() == 4
    assert slugs(finder, "积分")[0] == "returns" and unread(store) == 0


def test_it_is_found_within_a_minute_and_no_turn_waits_for_it() -> None:
    assert IDLE_SECONDS < 60 and bot.reading.REFRESH_SECONDS + IDLE_SECONDS < bot.articles.REFRESH_SECONDS


def test_much_is_read_in_small_bites(store: Store, now: datetime) -> None:
    encoder = WordEncoder()
    reader = reader_of(store, encoder, batch=3)
    for slug in ("a", "b"):
        save(store, now, slug)
    bites = []
    while bite := reader.read_passages():
        bites.append(bite)
    assert bites == [3, 3, 2] and len(encoder.read) == 8 and unread(store) == 0


def test_two_bots_on_one_store_do_each_other_no_harm(store: Store, now: datetime) -> None:
    save(store, now)
    conversation_id = resolved(store, now)
    first, second = WordEncoder(), WordEncoder()

    class Meanwhile(WordEncoder):
        """While it reads, the other bot reads the same."""

        def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
            other = reader_of(store, second)
            other.read_passages()
            other.read_cases()
            return super().encode(texts)

    reader = reader_of(store, Meanwhile())
    assert reader.read_passages() == 4 and reader.read_cases() == 0
    assert unread(store) == 0 and reader_of(store, first).read_passages() == 0
    with store.read() as session:
        assert session.execute(sa.select(Case.conversation_id)).scalars().all() == [conversation_id]


def test_an_article_changed_while_it_is_read_is_read_anew(store: Store, now: datetime) -> None:
    save(store, now)

    class Meanwhile(WordEncoder):
        def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
            save(store, now, body_zh="十五天内可以退货。")
            return super().encode(texts)

    assert reader_of(store, Meanwhile()).read_passages() == 4
    assert unread(store) == 4
    encoder = WordEncoder()
    assert reader_of(store, encoder).read_passages() == 4 and "十五天内可以退货。" in encoder.read


def test_a_new_encoder_reads_everything_again(store: Store, now: datetime) -> None:
    save(store, now)
    resolved(store, now)
    for name in ("old", "new"):
        reader = reader_of(store, WordEncoder(name))
        assert (reader.read_passages(), reader.read_cases()) == (4, 1)
        assert (reader.read_passages(), reader.read_cases()) == (0, 0)


def test_cases_are_read_once_and_late_ones_are_not_missed(store: Store, now: datetime) -> None:
    reader = reader_of(store, WordEncoder(), batch=2)
    for text in ("退货", "积分", "发票"):
        resolved(store, now, text)
    assert [reader.read_cases() for _ in range(3)] == [2, 1, 0]
    resolved(store, now - bot.reading.LOOK_BACK / 2, "invoice")  # begun long before it was committed
    assert [reader.read_cases() for _ in range(2)] == [1, 0]
    with store.read() as session:
        case = session.execute(sa.select(Case).where(Case.matter == "积分")).scalar_one()
        assert case.solution == "今天退款。" and np.frombuffer(case.vector, "<f4").tolist() == [0, 0, 1, 0, 0, 0]


def test_the_articles_of_turns_are_kept_up_to_date_beside_them(
    store: Store, now: datetime, monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(bot.reading.time, "monotonic", lambda: clock[0])
    reading, finder = background(store, WordEncoder())
    save(store, now)
    reading.once()
    save(store, now, title_zh="不再公开", published=False)
    with store.write() as session:
        session.execute(sa.update(ArticlePassage).values(vector=b"\0" * 4 * len(WORDS), encoder="words"))
    clock[0] += bot.reading.REFRESH_SECONDS
    reading.once()
    assert slugs(finder, "退货") == ["returns"]
    clock[0] += 1
    reading.once()
    assert slugs(finder, "退货") == []


def rounds(count: int, reading_of: Callable[[], Any]) -> list[float]:
    """Let it read so often; the waits between."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == count:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep_reading(reading_of, sleep))
    return waits


def test_it_goes_on_as_long_as_the_bot_runs(store: Store, now: datetime) -> None:
    save(store, now)
    reading, _ = background(store, WordEncoder())
    asked = iter((None, reading, reading))
    assert rounds(3, lambda: next(asked)) == [IDLE_SECONDS, BUSY_SECONDS, IDLE_SECONDS]


def test_what_fails_is_said_without_the_text_and_tried_again(
    store: Store, now: datetime, caplog: pytest.LogCaptureFixture,
) -> None:
    save(store, now)
    encoder = WordEncoder()
    reading, _ = background(store, encoder)

    def mended() -> BackgroundReading:
        encoder.broken = not encoder.broken
        return reading

    with caplog.at_level(logging.ERROR):
        assert rounds(2, mended) == [IDLE_SECONDS, BUSY_SECONDS]
    assert [record.getMessage() for record in caplog.records] == ["nothing new was read: EncoderFailed"]
    assert unread(store) == 0


def test_the_event_loop_is_free_while_it_reads(store: Store, now: datetime) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    class Slow(WordEncoder):
        def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
            loops[0].call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(may_end.wait(), loops[0]).result(30)
            return super().encode(texts)

    done = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        done.set()
        await asyncio.Event().wait()

    async def turns_meanwhile() -> None:
        loops.append(asyncio.get_running_loop())
        reading, _ = background(store, Slow())
        task = asyncio.create_task(keep_reading(lambda: reading, sleep))
        await asyncio.wait_for(started.wait(), 30)
        assert unread(store) == 4  # the loop runs this while the encoder reads
        may_end.set()
        await asyncio.wait_for(done.wait(), 30)
        task.cancel()

    save(store, now)
    asyncio.run(turns_meanwhile())
    assert unread(store) == 0


def test_the_bots_server_reads_from_its_start_to_its_end(
    agent: Agent, talk: Talk, monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[BackgroundReading | None] = []

    async def noted(reading_of: Callable[[], BackgroundReading | None]) -> None:
        seen.append(reading_of())
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(None)

    monkeypatch.setattr(bot.channel, "keep_reading", noted)
    door = GatewayChannel("t").blueprint(lambda message: None)
    begin, end = (next(each.listener for each in door._future_listeners if each.event == event)
                  for event in ("after_server_start", "before_server_stop"))

    async def serve() -> None:
        app = SimpleNamespace(ctx=SimpleNamespace(agent=agent))
        await begin(app, asyncio.get_running_loop())
        await asyncio.to_thread(lambda: None)
        assert isinstance(seen[0], BackgroundReading) and len(seen) == 1
        await end(app, asyncio.get_running_loop())
        await asyncio.to_thread(lambda: None)
        assert seen[1:] == [None]

    asyncio.run(serve())


def test_the_real_encoder_finds_a_saved_article(sqlite_store: Store, now: datetime) -> None:
    encoder = load_encoder(ROOT / "models" / "encoder")
    finder = ArticleFinder(sqlite_store, encoder)
    save(sqlite_store, now, "parking", intent="ask_store", title_zh="门店停车", title_en="Parking at our shops",
         body_zh="地下二层可以免费停车两小时。", body_en="Two hours of parking are free on level B2.")
    reading = BackgroundReading(VectorReader(sqlite_store, encoder), finder)
    while reading.once():
        pass
    for text in ("开车过来有地方停吗", "is there somewhere to leave my car?"):
        assert slugs(finder, text) == ["parking"]
