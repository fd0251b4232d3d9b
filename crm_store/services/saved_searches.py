"""Keeps searches of the log under a name, for oneself or for all who may search."""
from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from crm_store.errors import InvalidMessage, NotAllowed, NotFound
from crm_store.models import SavedSearch, SupportAgent
from crm_store.rules.text import clean_text
from crm_store.services import audit

NAME_LIMIT = 80
QUERY_LIMIT = 4000
MOST_EACH = 100
CLEARS_ANY = ("manager", "admin")


def saved_searches(session: Session, agent: SupportAgent) -> list[SavedSearch]:
    """The agent's own searches and those that others share, with their owners: one's own first, then by name."""
    found = session.execute(
        select(SavedSearch).where(_seen_by(agent)).options(joinedload(SavedSearch.owner))
        .order_by(SavedSearch.name, SavedSearch.id)).scalars()
    return sorted(found, key=lambda saved: saved.owner_id != agent.id)


def save_search(session: Session, agent: SupportAgent, name: str, query: str, shared: bool,
                now: datetime) -> SavedSearch:
    """Keep a search. Under a name that the agent has used already it takes the place of the one there.

    Args:
        session: the unit of work.
        agent: whose it will be.
        name: what to call it, 80 characters at most.
        query: the conditions as in an address.
        shared: whether everybody who may search sees it.
        now: when.

    Raises:
        InvalidMessage: ``field`` is "name" or "query"; ``reason`` "too_many" when the agent keeps a hundred.
    """
    name = _clean_name(name)
    if not query or len(query) > QUERY_LIMIT:
        raise InvalidMessage(field="query", reason="too_long" if query else "empty", limit=QUERY_LIMIT)
    mine = {saved.name: saved for saved in session.execute(
        select(SavedSearch).where(SavedSearch.owner_id == agent.id).with_for_update()).scalars()}
    saved = mine.get(name)
    if saved is None:
        if len(mine) >= MOST_EACH:
            raise InvalidMessage(field="name", reason="too_many", limit=MOST_EACH)
        saved = SavedSearch(owner_id=agent.id, name=name, created_at=now)
        session.add(saved)
    saved.query, saved.shared, saved.changed_at = query, shared, now
    session.flush()
    _audit(session, agent, "save_search", saved, now, name=name, shared=shared, query=query)
    return saved


def rename_search(session: Session, agent: SupportAgent, saved_id: int, name: str, shared: bool,
                  now: datetime) -> SavedSearch:
    """Give one's own search another name, or share it or not.

    Raises:
        NotFound: there is none, or it is another's and not shared.
        NotAllowed: it is another's.
        InvalidMessage: the name cannot be used, or another search of the agent has it (``reason`` "taken").
    """
    name = _clean_name(name)
    saved = _seen(session, agent, saved_id)
    if saved.owner_id != agent.id:
        raise NotAllowed(saved_id=saved_id)
    taken = session.execute(select(SavedSearch.id).where(
        SavedSearch.owner_id == agent.id, SavedSearch.name == name, SavedSearch.id != saved_id)).first()
    if taken is not None:
        raise InvalidMessage(field="name", reason="taken")
    former = saved.name
    saved.name, saved.shared, saved.changed_at = name, shared, now
    _audit(session, agent, "rename_search", saved, now, name=name, former=former, shared=shared)
    return saved


def delete_search(session: Session, agent: SupportAgent, saved_id: int, now: datetime) -> None:
    """Delete one's own search; managers may also delete what others share, because people leave.

    Raises:
        NotFound: there is none, or it is another's and not shared.
        NotAllowed: it is another's.
    """
    saved = _seen(session, agent, saved_id)
    if saved.owner_id != agent.id and agent.role not in CLEARS_ANY:
        raise NotAllowed(saved_id=saved_id)
    _audit(session, agent, "delete_search", saved, now, name=saved.name, owner_id=saved.owner_id, query=saved.query)
    session.delete(saved)


def _seen_by(agent: SupportAgent) -> sa.sql.ColumnElement[bool]:
    return sa.or_(SavedSearch.owner_id == agent.id, SavedSearch.shared)


def _seen(session: Session, agent: SupportAgent, saved_id: int) -> SavedSearch:
    saved: SavedSearch | None = session.execute(
        select(SavedSearch).where(SavedSearch.id == saved_id, _seen_by(agent)).with_for_update()).scalar_one_or_none()
    if saved is None:
        raise NotFound(saved_id=saved_id)
    return saved


def _clean_name(name: str) -> str:
    try:
        return " ".join(clean_text(name, NAME_LIMIT).split())
    except InvalidMessage as error:
        raise InvalidMessage(field="name", **{key: value for key, value in error.data.items()
                                              if key != "field"}) from error


def _audit(session: Session, agent: SupportAgent, action: str, saved: SavedSearch, now: datetime,
           **data: object) -> None:
    audit.record(session, actor_kind="agent", actor_id=agent.id, action=action, object_kind="saved_search",
                 object_id=saved.id, data=data, now=now)
