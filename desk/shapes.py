"""The shapes of the desk's JSON API: what it takes and what it gives."""
from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConstrainedInt, Extra, Field, validator

from crm_store.models.base import LARGEST_ID
from crm_store.rules.intents import INTENTS
from crm_store.rules.text import MESSAGE_LIMIT
from crm_store.services.complaints import REASON_LIMIT
from crm_store.services.transfer import NOTE_LIMIT

CAUSES = ("solved", "explained", "compensated", "no_answer", "not_ours", "spam")


class ObjectId(ConstrainedInt):
    """An id that some object may have."""

    strict, gt, le = True, 0, LARGEST_ID


class Taken(BaseModel):
    """A request body; fields it does not know are refused."""

    class Config:
        extra = Extra.forbid


class LoginIn(Taken):
    """Who logs in."""

    login: str = Field(min_length=1, max_length=60)
    password: str = Field(min_length=1, max_length=200)


class TextIn(Taken):
    """A reply or a note."""

    text: str = Field(min_length=1, max_length=MESSAGE_LIMIT, description="Plain text; blank text is refused")


class WritingIn(TextIn):
    """A reply or a note that is stored once, however often it is sent."""

    idempotency_key: str | None = Field(
        None, min_length=8, max_length=80,
        description="Names this writing, a random id at best; the same again stores nothing and gives what there is")


class TransferIn(Taken):
    """To whom a conversation goes: one of the two."""

    to_agent_id: ObjectId | None = Field(None, description="A colleague")
    to_team_id: ObjectId | None = Field(None, description="A team")
    note: str = Field("", max_length=NOTE_LIMIT, description="Why, and what the next one must know; for colleagues")


class GradeIn(Taken):
    """A complaint's new grade."""

    grade: Literal["ordinary", "complex", "major"]
    reason: str = Field(min_length=1, max_length=REASON_LIMIT, description="Kept in the thread and the audit log")


class ResolveIn(Taken):
    """How the conversation ended."""

    cause: Literal["solved", "explained", "compensated", "no_answer", "not_ours", "spam"] = "solved"


class SnoozeIn(Taken):
    """Until when to wait; for the customer's next message where it is left out."""

    until: datetime | None = Field(None, description="With its offset from UTC")


class CorrectionIn(Taken):
    """What a message is, where the bot read it otherwise; a field that is left out stays, null takes it back."""

    angry: bool | None = Field(None, description="Whether the customer is angry at the shop in this message")
    intent: str | None = Field(None, description="What the message is about, by an intent's name")

    @validator("intent")
    def known(cls, intent: str | None) -> str | None:
        """Refuse what is no intent."""
        if intent is not None and intent not in INTENTS:
            raise ValueError("no such intent")
        return intent


class AvailabilityIn(Taken):
    """Whether the agent takes new conversations."""

    available: bool


class ProblemOut(BaseModel):
    """Every refusal."""

    error: str = Field(description="Names the refusal for programs")
    message: str = Field(description="Says it to people")
    field: str | None = Field(None, description="The field that cannot be accepted")
    owner: str | None = Field(None, description="With 409: who has the conversation; null is the bot")


class AgentOut(BaseModel):
    """An agent."""

    id: int
    login: str
    name: str
    role: Literal["agent", "lead", "manager", "admin"]
    team: str
    languages: list[str]
    capacity: int
    available: bool
    interface_language: Literal["zh", "en"]


class LoginOut(BaseModel):
    """A new session."""

    token: str
    agent: AgentOut


class MeOut(BaseModel):
    """Who is logged in."""

    agent: AgentOut


class PersonOut(BaseModel):
    """A colleague, as others see them."""

    id: int
    name: str


class QueueRowOut(BaseModel):
    """A conversation that waits for a human."""

    conversation_id: int
    ticket_number: str | None
    kind: str | None
    grade: str | None
    reason: str | None
    reason_anger: float | None
    customer_name: str | None
    tier: str | None
    channel: str
    language: str
    anger: float | None
    valence: str | None
    due_at: datetime | None
    promise: str | None
    breached: bool
    assignee_id: int | None
    assignee_name: str | None
    last_text: str
    last_at: datetime | None
    status: str
    version: int
    snoozed_until: datetime | None


class CountsOut(BaseModel):
    """How many conversations each view of the queue has."""

    mine: int
    all: int
    due: int
    snoozed: int


class QueueOut(BaseModel):
    """The queue, the next due first."""

    view: Literal["all", "mine", "due", "snoozed"]
    counts: CountsOut
    conversations: list[QueueRowOut]


class ConversationOut(BaseModel):
    """A conversation and who has it."""

    id: int
    status: Literal["pending", "open", "snoozed", "resolved"]
    version: int
    owner: Literal["bot", "human"]
    assignee: PersonOut | None
    channel: str
    language: str
    anger: float | None
    customer_name: str | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None


class ButtonOut(BaseModel):
    """A quick reply that was offered."""

    title: str
    payload: str


class ArticleOut(BaseModel):
    """An article the bot thought near."""

    slug: str
    score: float | None


class UnderstoodOut(BaseModel):
    """What the bot read in a message."""

    intent: str | None
    confidence: float | None
    language: str | None
    articles: list[ArticleOut]


class CorrectedOut(BaseModel):
    """What agents said of a message; null where nobody said anything."""

    angry: bool | None
    intent: str | None


class AttachmentOut(BaseModel):
    """What a customer sent with a message or instead of one."""

    kind: str
    name: str
    size: int
    state: Literal["waiting", "kept", "refused"]
    reason: str | None = Field(description="Why it is refused")
    image: bool = Field(description="Its content is proven to be a picture")
    url: str | None = Field(description="Where its file is; null without one")
    latitude: float | None
    longitude: float | None


class MessageOut(BaseModel):
    """A message or a note; a note is never sent."""

    id: int
    direction: Literal["incoming", "outgoing", "note"]
    author: Literal["customer", "bot", "agent", "system"]
    agent: PersonOut | None
    text: str
    buttons: list[ButtonOut]
    created_at: datetime
    understood: UnderstoodOut | None
    anger: float | None
    valence: str | None
    corrected: CorrectedOut
    delivery_state: str | None
    attachments: list[AttachmentOut]


class ClockOut(BaseModel):
    """A promise."""

    promise: str
    due_at: datetime
    state: str


class TicketOut(BaseModel):
    """A ticket of the conversation."""

    id: int
    number: str
    kind: str
    grade: str | None
    status: str
    stage: Literal["received", "taken_up", "proposal", "resolved"]
    reason: str | None
    summary: str
    clocks: list[ClockOut]


class OrderOut(BaseModel):
    """An order of the customer."""

    number: str
    status: str
    total_fen: int
    placed_at: datetime


class ComplaintOut(BaseModel):
    """A complaint of the customer."""

    number: str
    status: str
    grade: str | None
    summary: str
    opened_at: datetime


class IdentityOut(BaseModel):
    """A channel on which the customer is known."""

    channel: str
    external_id: str


class MoodOut(BaseModel):
    """The highest anger of a day."""

    day: date
    anger: float


class CustomerOut(BaseModel):
    """The customer's card; personal data is masked below managers."""

    id: int
    number: str
    name: str
    tier: str
    language: str
    points: int
    spend_365_fen: int
    phone: str | None
    email: str | None
    address: str | None
    orders: list[OrderOut]
    complaints: list[ComplaintOut]
    mood: list[MoodOut]
    consents: dict[str, bool | None]
    identities: list[IdentityOut]


class ThreadOut(BaseModel):
    """A conversation with all there is to it."""

    conversation: ConversationOut
    messages: list[MessageOut]
    customer: CustomerOut | None
    tickets: list[TicketOut]


class ActionOut(BaseModel):
    """The conversation after what was done to it."""

    conversation: ConversationOut


class WrittenOut(ActionOut):
    """What was written, and the conversation after it."""

    message: MessageOut


class GradedOut(ActionOut):
    """The complaint with its grade, and the conversation after it."""

    ticket: TicketOut


class ProposedOut(WrittenOut):
    """The proposal as it was sent, its complaint, and the conversation after it."""

    ticket: TicketOut


class TeamTargetOut(BaseModel):
    """A team that a conversation can go to."""

    id: int
    name: str
    level: Literal["front_line", "experts", "management"]
    free_count: int = Field(description="How many of its agents could be given the conversation now")


class AgentTargetOut(PersonOut):
    """A colleague who can be given a conversation."""

    role: Literal["agent", "lead", "manager", "admin"]
    team_id: int
    team_name: str
    languages: list[str]
    available: bool
    open_count: int
    capacity: int
    free: bool = Field(description="Available, below capacity, and speaks the conversation's language")


class TargetsOut(BaseModel):
    """Everybody a conversation can be passed on to, who is free first."""

    teams: list[TeamTargetOut]
    agents: list[AgentTargetOut]


class CorrectionOut(BaseModel):
    """What holds of a message after a correction."""

    message_id: int
    corrected: CorrectedOut
