"""Attachments: what a file is by its content, what it may be called, whose it is, and when it is given up."""
from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from crm_store.attachment_files import place_of
from crm_store.database import Store
from crm_store.errors import NotFound
from crm_store.models import Attachment
from crm_store.rules.attachments import ENDS, Content, content_of, safe_name
from crm_store.services import attachments
from crm_store.services.attachments import Fetch, KeptFile
from crm_store.services.messages import receive_message

PDF = KeptFile(Content("application/pdf", "document", "pdf"), 9, "0" * 64)

NAMES = {
    "../../etc/passwd": "passwd.txt", "..\\..\\boot.ini": "boot_ini.txt", "C:\\a\\b.txt": "b.txt", "": "document.txt",
    "a\x00b.txt": "ab.txt", "a\r\nSet-Cookie: x=1.txt": "x=1.txt", "\u202etxt.exe": "txt_exe.txt",
    "invoice.pdf.exe": "invoice_pdf_exe.txt", "CON": "_CON.txt", "nul.txt": "_nul.txt", ".htaccess": "htaccess.txt",
    "...": "document.txt", '<img src=x onerror=alert(1)>"': "img src=x onerror=alert(1).txt",
    "発票 ①.TXT": "発票 ①.txt", "a\u2028b\ud800.txt": "a b.txt",
    "x" * 300 + ".txt": "x" * 60 + ".txt", "run.js": "run_js.txt", "a;b=c.html": "a;b=c_html.txt",
}


@pytest.mark.parametrize(("name", "safe"), NAMES.items(), ids=range(len(NAMES)))
def test_a_name_is_no_path_and_ends_as_its_content(name: str, safe: str) -> None:
    assert safe_name(name, "document", "text/plain") == safe
    assert safe_name(safe, "document", "text/plain") == safe


ACTIVE = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "html": b"<!doctype html><p>x",
    "late": b"hello\n" * 20 + b"<script>alert(1)</script>", "mark": b"\xef\xbb\xbf<html>",
    "xml": b"<?xml version='1.0'?><x/>", "utf16": "<html>".encode("utf-16"), "shell": b"#!/bin/sh\nrm -rf /\n",
    "exe": b"MZ" + bytes(200), "elf": b"\x7fELF" + bytes(200), "swf": b"FWS\x0a" + bytes(60),
    "noise": bytes(range(256)), "blanks": b" \n ", "gz": b"\x1f\x8b\x08" + bytes(60),
}


@pytest.mark.parametrize("content", ACTIVE.values(), ids=ACTIVE)
def test_what_a_browser_or_a_double_click_would_run_is_of_no_type(content: bytes) -> None:
    assert content_of(content) is None


@given(st.text(max_size=200), st.sampled_from([None, *ENDS]))
@settings(max_examples=100)
def test_any_name_becomes_a_safe_one_and_stays_it(raw_name: str, media_type: str | None) -> None:
    name = safe_name(raw_name, "photo", media_type)
    assert name and safe_name(name, "photo", media_type) == name
    assert not set(name) & set('/\\:<>"|?*') and name.isprintable() and name.count(".") <= 1
    assert len(name.encode()) <= 255 and not name.startswith(".") and name == name.strip()
    assert media_type is None or name.endswith(f".{ENDS[media_type][0]}")


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_no_content_breaks_the_reading_of_its_type(content: bytes) -> None:
    found = content_of(content)
    assert found is None or found.media_type in ENDS


def waiting(store: Store, now: datetime, sender: str = "7:1", **more: Any) -> int:
    """A message with a file that has to be fetched; the attachment's id."""
    with store.write() as session:
        received = receive_message(session, channel="telegram", external_id=sender, text="[文件]", now=now,
                                   channel_message_id=more.pop("message_id", "1"))
        kept = attachments.await_file(session, received.message, **{
            "kind": "document", "name": "a.exe", "source": "f", "size": 5, "limit": 100, "now": now, **more})
        return int(kept.id)


def claim(store: Store, attachment_id: int, now: datetime) -> Fetch:
    with store.write() as session:
        fetch = attachments.claim_file(session, attachment_id, now)
    assert fetch is not None
    return fetch


def row(store: Store, attachment_id: int) -> Attachment:
    with store.read() as session:
        found = session.get(Attachment, attachment_id)
        session.expunge_all()
        return found


def test_a_file_is_claimed_by_one_until_the_lease_runs_out(store: Store, now: datetime) -> None:
    key = waiting(store, now)
    fetch = claim(store, key, now)
    assert (fetch.channel, fetch.address, fetch.source) == ("telegram", "7:1", "f")
    with store.write() as session:
        assert attachments.claim_file(session, key, now) is None
        assert attachments.files_waiting(session, "telegram", now) == []
        assert attachments.files_waiting(session, "web", now + attachments.LEASE) == []
        assert attachments.files_waiting(session, "telegram", now + attachments.LEASE) == [key]


def test_who_sends_very_many_files_holds_up_nobody(store: Store, now: datetime) -> None:
    many = [waiting(store, now, message_id=str(number)) for number in range(attachments.AT_ONCE + 2)]
    other = waiting(store, now, "7:2")
    claim(store, many[0], now)
    with store.read() as session:
        assert attachments.files_waiting(session, "telegram", now)[:2] == [other, many[1]]
        assert attachments.files_waiting(session, "telegram", now, [other])[0] == many[1]


def test_looking_for_files_goes_through_those_that_wait_only(sqlite_store: Store, now: datetime) -> None:
    asked: list[tuple[str, Any]] = []
    sa.event.listen(sqlite_store.engine, "before_cursor_execute",
                    lambda _, __, statement, values, *___: asked.append((statement, values)))
    with sqlite_store.read() as session:
        attachments.files_waiting(session, "telegram", now, [1, 2])
        statement, values = asked[-1]
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    assert any("ix_attachments_waiting" in str(row) for row in plan)  # not all attachments, nor all who ever wrote


def test_who_was_overtaken_notes_nothing_but_a_file_that_is_there(store: Store, now: datetime) -> None:
    key = waiting(store, now)
    late, current = claim(store, key, now), claim(store, key, now + attachments.LEASE)
    with store.write() as session:
        attachments.note_refused(session, late, attachments.GONE, now)
        attachments.note_failed(session, late, now, missing=True)
        attachments.note_put_off(session, late, now)
    assert row(store, key).state == "waiting" and row(store, key).attempts == 2
    with store.write() as session:
        assert attachments.note_file(session, current, PDF, now)
        attachments.note_refused(session, current, attachments.GONE, now)
        assert attachments.note_file(session, late, PDF, now)
    assert (row(store, key).state, row(store, key).name) == ("kept", "a_exe.pdf")


def test_pauses_grow_and_what_kills_its_fetcher_is_given_up(store: Store, now: datetime) -> None:
    key, pauses = waiting(store, now), []
    for _ in range(attachments.MOST_ATTEMPTS - 1):
        fetch = claim(store, key, now)
        with store.write() as session:
            attachments.note_failed(session, fetch, now, missing=False)
        pauses.append(row(store, key).next_attempt_at - now)
        now = row(store, key).next_attempt_at
    assert pauses == sorted(pauses) and pauses[0] == attachments.FIRST_DELAY
    assert pauses[-1] == attachments.LONGEST_DELAY and sum(pauses, timedelta()) > timedelta(hours=1)
    claim(store, key, now)  # and its process dies
    with store.write() as session:
        assert attachments.claim_file(session, key, now + attachments.LEASE) is None
    assert (row(store, key).state, row(store, key).reason) == ("refused", "failed")


def test_the_forgotten_leave_nothing_and_others_everything(store: Store, now: datetime) -> None:
    mine, other = waiting(store, now), waiting(store, now, "7:2")
    refused = waiting(store, now, message_id="2", size=101)
    fetch = claim(store, mine, now)
    assert row(store, refused).reason == "too_large"
    with store.write() as session:
        assert attachments.forget_attachments(session, Attachment.id.in_([])) == (0, [])
        theirs = Attachment.identity_id == row(store, mine).identity_id
        assert attachments.forget_attachments(session, theirs) == (2, [place_of(fetch.token)])
    with store.write() as session:
        assert session.execute(select(Attachment.id)).scalars().all() == [other]
        assert not attachments.note_file(session, fetch, PDF, now)
        assert attachments.tokens_unknown(session, [fetch.token, row(store, other).token]) == [fetch.token]


def test_a_file_is_its_senders_alone_and_only_when_it_is_kept(store: Store, now: datetime) -> None:
    key = waiting(store, now)
    mine, token = row(store, key).identity_id, row(store, key).token
    with store.write() as session:
        place = attachments.keep_words(session, session.get(attachments.Message, row(store, key).message_id),
                                       kind="location", name="", place=(1.0, 2.0), now=now).token
    for identity_id, asked in ((mine, token), (mine, place), (mine, "\x00"), (None, token)):
        with store.read() as session, pytest.raises(NotFound):
            attachments.attachment_of_visitor(session, identity_id, asked)
    with store.write() as session:
        attachments.note_file(session, claim_in(session, key, now), PDF, now)
    with store.read() as session:
        assert attachments.attachment_of_visitor(session, mine, token).id == key
        for identity_id in (mine + 1, None):
            with pytest.raises(NotFound):
                attachments.attachment_of_visitor(session, identity_id, token)


def claim_in(session: Any, attachment_id: int, now: datetime) -> Fetch:
    fetch = attachments.claim_file(session, attachment_id, now)
    assert fetch is not None
    return fetch
