"""Gives customers what is held about them: a link that works once, and the file behind it, written as it is read.

The file is a ZIP with ``data.json`` (for machines, see ``SCHEMA``), ``index.html`` (for people) and the attachments.
"""
from __future__ import annotations

import hashlib
import html
import json
import secrets
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import NotFound
from crm_store.models import Attachment, ChannelIdentity, Conversation, Customer, DataCopy, Message
from crm_store.services.audit import record
from crm_store.services.privacy import about_customer, conversations_of
from crm_store.wording import say

SCHEMA = "warmline.customer-data/1"
VALID = timedelta(hours=1)
KEPT_AFTER = timedelta(days=30)
TOKEN_BYTES = 32
STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}dt{font-weight:600}" \
        "dd{margin:0 0 .5rem 1rem;white-space:pre-wrap;overflow-wrap:anywhere}"


def offer_copy(session: Session, customer_id: int, identity_id: int, now: datetime) -> str:
    """Make a link's token for a customer who asks on one of their own channels; earlier links end.

    Raises:
        NotFound: the identity is not linked to this customer, or they were erased.
    """
    mine = session.execute(
        select(Customer.id).join(ChannelIdentity, ChannelIdentity.customer_id == Customer.id)
        .where(Customer.id == customer_id, ChannelIdentity.id == identity_id, Customer.erased_at.is_(None))
        .with_for_update(read=True, key_share=True, of=Customer)).scalar_one_or_none()
    if mine is None:
        raise NotFound(customer_id=customer_id)
    session.execute(sa.delete(DataCopy).where(DataCopy.expires_at < now - KEPT_AFTER)
                    .execution_options(synchronize_session=False))
    session.execute(sa.update(DataCopy).where(DataCopy.customer_id == customer_id, DataCopy.expires_at > now)
                    .values(expires_at=now).execution_options(synchronize_session=False))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    session.add(DataCopy(customer_id=customer_id, identity_id=identity_id, token_hash=_hash(token), created_at=now,
                         expires_at=now + VALID))
    record(session, actor_kind="customer", actor_id=customer_id, action="ask_export", object_kind="customer",
           object_id=customer_id, now=now)
    session.flush()
    return token


def take_copy(session: Session, token: str, visitor_identity_id: int | None, now: datetime) -> int | None:
    """Use a link up: whose data may be sent, or None where it may not. Commit whatever comes of it.

    A link that was offered in the web chat works only in a browser that is signed in as that customer.

    Args:
        session: the unit of work.
        token: of the link.
        visitor_identity_id: whom the browser's cookie names.
        now: when.
    """
    copy = session.execute(
        select(DataCopy).where(DataCopy.token_hash == _hash(token)).with_for_update()
        .execution_options(populate_existing=True)).scalar_one_or_none()
    if copy is None:
        return None
    problem = _problem(session, copy, visitor_identity_id, now)
    if problem is not None:
        record(session, actor_kind="system", actor_id=None, action="refuse_export", object_kind="customer",
               object_id=copy.customer_id, data={"problem": problem}, now=now)
        return None
    copy.fetched_at = now
    record(session, actor_kind="customer", actor_id=copy.customer_id, action="export", object_kind="customer",
           object_id=copy.customer_id, data={"kind": "zip"}, now=now)
    session.flush()
    return int(copy.customer_id)


def write_copy(session: Session, customer_id: int, file: IO[bytes], path_of: Callable[[str], Path | None],
               now: datetime) -> None:
    """Write the ZIP; one conversation is in memory at a time.

    Args:
        session: for reading.
        customer_id: whose data.
        file: to write to.
        path_of: the file of an attachment's token.
        now: when.

    Raises:
        NotFound: there is no such customer, or they were erased.
    """
    about = {"schema": SCHEMA, **about_customer(session, customer_id, now)}
    language = about["customer"]["language"]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("data.json", "w", force_zip64=True) as data:
            data.write(json.dumps(about, ensure_ascii=False, indent=1)[:-2].encode("utf8", "replace"))
            data.write(b',\n "conversations": [')
            for number, talk in enumerate(conversations_of(session, customer_id)):
                data.write((",\n" if number else "\n").encode() + json.dumps(talk, ensure_ascii=False).encode(
                    "utf8", "replace"))
            data.write(b"\n]}\n")
        with archive.open("index.html", "w", force_zip64=True) as page:
            for part in _page(session, customer_id, about, language):
                page.write(part.encode("utf8", "replace"))
        for token, name in attachments_of(session, customer_id):
            path = path_of(token)
            if path is not None:
                archive.write(path, f"attachments/{name}")


def attachments_of(session: Session, customer_id: int) -> Iterator[tuple[str, str]]:
    """The token of each attachment that is kept, and the name of its file in the copy."""
    rows = session.execute(
        select(Attachment.id, Attachment.token, Attachment.name).join(Message, Message.id == Attachment.message_id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(Conversation.customer_id == customer_id, Attachment.state == "kept").order_by(Attachment.id)).all()
    for row in rows:
        safe = "".join(sign if sign.isalnum() or sign in "._- " else "_" for sign in row.name).lstrip(".")
        yield row.token, f"{row.id}-{safe[-100:] or 'file'}"


def _page(session: Session, customer_id: int, about: dict[str, Any], language: str) -> Iterator[str]:
    title = html.escape(say("copy_title", language))
    yield (f'<!doctype html>\n<html lang="{language}"><meta charset="utf-8"><title>{title}</title>'
           f"<style>{STYLE}</style><h1>{title}</h1><p>{html.escape(say('copy_about', language))}</p>")
    for name, value in about.items():
        yield f"<h2>{html.escape(_named(name, language))}</h2>{_told(value, language)}"
    yield f"<h2>{html.escape(_named('conversations', language))}</h2>"
    for talk in conversations_of(session, customer_id):
        yield _told(talk, language)
    yield "</html>\n"


def _told(value: Any, language: str) -> str:
    if isinstance(value, dict):
        return "<dl>" + "".join(f"<dt>{html.escape(_named(name, language))}</dt><dd>{_told(each, language)}</dd>"
                                for name, each in value.items() if each not in (None, "", [], {})) + "</dl>"
    if isinstance(value, list):
        return "<ul>" + "".join(f"<li>{_told(each, language)}</li>" for each in value) + "</ul>" if value else "–"
    return html.escape("–" if value is None else str(value))


_NAMES = {
    "exported_at": "导出时间", "customer": "客户", "identities": "渠道身份", "consents": "同意记录", "orders": "订单",
    "points": "积分", "balance": "余额", "entries": "流水", "redemptions": "兑换", "conversations": "对话",
    "messages": "消息", "tickets": "工单", "ratings": "评分", "feedback": "建议", "name": "姓名", "phone": "电话",
    "email": "邮箱", "address": "地址", "city": "城市", "number": "编号", "text": "内容", "created_at": "时间",
    "channel": "渠道", "status": "状态", "language": "语言", "attachments": "附件", "other": "其他",
}


def _named(name: str, language: str) -> str:
    return _NAMES.get(name, name) if language == "zh" else name.replace("_", " ")


def _problem(session: Session, copy: DataCopy, visitor_identity_id: int | None, now: datetime) -> str | None:
    if copy.fetched_at is not None:
        return "used"
    if copy.expires_at <= now:
        return "expired"
    asked = session.get(ChannelIdentity, copy.identity_id, populate_existing=True)
    if asked.customer_id != copy.customer_id:
        return "unlinked"
    if asked.channel != "web":
        return None
    visitor = session.get(ChannelIdentity, visitor_identity_id) if visitor_identity_id is not None else None
    return None if visitor is not None and visitor.customer_id == copy.customer_id else "foreign"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf8", "replace")).hexdigest()
