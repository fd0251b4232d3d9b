"""A customer takes the chat off their account by a sentence: asked first, told while it is theirs, then a guest."""
from __future__ import annotations

import pytest

from actions.linking import wants_unlinking
from crm_store.models import AuditEntry, ChannelIdentity, Conversation, Message
from tests.bot.talking import Talk
from tests.bot.test_turns import rows


def linked(talk: Talk) -> bool:
    (identity,) = [each for each in rows(talk, ChannelIdentity) if each.external_id == "lei"]
    return identity.customer_id is not None


@pytest.mark.parametrize(("text", "intent"), [("解除绑定", "account_help"), ("取消关联我的账号", "manage_privacy")])
def test_a_chat_is_unlinked_after_a_yes(talk: Talk, text: str, intent: str) -> None:
    asked = talk.say(text, intent)
    assert "解除绑定吗" in asked.text and asked.payloads == ["/affirm", "/deny"] and linked(talk)
    heard = talk.say("好的", "affirm")
    assert not linked(talk) and heard.status == "pending"
    (notice,) = [each for each in rows(talk, Message) if "已解除绑定" in each.text]
    (answer,) = [each for each in rows(talk, Message) if each.text == heard.text]
    assert notice.author == "system" and notice.id < answer.id and "再请您验证" in heard.text
    assert [each.customer_id for each in rows(talk, Conversation)] == [None]
    (entry,) = [each for each in rows(talk, AuditEntry) if each.action == "unlink"]
    assert entry.actor_kind == "customer"
    assert "手机号" in talk.say("我有多少积分", "ask_points_balance").text, "a guest's from here on"
    assert "没有绑定" in talk.say("解除绑定", "account_help").text


def test_a_no_and_anything_else_keep_it_linked(talk: Talk) -> None:
    for text, intent in (("不用", "deny"), ("你好", "greet")):
        talk.say("unlink my account", "account_help", language="en")
        talk.say(text, intent)
        talk.say("好的", "affirm")
        assert linked(talk)


@pytest.mark.parametrize(("text", "wanted"), [
    ("解除绑定", True), ("怎么取消绑定", True), ("我要解绑账号", True), ("Unlink me please", True),
    ("disconnect my account", True), ("解绑手机号", False), ("解绑银行卡", False), ("unlink my old phone", False),
    ("绑定账号", False), ("how do I link my account", False)])
def test_a_phone_and_a_card_are_something_else(text: str, wanted: bool) -> None:
    assert wants_unlinking(text) is wanted
