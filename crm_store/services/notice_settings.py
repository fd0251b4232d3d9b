"""Keeps how agents and other programs want to be told beside the desk; every change is in the audit log."""
from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage, NotFound
from crm_store.models import NotificationPreference, SupportAgent, Webhook
from crm_store.models.deliveries import NOTICE_KINDS
from crm_store.models.exchange import EVENT_KINDS
from crm_store.rules.personal_data import mask_email
from crm_store.rules.text import clean_text
from crm_store.services import audit

MOST_WEBHOOKS = 20
TOLD_KINDS = (*NOTICE_KINDS, *EVENT_KINDS)  # what a webhook may be told of
NAME_LENGTH = 80
URL_LENGTH = 500
EMAIL_LENGTH = 254
_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
                    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


def default_email_kinds(role: str) -> tuple[str, ...]:
    """What agents are told by e-mail until they choose: what is late, what is handed to them, and leads a warning."""
    chosen = ("assigned", "complaint", "transferred", "sla_breached")
    return chosen if role == "agent" else (*chosen, "sla_warned")


def save_preferences(session: Session, agent: SupportAgent, *, email: str, kinds: Iterable[str],
                     now: datetime) -> NotificationPreference:
    """Keep where and of what an agent is told by e-mail; an empty address: not at all.

    Raises:
        InvalidMessage: ``field`` "email" or "kinds" cannot be accepted.
    """
    email, chosen = email.strip(), _known_kinds(kinds, NOTICE_KINDS)
    if email and (len(email) > EMAIL_LENGTH or len(email.partition("@")[0]) > 64 or not _EMAIL.fullmatch(email)):
        raise InvalidMessage(field="email", reason="invalid")
    kept: NotificationPreference | None = session.get(NotificationPreference, agent.id)
    if kept is None:
        kept = NotificationPreference(agent_id=agent.id)
        session.add(kept)
    kept.email, kept.email_kinds, kept.updated_at = email or None, chosen, now
    _audit(session, agent, "set_notifications", "agent", agent.id, {"email": mask_email(email), "kinds": chosen}, now)
    session.flush()
    return kept


def create_webhook(session: Session, agent: SupportAgent, *, name: str, url: str, kinds: Iterable[str],
                   now: datetime) -> Webhook:
    """A new webhook with a secret of its own, switched on.

    Raises:
        InvalidMessage: ``field`` "name", "url" or "kinds" cannot be accepted; ``reason`` is "invalid", "empty",
            "too_long", "taken" (of the URL) or "too_many".
    """
    if session.execute(select(sa.func.count()).select_from(Webhook)).scalar_one() >= MOST_WEBHOOKS:
        raise InvalidMessage(field="name", reason="too_many")
    webhook = Webhook(name=_name(name), url=_free_url(session, url, None), kinds=_known_kinds(kinds, TOLD_KINDS),
                      active=True, secret=new_secret(), created_at=now, updated_at=now)
    session.add(webhook)
    session.flush()
    _audit(session, agent, "create_webhook", "webhook", webhook.id, _told(webhook), now)
    return webhook


def edit_webhook(session: Session, webhook_id: int, agent: SupportAgent, *, name: str, url: str, kinds: Iterable[str],
                 active: bool, now: datetime) -> Webhook:
    """Change a webhook; what waits for it goes to the new URL.

    Raises:
        NotFound: there is no such webhook.
        InvalidMessage: as of :func:`create_webhook`.
    """
    webhook = find_webhook(session, webhook_id)
    before = _told(webhook)
    webhook.name, webhook.url, webhook.active = _name(name), _free_url(session, url, webhook.id), active
    webhook.kinds, webhook.updated_at = _known_kinds(kinds, TOLD_KINDS), now
    _audit(session, agent, "edit_webhook", "webhook", webhook.id, {"before": before, "after": _told(webhook)}, now)
    session.flush()
    return webhook


def rotate_secret(session: Session, webhook_id: int, agent: SupportAgent, now: datetime) -> Webhook:
    """Give a webhook a new secret; from the next attempt on it signs, and the old one no more.

    Raises:
        NotFound: there is no such webhook.
    """
    webhook = find_webhook(session, webhook_id)
    webhook.secret, webhook.updated_at = new_secret(), now
    _audit(session, agent, "rotate_webhook_secret", "webhook", webhook.id, {"name": webhook.name}, now)
    session.flush()
    return webhook


def find_webhook(session: Session, webhook_id: int) -> Webhook:
    """A webhook by its id.

    Raises:
        NotFound: there is none.
    """
    webhook: Webhook | None = session.get(Webhook, webhook_id)
    if webhook is None:
        raise NotFound(webhook_id=webhook_id)
    return webhook


def new_secret() -> str:
    """A secret of 256 bits that is told from others by its beginning."""
    return f"whsec_{secrets.token_urlsafe(32)}"


def _known_kinds(kinds: Iterable[str], known: Sequence[str]) -> list[str]:
    chosen = set(kinds)
    if not chosen <= set(known):
        raise InvalidMessage(field="kinds", reason="invalid")
    return [kind for kind in known if kind in chosen]


def _name(raw: str) -> str:
    try:
        return " ".join(clean_text(raw, NAME_LENGTH).split())
    except InvalidMessage as error:
        raise InvalidMessage(field="name", reason=error.data["reason"]) from error


def _free_url(session: Session, raw: str, own_id: int | None) -> str:
    url = _checked_url(raw.strip())
    taken = session.execute(select(Webhook.id).where(Webhook.url == url)).scalar_one_or_none()
    if taken not in (None, own_id):
        raise InvalidMessage(field="url", reason="taken")
    return url


def _checked_url(url: str) -> str:
    """The URL where it is http or https, in ASCII and without a login; where it leads is checked when connecting."""
    if len(url) > URL_LENGTH:
        raise InvalidMessage(field="url", reason="too_long")
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise InvalidMessage(field="url", reason="invalid")
    try:
        parts = urlsplit(url)
        usable = (parts.scheme in ("http", "https") and parts.username is None and parts.password is None
                  and bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0 and not parts.fragment)
    except ValueError:
        usable = False
    if not usable:
        raise InvalidMessage(field="url", reason="invalid")
    return url


def _told(webhook: Webhook) -> dict[str, object]:
    """What the audit log keeps: the host alone, because a path may hold a token."""
    return {"name": webhook.name, "host": urlsplit(webhook.url).netloc, "kinds": list(webhook.kinds),
            "active": webhook.active}


def _audit(session: Session, agent: SupportAgent, action: str, kind: str, object_id: int, data: dict[str, object],
           now: datetime) -> None:
    audit.record(session, actor_kind="agent", actor_id=agent.id, action=action, object_kind=kind, object_id=object_id,
                 data=data, now=now)
