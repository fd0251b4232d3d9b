"""`make privacy-drill`: lets a customer live in a throw-away shop, erases them, and looks whether anything is left.

Everything a customer leaves is made by the services that make it in a real shop: conversations on two channels with a
complaint and agents, attachments with their files, what the dialogue engine remembers, the index of words, a case,
corrections and the training data written from them, points, a code, consents, a saved search, the demo's outbox. Then
they ask to be erased. What they said and who they were is looked for in every table that the database knows of, in its
statistics, and in the bytes of every file below the data folder, the database's own among them. Whatever is found is
printed, and the exit status is 1. On SQLite always, on PostgreSQL where it is installed.
"""
from __future__ import annotations

import hashlib
import io
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import select

from actions.code_senders import OutboxSender
from bench.postgres import postgres_server
from crm_store.database import Store
from crm_store.demo import load_demo_shop
from crm_store.models import (
    Attachment,
    ChannelIdentity,
    Consent,
    Conversation,
    Customer,
    DialogueTracker,
    Erasure,
    Feedback,
    Message,
    Order,
    Reward,
    Shipment,
    SupportAgent,
)
from crm_store.rules.points import SHOP_ZONE
from crm_store.schema import migrate
from crm_store.services import audit
from crm_store.services.cases import draw_case, store_cases
from crm_store.services.complaints import file_complaint
from crm_store.services.corrections import correct_message, label_message
from crm_store.services.dispatch import Reply, Understood, complete_turn, next_turn
from crm_store.services.eraser import TOMBSTONES, Eraser, erasure_key
from crm_store.services.erasure import COOL_OFF, ask_erasure, signature_of
from crm_store.services.exchange import Wanted, import_file
from crm_store.services.handoff import (
    add_note,
    claim_conversation,
    escalate_conversation,
    reply_to_customer,
    resolve_conversation,
)
from crm_store.services.memory import keep_fact
from crm_store.services.messages import receive_message
from crm_store.services.points import grant_points, redeem_reward
from crm_store.services.saved_searches import save_search
from crm_store.services.traces import find_traces, needles
from warmline.corrections import write_corrections

DATA = Path(__file__).resolve().parent.parent / "data"
KEY = erasure_key("only for the drill")
BEGAN = datetime(2026, 11, 18, 2, 0, tzinfo=timezone.utc)
NUMBER, NAME, PHONE, EMAIL = "WLC987654", "欧阳若曦 Quillfeather", "13987612345", "quillfeather.ruoxi@example.com"
ADDRESS, TRACKING, TELEGRAM = "杭州市西湖区文三路 4711 号 302 室", "SFDRILL20261118", "987650123450"
WEB = "drill-visitor-0123456789abcdefghijklmnop"
FILE = b"Quillfeather's torn blanket, photographed"
SAID = ("我是欧阳若曦，毛毯上有个破洞，电话 13987612345", "The zipper of my cushion broke, says Quillfeather",
        "请把退款打回原来的卡，尾号七七四二", "建议你们出一款薄荷色的被套", "this is outrageous, nobody calls me back")
ANSWERS = ("欧阳女士，已为您登记破洞的毛毯。", "Ms Quillfeather, we are sending a new cushion today.",
           "已回电欧阳若曦，答应补发薄荷色被套")
HASHED = hashlib.sha256(NUMBER.encode()).hexdigest()  # without a key anybody can find out whose it is
WORDS = (NUMBER, HASHED, NAME, "欧阳若曦", "Quillfeather", PHONE, EMAIL, ADDRESS, TRACKING, TELEGRAM, WEB, *SAID,
         *ANSWERS)


@dataclass(frozen=True)
class Found:
    """Something of the person that is left, and where."""

    place: str
    what: str


@dataclass(frozen=True)
class Result:
    """What the drill on one database found: ``before`` the erasure, and what is ``left`` after it."""

    before: int
    left: list[Found]
    report: dict[str, object]


def live(store: Store, folder: Path) -> int:
    """Let the person leave everything a customer leaves; their id."""
    customer_id = _arrive(store)
    web, telegram = (_talk(store, channel, sender, texts) for channel, sender, texts in (
        ("web", WEB, SAID[:3]), ("telegram", TELEGRAM, SAID[3:])))
    _complain(store, web)
    _teach(store, telegram)
    with store.write() as session:
        agent = session.execute(select(SupportAgent).where(SupportAgent.role == "manager").limit(1)).scalar_one()
        save_search(session, agent, "call back", f"words={PHONE}", True, BEGAN)
        audit.record(session, actor_kind="agent", actor_id=agent.id, action="export_log", object_kind="log",
                     object_id="csv", data={"filter": {"words": PHONE}}, now=BEGAN)
        session.add(Feedback(customer_id=customer_id, conversation_id=telegram, text=SAID[3], created_at=BEGAN,
                             idempotency_key="drill"))
        session.add(Consent(customer_id=customer_id, purpose="marketing", granted=True, channel="web",
                            decided_at=BEGAN))
        for talk in (web, telegram):
            session.add(DialogueTracker(sender_id=str(talk), events=f'[{{"event": "user", "text": "{SAID[0]}"}}]',
                                        updated_at=BEGAN))
    _spend(store, customer_id)
    _import(store)
    with store.write() as session:
        message = session.execute(select(sa.func.min(Message.id)).where(Message.conversation_id == web)).scalar_one()
        keep_fact(session, customer_id=customer_id, kind="like", what=SAID[3], message_id=message, now=BEGAN)
    _attach(store, folder, web)
    OutboxSender(folder / "outbox.log").send(PHONE, "123456", "zh")
    OutboxSender(folder / "outbox.log").send("13500000000", "654321", "zh")
    write_corrections(store, folder, BEGAN)
    return customer_id


def look(store: Store, folder: Path) -> list[Found]:
    """Everything of the person that stands in a table or in a file."""
    words = needles(WORDS)
    with store.read() as session:
        found = [Found(f"{trace.table}.{trace.column}", f"{trace.rows} rows")
                 for trace in find_traces(session, words, statistics=True)]
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        found += [Found(str(path.relative_to(folder)), word) for word in _in_file(path, words)]
    return found


def open_demo_shop(store: Store) -> None:
    """The demo shop, so that there are others beside the person."""
    with store.write() as session:
        load_demo_shop(session, folder=DATA, now=BEGAN, password="drill-drill")


def drill(url: str, folder: Path, plant: Callable[[Store, Path], None] | None = None,
          furnish: Callable[[Store], None] = open_demo_shop) -> Result:
    """Live, be erased, look.

    Args:
        url: an empty database.
        folder: the data folder, empty but for the database.
        plant: leaves something behind after the erasure, to show that it would be found.
        furnish: fills the empty store with a shop.
    """
    migrate(url)
    store = Store(url)
    try:
        furnish(store)
        customer_id = live(store, folder)
        before = len(look(store, folder))
        with store.write() as session:
            asked = ask_erasure(session, customer_id, asked_by="customer", now=BEGAN).id
        eraser = Eraser(store, folder, KEY, lambda: len(_written(store, folder)))
        done = eraser.look(BEGAN + COOL_OFF)
        if plant is not None:
            plant(store, folder)
        with store.read() as session:
            erasure = session.get(Erasure, asked)
            report, signature, state = dict(erasure.report or {}), erasure.signature, erasure.state
        left = look(store, folder)
        if done != [asked] or state != "proven" or signature != signature_of(report, KEY):
            left.append(Found("erasures", "the erasure is not proven"))
        if not (folder / TOMBSTONES).exists():
            left.append(Found(TOMBSTONES, "no tombstone was laid"))
        return Result(before, left, report)
    finally:
        store.close()


def main() -> int:
    """Run the drill on every database there is; 1 where anything is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server and the folder go also when stopped
    left = 0
    with tempfile.TemporaryDirectory(prefix="warmline-privacy-drill-") as place:
        folder = Path(place) / "sqlite"
        folder.mkdir()
        left += _tell("SQLite", drill(f"sqlite:///{folder / 'warmline.db'}", folder))
        with postgres_server() as url:
            if url is None:
                print("PostgreSQL is not installed; the drill was done on SQLite alone")
            else:
                folder = Path(place) / "postgresql"
                folder.mkdir()
                left += _tell("PostgreSQL", drill(url, folder))
    return 1 if left else 0


def _tell(database: str, result: Result) -> int:
    print(f"{database}: {result.before} places held something of the customer; "
          f"{len(result.left)} do after the erasure")
    for found in result.left:
        print(f"  LEFT in {found.place}: {found.what}")
    return len(result.left)


def _arrive(store: Store) -> int:
    with store.write() as session:
        customer = Customer(number=NUMBER, name=NAME, language="zh", phone=PHONE, email=EMAIL, city="杭州",
                            address=ADDRESS, tier_code="silver", created_at=BEGAN - timedelta(days=90))
        session.add(customer)
        session.flush()
        session.add_all(ChannelIdentity(channel=channel, external_id=sender, customer_id=customer.id, linked_at=BEGAN,
                                        created_at=BEGAN) for channel, sender in (("web", WEB), ("telegram", TELEGRAM)))
        order = Order(number="WL20261101987", customer_id=customer.id, status="delivered", phone=PHONE, address=ADDRESS,
                      total_fen=19_900, placed_at=BEGAN - timedelta(days=17), note=f"call {NAME} first")
        session.add(order)
        session.flush()
        session.add(Shipment(order_id=order.id, carrier_zh="顺丰", carrier_en="SF", tracking_number=TRACKING,
                             shipped_at=BEGAN, events=[{"at": BEGAN.isoformat(), "zh": f"{NAME} 签收", "en": NAME}]))
        return int(customer.id)


def _import(store: Store) -> None:
    for kind, text in (("customers", f"number,name,updated_at\n{NUMBER},{NAME},2026-11-01\n"),
                       ("points", f"key,customer_number,points,reason\nopening-{NUMBER},{NUMBER},5,{NAME}\n")):
        import_file(store, io.BytesIO(text.encode()), Wanted(kind, "file", SHOP_ZONE), KEY, lambda: BEGAN)


def _talk(store: Store, channel: str, sender: str, texts: Sequence[str]) -> int:
    for number, text in enumerate(texts):
        with store.write() as session:
            talk = int(receive_message(session, channel=channel, external_id=sender, text=text,
                                       channel_message_id=f"{channel}-{number}", now=BEGAN).conversation.id)
        with store.write() as session:
            turn = next_turn(session, talk, BEGAN)
            assert turn is not None
            complete_turn(session, turn, replies=[Reply(ANSWERS[0])], now=BEGAN, understood=Understood(
                intent="ask_refund_status", confidence=0.9, language="zh", anger=0.2,
                entities=[{"entity": "name", "value": NAME}]))
    return talk


def _complain(store: Store, talk: int) -> None:
    with store.write() as session:
        message = session.execute(select(sa.func.max(Message.id)).where(
            Message.conversation_id == talk, Message.direction == "incoming")).scalar_one()
        file_complaint(session, conversation_id=talk, message_id=message, what=SAID[0], wish=SAID[2], now=BEGAN)
    with store.write() as session:
        escalate_conversation(session, conversation_id=talk, reason="asked", now=BEGAN)
        agent = _agent_of(session, talk)
        claim_conversation(session, talk, agent, BEGAN)
        reply_to_customer(session, talk, agent, ANSWERS[1], BEGAN)
        add_note(session, talk, agent, ANSWERS[2], BEGAN)
        resolve_conversation(session, talk, agent, BEGAN, cause="solved")
    with store.write() as session:
        store_cases(session, [draw_case(session, talk)], [[0.6, 0.8]], "drill")


def _agent_of(session: sa.orm.Session, talk: int) -> SupportAgent:
    assigned = session.execute(select(Conversation.assignee_id).where(Conversation.id == talk)).scalar_one()
    wanted = select(SupportAgent).where(SupportAgent.id == assigned) if assigned else select(SupportAgent).where(
        SupportAgent.role == "manager")
    return session.execute(wanted.limit(1)).scalar_one()


def _teach(store: Store, talk: int) -> None:
    with store.write() as session:
        agent = session.execute(select(SupportAgent).where(SupportAgent.role == "manager").limit(1)).scalar_one()
        for message in session.execute(select(Message.id).where(
                Message.conversation_id == talk, Message.direction == "incoming")).scalars().all():
            correct_message(session, talk, message, agent, "anger", "angry", BEGAN)
            label_message(session, talk, message, agent, intent="give_feedback", anger=None, now=BEGAN)


def _spend(store: Store, customer_id: int) -> None:
    with store.write() as session:
        grant_points(session, customer_id=customer_id, points=5000, reason=f"for {NAME}", idempotency_key="drill",
                     now=BEGAN)
        reward = session.execute(select(Reward).where(Reward.minimum_tier == "silver", Reward.stock > 0)
                                 .order_by(Reward.cost_points).limit(1)).scalar_one()
        redeem_reward(session, customer_id=customer_id, reward_id=reward.id, idempotency_key="drill", now=BEGAN)


def _attach(store: Store, folder: Path, talk: int) -> None:
    token = "ab" * 24
    path = folder / "attachments" / token[:2] / token
    path.parent.mkdir(parents=True)
    path.write_bytes(FILE)
    with store.write() as session:
        message = session.execute(select(Message).where(Message.conversation_id == talk).limit(1)).scalar_one()
        session.add(Attachment(message_id=message.id, identity_id=message.identity_id, token=token, kind="photo",
                               name=f"{NAME}.jpg", media_type="image/jpeg", size=len(FILE), state="kept",
                               created_at=BEGAN))


def _written(store: Store, folder: Path) -> list[Path]:
    write_corrections(store, folder, BEGAN)
    return sorted((folder / "data").rglob("*.yml"))


def _in_file(path: Path, words: Sequence[str]) -> list[str]:
    content = path.read_bytes().lower()
    return [word for word in words if word.encode().lower() in content]


if __name__ == "__main__":
    sys.exit(main())
