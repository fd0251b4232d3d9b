"""The index of words: nothing stored is forgotten, nothing forgotten is found, and it finds what a plain scan would."""
from __future__ import annotations

import re
import unicodedata
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_store.database import Store
from crm_store.models import Conversation, Message
from crm_store.queries.log import FEW, MOST_COUNTED, LogPage, found_in_log, hits_in, search_log
from crm_store.rules.search_words import find_wanted, fold_for_search, index_words, snippet, wanted_in
from crm_store.schema import configuration, migrate
from crm_store.services.handoff import (
    add_note,
    claim_conversation,
    escalate_conversation,
    reply_to_customer,
    resolve_conversation,
)
from crm_store.services.search_index import forget_words, index_missing
from crm_store.services.system_messages import leave_note, tell_customer
from tests.crm.conftest import MINUTE, Desk

ROOT = Path(__file__).resolve().parents[2]


def found(desk: Desk, words: str, **more: Any) -> list[int]:
    page: LogPage = desk.ask(search_log, words=words, **more)
    return [row.conversation_id for row in page.rows]


@pytest.mark.parametrize(("text", "words"), [
    ("我的退款怎么还没到", ["退款", "退", "款", "退款怎么", "我的", "到", "還沒到", '"退款怎么"', "怎麼 退款"]),
    ("訂單什麼時候發貨", ["订单", "訂單", "发货", "單"]), ("皇后以后", ["皇后", "后"]),
    ("My Refunds are LATE", ["refund", "REFUNDS", "re", "late refund", '"refunds are"', "ｒｅｆｕｎｄ"]),
    ("单号 WL-20261118-0042，工单C1023",
     ["WL-20261118-0042", "wl-2026", "20261118", "c1023", "C10", "0042", "ＷＬ－20261118"]),
    ("iPhone手机坏了", ["iphone", "手机", "iPhone手机", "iphone手", "机坏"]), ("气死我了😡", ["😡", "死我", "了😡"]),
    ("ＶＩＰ　①号", ["vip", "1号", "1"]), ("Café crème", ["café", "cafe\u0301"]),
    ("100%_折\\吗", ["100", "100%", "折"]),
    ("カタカナ ﾊﾝｶｸ", ["カタ", "ハン"]), ("Straße", ["strasse", "STRASSE"]),
])
def test_words_are_found_however_they_are_written(sqlite_desk: Desk, text: str, words: list[str]) -> None:
    talk = sqlite_desk.write(text).conversation.id
    other = sqlite_desk.write("完全无关 unrelated", sender="other").conversation.id
    for each in words:
        assert found(sqlite_desk, each) == [talk], each
        assert find_wanted(text, wanted_in(each)), each
    assert other not in found(sqlite_desk, words[0])


@pytest.mark.parametrize(("text", "words"), [
    ("退货的款项", "退款"), ("我要退", "退款"), ("prefund", "refund"), ("refunds", '"refund"'),
    ("late the refund", '"the late"'),
    ("款退", "退款"), ("退 款", "退款"), ("订单", "订单号"), ("C1023", "1023"), ("iphone", "phone"),
    ("C1023", "C10233"),
])
def test_what_is_not_there_is_not_found(sqlite_desk: Desk, text: str, words: str) -> None:
    sqlite_desk.write(text)
    assert found(sqlite_desk, words) == []
    assert not find_wanted(text, wanted_in(words))



END = "\x1f"
TEXTS = st.text("退款訂單订单號的我 aBc1２-_，.😡\n𠮷后", min_size=1, max_size=14).filter(lambda text: text.strip())
ASKED = st.text("退款订訂单我 abC1-，😡后", min_size=1, max_size=4)


def kind_of(sign: str) -> str:
    if "CJK" in unicodedata.name(sign, ""):
        return "han"
    return "word" if sign.isalnum() else "picture" if unicodedata.category(sign) == "So" else "none"


def runs_of(text: str) -> list[tuple[str, str]]:
    """What stands together, with what it is: Chinese, a word of another script, one picture."""
    runs: list[tuple[str, str]] = []
    for kind, signs in groupby(fold_for_search(text), key=kind_of):
        if kind == "picture":
            runs += [(kind, sign) for sign in signs]
        elif kind != "none":
            runs.append((kind, "".join(signs)))
    return runs


def scanned(texts: list[str], asked: str) -> bool:
    """Without an index: every thing stands in one of the texts, Latin words from their beginning on."""
    things = [runs for thing in asked.split() if (runs := runs_of(thing))]

    def stands(thing: list[tuple[str, str]], text: str) -> bool:
        there = END + END.join(run for _, run in runs_of(text)) + END
        needle = ("" if thing[0][0] == "han" else END) + END.join(run for _, run in thing)
        return needle in there

    return bool(things) and all(any(stands(thing, text) for text in texts) for thing in things)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), asked=st.lists(ASKED, min_size=1, max_size=2))
def test_the_index_finds_what_a_scan_finds(desk: Desk, texts: list[str], asked: list[str]) -> None:
    """Over all conversations written so far: the desk lives through all examples."""
    sender = f"sender {len(desk.all(Conversation))}"
    for text in texts:
        desk.write(text, sender=sender)
    there: dict[int, list[str]] = {}
    for message in desk.all(Message):
        there.setdefault(message.conversation_id, []).append(message.text)
    words = " ".join(asked)
    expected = {talk for talk, said in there.items() if scanned(said, words)}
    if words.strip():
        assert set(found(desk, words, per_page=200)) == expected, words
    for talk, said in there.items():
        marked = all(any(find_wanted(text, [thing]) for text in said) for thing in wanted_in(words))
        assert not runs_of(words) or marked == (talk in expected), words


@given(text=st.text(max_size=40), asked=st.text(max_size=20), length=st.integers(3, 30))
def test_marks_and_snippets_fit_any_text(text: str, asked: str, length: int) -> None:
    wanted = wanted_in(asked)
    spans = find_wanted(text, wanted)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(end < start for (_, end), (start, _) in pairwise(spans))
    assert len(snippet(text, wanted, length)) <= length
    assert all(word for word in index_words(text))


def test_a_snippet_shows_what_was_found() -> None:
    text = "您好" * 100 + "退款" + "谢谢" * 100
    assert snippet(text, wanted_in("退款"), 40).count("退款") == 1
    assert snippet(text, wanted_in("退款"), 40).startswith("…") and snippet(text, [], 40).startswith("您好")
    assert snippet("短", wanted_in("退款"), 40) == "短"


def test_every_service_that_stores_a_message_stores_its_words(desk: Desk) -> None:
    received = desk.write("第一句 alpha", sender="a")
    talk = int(received.conversation.id)
    desk.answer(desk.turn(talk), "机器人说 beta", intent="greet")
    with desk.store.write() as session:
        conversation = session.get(Conversation, talk)
        tell_customer(session, conversation, "系统说 gamma", desk.now)
        leave_note(session, conversation, "内部备注 delta", desk.now)
    stale = desk.write("还在吗", sender="a", at=desk.now + MINUTE)
    turn = desk.turn(talk, desk.now + MINUTE)
    desk.do(escalate_conversation, conversation_id=talk, reason="asked", message_id=stale.message.id,
            now=desk.now + MINUTE)
    desk.answer(turn, "太迟了 epsilon", at=desk.now + MINUTE)  # dropped, and found nevertheless
    wang = desk.agent("wang")
    desk.do(claim_conversation, talk, wang, desk.now + 2 * MINUTE)
    desk.do(reply_to_customer, talk, wang, "人工回复 zeta", desk.now + 2 * MINUTE)
    desk.do(add_note, talk, wang, "同事备注 eta", desk.now + 2 * MINUTE)
    desk.do(resolve_conversation, talk, wang, desk.now + 3 * MINUTE)
    for words in ("第一句", "机器人", "系统说", "内部备注", "太迟了", "人工回复", "同事备注",
                  *"alpha beta gamma delta epsilon zeta eta".split()):
        assert found(desk, words) == [talk], words
    stored = {message.id for message in desk.all(Message)}
    key = "rowid" if desk.store.engine.dialect.name == "sqlite" else "message_id"
    assert set(desk.ask(lambda session: session.execute(
        sa.text(f"SELECT {key} FROM message_words")).scalars().all())) == stored
    assert desk.do(index_missing) == 0


def test_messages_are_stored_through_the_models_alone() -> None:
    """What goes round the session goes round the index: no statement of ours does, or changes a text in place."""
    around = re.compile(r"bulk_\w+\(|INSERT INTO messages|"
                        r"update\(\s*Message\s*\)[^\n]*\n?[^\n]*values\([^)]*\btext\s*=")
    sources = [path for package in ("crm_store", "gateway", "desk", "bot", "actions", "warmline")
               for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts]
    assert sources and not [path.name for path in sources if around.search(path.read_text(encoding="utf8"))]


def test_messages_inserted_as_rows_are_found_too(desk: Desk) -> None:
    first = desk.write("你好").message
    table = Message.__table__
    row = {"conversation_id": first.conversation_id, "identity_id": first.identity_id, "direction": "outgoing",
           "author": "system", "buttons": [], "position": 0, "attempts": 0, "created_at": desk.now}
    with desk.store.write() as session:
        session.execute(sa.insert(table), [{**row, "text": "进度一"}, {**row, "text": "进度二"}])
        session.execute(table.insert().values(**row, text="进度三"))
    assert all(found(desk, words) == [first.conversation_id] for words in ("进度一", "进度二", "进度三", "你好"))
    assert desk.do(index_missing) == 0


def test_a_text_that_changes_is_found_as_it_is_now(desk: Desk) -> None:
    received = desk.write("电话 13800138000")
    with desk.store.write() as session:
        session.get(Message, received.message.id).text = "已删除"
    assert found(desk, "13800138000") == [] and found(desk, "已删除") == [received.conversation.id]


def test_a_message_that_goes_takes_its_words_along(desk: Desk) -> None:
    received = desk.write("再见 farewell")
    with desk.store.write() as session:
        session.execute(sa.delete(Message).where(Message.id == received.message.id))
    assert found(desk, "farewell") == []
    left = desk.ask(lambda session: session.execute(sa.text("SELECT count(*) FROM message_words")).scalar_one())
    assert left == 0


def test_words_are_forgotten_for_good(desk: Desk) -> None:
    secret = desk.write("我的秘密 mysecretword", sender="a").conversation.id
    other = desk.write("别的 anotherword", sender="b").conversation.id
    assert desk.do(forget_words, []) == 0
    assert desk.do(forget_words, [secret]) == 1
    assert found(desk, "秘密") == [] and found(desk, "anotherword") == [other]
    if desk.store.engine.dialect.name == "sqlite":
        pages = desk.ask(lambda session: session.execute(
            sa.text("SELECT block FROM message_words_data")).scalars().all())
        assert pages and not any(b"mysecret" in page for page in pages) and any(b"another" in page for page in pages)


def test_the_migration_and_a_repair_index_what_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    migrate(url, "0005")
    store = Store(url)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO channel_identities (id, channel, external_id, created_at) "
            "VALUES (1, 'web', 'a', '2026-11-18')")
        connection.exec_driver_sql(
            "INSERT INTO conversations (id, identity_id, channel, status, version, language, created_at, updated_at) "
            "VALUES (1, 1, 'web', 'pending', 1, 'zh', '2026-11-18 00:00:00', '2026-11-18 00:00:00')")
        connection.exec_driver_sql(
            "INSERT INTO messages (conversation_id, identity_id, direction, author, text, buttons, position, "
            "created_at, attempts) VALUES (1, 1, 'incoming', 'customer', '旧的訂單', '[]', 0, '2026-11-18', 0)")
    migrate(url)
    with store.write() as session:
        assert [row.conversation_id for row in search_log(session, words="订单").rows] == [1]
        session.execute(sa.text("DELETE FROM message_words"))
        assert search_log(session, words="订单").rows == ()
        assert (index_missing(session), index_missing(session)) == (1, 0)
        assert [row.conversation_id for row in search_log(session, words="订单").rows] == [1]
    store.close()
    command.downgrade(configuration(url), "0005")
    assert "message_words" not in sa.inspect(store.engine).get_table_names()


def test_common_words_are_looked_for_from_the_newest_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a word is looked up, rare or common, the same conversations are found."""
    talks = [int(desk.write(text, sender=str(number)).conversation.id) for number, text in enumerate(
        ["退款 apple", "退款 pear", "apple pear", "退款", "nothing"])]
    desk.customer("named", name="退款先生")
    talks.append(int(desk.write("hello", sender="named").conversation.id))
    asked = ("退款", "apple", "退款 apple", "apple pear", "退款 hello", "没有", "nothing 退款")
    rare = {words: found(desk, words) for words in asked}
    assert rare["退款"] == [talks[place] for place in (5, 3, 1, 0)] and rare["退款 hello"] == [talks[5]]
    for few in (0, 1, 2):
        monkeypatch.setattr("crm_store.queries.log.FEW", few)
        assert {words: found(desk, words) for words in asked} == rare, few
    assert FEW > 100


def test_what_is_relevant_comes_first(desk: Desk) -> None:
    often = desk.write("退款", sender="often").conversation.id
    desk.write("退款退款", sender="often")
    once = desk.write("我的退款", sender="once", at=desk.now + MINUTE).conversation.id
    assert found(desk, "退款") == [once, often]
    assert found(desk, "退款", sort="relevance") == [often, once]
    assert found(desk, "", sort="relevance") == [once, often]


def test_a_page_counts_so_far_and_an_export_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    talks = [int(desk.write("退款", sender=str(number)).conversation.id) for number in range(7)]
    monkeypatch.setattr("crm_store.queries.log.MOST_COUNTED", 5)
    page = desk.ask(search_log, words="退款", per_page=2)
    assert (page.total, page.more, page.pages, len(page.rows)) == (5, True, 3, 2)
    assert [len(desk.ask(search_log, words="退款", per_page=2, page=number).rows) for number in (2, 3, 4)] == [2, 1, 0]
    batches = desk.ask(lambda session: list(found_in_log(session, 3, words="退款")))
    assert batches == [talks[6:3:-1], talks[3:0:-1], talks[:1]] and MOST_COUNTED >= 1000


def test_hits_in_one_thread(desk: Desk) -> None:
    first = desk.write("退款", sender="a")
    desk.write("别的", sender="a")
    third = desk.write("又是退款", sender="a")
    desk.write("退款", sender="b")
    assert desk.ask(hits_in, first.conversation.id, wanted_in("退款 refund")) == {first.message.id, third.message.id}


@pytest.mark.parametrize("words", [
    '"', '""', '"退', "*", "退*", "NEAR(", "NEAR(a b, 5)", "a:b", "words:退", "OR", "AND NOT", "^退", "-退", "(",
    "{a b}:c", "'", "';--", "\\", "&|!<->", "a:*", "退" * 10_000, "a" * 10_000, "a " * 5000, "\x00", "退\x00款",
    "\ud800", "\udfff退",
    "😡" * 300, "\u202e", "%", "_", ":asked", "%(asked)s", "{0}", "$1", "￿", "🇨🇳", "e\u0301" * 100, "﷽" * 50],
    ids=range(39))
def test_no_word_breaks_the_search(desk: Desk, words: str) -> None:
    talk = desk.write("我要退款 a").conversation.id
    assert set(found(desk, words)) <= {talk}
    assert set(found(desk, words, sort="relevance")) <= {talk}
    wanted = wanted_in(words)
    assert not wanted or desk.ask(hits_in, talk, wanted) <= {message.id for message in desk.all(Message)}
