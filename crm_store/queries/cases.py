"""Solved cases nearest in meaning to an open conversation."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.models import Case, Conversation, Customer, SupportAgent
from crm_store.services.access import visible_to

CASES_COMPARED = 2000  # the latest; three megabytes of vectors
CASES_TO_CENTRE = 10  # of a language; fewer say nothing about its middle
LEAST_ALIKE = 0.3  # chosen by looking at the cases of the demo shop; another encoder may want another


@dataclass(frozen=True)
class SolvedCase:
    """A case that was solved. Both texts are masked; ``score`` says how near it is, at most 1."""

    conversation_id: int
    language: str
    matter: str
    solution: str
    cause: str | None
    solved_at: datetime
    score: float


def similar_solved_cases(session: Session, agent: SupportAgent, conversation_id: int, limit: int = 3,
                         ) -> list[SolvedCase]:
    """Cases like that of a conversation, of other conversations that this agent may see, the nearest first.

    Empty until the encoder has read the conversation, and where nothing is near enough. Check access to the
    conversation before.
    """
    asked = session.execute(
        select(Case.vector, Case.encoder, Case.language).where(Case.conversation_id == conversation_id)).one_or_none()
    if asked is None:
        return []
    rows = session.execute(
        select(Case.id, Case.vector, Case.language).join(Conversation, Conversation.id == Case.conversation_id)
        .outerjoin(Customer, Customer.id == Conversation.customer_id)
        .where(Case.solution.is_not(None), Case.encoder == asked.encoder, Case.conversation_id != conversation_id,
               Customer.erased_at.is_(None), visible_to(agent))
        .order_by(Case.solved_at.desc(), Case.id.desc()).limit(CASES_COMPARED)).all()
    if not rows:
        return []
    vectors = _vectors([asked.vector, *(row.vector for row in rows)])
    scores = likeness(vectors, [asked.language, *(row.language for row in rows)])
    nearest = [int(at) for at in np.argsort(-scores, kind="stable")[:limit] if scores[at] >= LEAST_ALIKE]
    found = {case.id: case for case in session.execute(
        select(Case).where(Case.id.in_([rows[at].id for at in nearest]))).scalars()}
    return [_solved(found[rows[at].id], float(scores[at])) for at in nearest]


def likeness(vectors: npt.NDArray[np.float32], languages: Sequence[str]) -> npt.NDArray[np.float32]:
    """How alike the first of some texts and each of the others are, from -1 to 1.

    All vectors of one language point nearly the same way; what tells texts apart is the rest. So each is seen from the
    middle of its language, where enough of the texts are in it.
    """
    rows = vectors.copy()
    of = np.asarray(languages)
    for language in set(languages):
        if (of == language).sum() >= CASES_TO_CENTRE:
            rows[of == language] -= vectors[of == language].mean(axis=0)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(lengths == 0, 1, lengths)
    return np.asarray(rows[1:] @ rows[0], dtype=np.float32)


def _vectors(stored: list[bytes]) -> npt.NDArray[np.float32]:
    joined = b"".join(bytes(vector) for vector in stored)
    return np.frombuffer(joined, dtype="<f4").astype(np.float32).reshape(len(stored), -1)


def _solved(case: Case, score: float) -> SolvedCase:
    return SolvedCase(case.conversation_id, case.language, case.matter, case.solution, case.cause, case.solved_at,
                      score)
