"""What agents correct is kept once a message and field, with its history, and given to the next training."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crm_store.errors import NotFound
from crm_store.models import AuditEntry, Correction, Customer, Message
from crm_store.queries.corrections import corrections_of, lessons
from crm_store.rules.intents import INTENTS
from crm_store.services.corrections import correct_message
from crm_store.services.privacy import export_customer
from tests.crm.conftest import HOUR, MINUTE, Desk

ROOT = Path(__file__).resolve().parents[2]


def read_by_the_bot(desk: Desk, text: str = "你们真行", sender: str = "visitor", **understood: Any) -> tuple[int, int]:
    """A message that the bot has read, by its conversation's id and its own."""
    received = desk.write(text, sender=sender)
    desk.answer(desk.turn(received.conversation.id), "好的", **understood)
    return int(received.conversation.id), int(received.message.id)


def correct(desk: Desk, ids: tuple[int, int], field: str, value: str | None, login: str = "wang",
            minutes: int = 1) -> Any:
    return desk.do(correct_message, *ids, desk.agent(login), field, value, desk.now + minutes * MINUTE)


def history(desk: Desk) -> list[tuple[int, dict[str, Any]]]:
    return [(entry.actor_id, entry.data) for entry in desk.all(AuditEntry, AuditEntry.action == "correct")]


def test_a_correction_stands_beside_the_reading(desk: Desk) -> None:
    ids = read_by_the_bot(desk, intent="thank", anger=0.1234)
    correct(desk, ids, "anger", "angry")
    correct(desk, ids, "intent", "file_complaint")
    assert [(c.field, c.was, c.value) for c in desk.all(Correction)] == [
        ("anger", "0.1234", "angry"), ("intent", "thank", "file_complaint")]
    message, = desk.all(Message, Message.id == ids[1])
    assert (message.intent, message.anger) == ("thank", 0.1234)
    told = desk.ask(corrections_of, ids[0])[ids[1]]
    assert {field: (said.value, said.agent_name, said.at) for field, said in told.items()} == {
        "anger": ("angry", "Wang", desk.now + MINUTE), "intent": ("file_complaint", "Wang", desk.now + MINUTE)}
    assert desk.conversation(ids[0]).updated_at == desk.now + MINUTE


def test_the_last_word_holds_and_the_audit_log_has_all_of_them(desk: Desk) -> None:
    ids = read_by_the_bot(desk, intent="greet")
    wang, boss = desk.agent("wang").id, desk.agent("boss").id
    correct(desk, ids, "intent", "thank")
    correct(desk, ids, "intent", "thank", login="boss", minutes=2)
    correct(desk, ids, "intent", "goodbye", login="boss", minutes=3)
    kept, = desk.all(Correction)
    assert (kept.was, kept.value, kept.agent_id, kept.corrected_at) == (
        "greet", "goodbye", boss, desk.now + 3 * MINUTE)
    correct(desk, ids, "intent", "greet", minutes=4)
    assert desk.all(Correction) == [], "naming what the bot read takes the correction back"
    correct(desk, ids, "anger", "calm")
    correct(desk, ids, "anger", None)
    correct(desk, ids, "anger", None)
    assert desk.all(Correction) == []
    assert history(desk) == [
        (wang, {"field": "intent", "from": None, "to": "thank"}),
        (boss, {"field": "intent", "from": "thank", "to": "goodbye"}),
        (wang, {"field": "intent", "from": "goodbye", "to": None}),
        (wang, {"field": "anger", "from": None, "to": "calm"}),
        (wang, {"field": "anger", "from": "calm", "to": None})]


def test_agents_who_correct_at_once_leave_one_correction(desk: Desk) -> None:
    ids = read_by_the_bot(desk)
    agents = {login: desk.agent(login) for login in ("wang", "li", "chen", "boss")}
    values = ("angry", "calm", "angry", "calm")
    said = desk.at_once([
        lambda agent=agent, value=value: desk.do(correct_message, *ids, agent, "anger", value, desk.now).value
        for agent, value in zip(agents.values(), values, strict=True)])
    assert sorted(said) == sorted(values)
    assert len(desk.all(Correction)) == 1


def test_only_what_a_customer_typed_there_is_corrected(desk: Desk) -> None:
    ids, other = read_by_the_bot(desk), read_by_the_bot(desk, sender="another")
    answer, = desk.all(Message, Message.conversation_id == ids[0], Message.author == "bot")
    for wrong in ((ids[0], answer.id), (ids[0], other[1]), (ids[0], 10**9), (10**9, ids[1])):
        with pytest.raises(NotFound):
            correct(desk, wrong, "anger", "angry")
    with desk.store.write() as session:
        session.get(Message, ids[1]).payload = "/request_human"
    with pytest.raises(NotFound):
        correct(desk, ids, "anger", "angry")
    assert desk.all(Correction) == [] and history(desk) == []


@pytest.mark.parametrize(("field", "value"), [
    ("anger", "greet"), ("intent", "angry"), ("intent", "no_such_intent"), ("valence", "negative"), ("valence", None)])
def test_nothing_else_can_be_said(sqlite_desk: Desk, field: str, value: str | None) -> None:
    ids = read_by_the_bot(sqlite_desk)
    with pytest.raises(ValueError, match="no such field or value"):
        correct(sqlite_desk, ids, field, value)


def test_the_lessons_come_in_order_and_leave_out_who_was_erased(desk: Desk) -> None:
    customer = desk.customer("known")
    known = read_by_the_bot(desk, "人工！人工！", sender="known", valence="negative")
    guest = read_by_the_bot(desk, "WHERE IS IT", sender="guest", valence=None)
    correct(desk, guest, "anger", "angry", minutes=1)
    correct(desk, known, "intent", "request_human", minutes=2)
    found = desk.ask(lessons)
    assert [(each.text, each.language, each.field, each.value, each.valence) for each in found] == [
        ("WHERE IS IT", "en", "anger", "angry", None), ("人工！人工！", "zh", "intent", "request_human", "negative")]
    with desk.store.write() as session:
        session.get(Customer, customer).erased_at = desk.now + HOUR
    assert [each.message_id for each in desk.ask(lessons)] == [guest[1]]


def test_a_customers_own_copy_says_what_was_corrected(desk: Desk) -> None:
    customer = desk.customer("known")
    ids = read_by_the_bot(desk, sender="known", intent="thank")
    correct(desk, ids, "intent", "file_complaint")
    talk, = desk.do(export_customer, customer, desk.now)["conversations"]
    assert [message.get("corrected_intent") for message in talk["messages"]] == ["file_complaint", None]


def test_agents_choose_from_every_intent_of_the_domain() -> None:
    domain = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf8"))
    assert sorted(INTENTS) == sorted(domain["intents"])
