"""What the desk refuses, and how it says so: one error shape with its status."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crm_store import errors


class Problem(Exception):
    """A refusal. ``code`` names it for programs; people read the wording of the same name."""

    code = "failed"
    status = 400

    def __init__(self, *, owner: str | None = None, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(self.code)
        self.owner = owner
        self.field = field
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class NotLoggedIn(Problem):
    """Nobody is logged in."""

    code, status = "not_logged_in", 401

    @property
    def headers(self) -> dict[str, str]:
        """How to log in, as RFC 9110 asks of a 401."""
        return {"WWW-Authenticate": "Bearer"}


class WrongLogin(NotLoggedIn):
    """The login or the password is wrong."""

    code = "wrong_login"


class Forbidden(Problem):
    """The agent's role does not allow it."""

    code, status = "forbidden", 403


class AboveLimit(Forbidden):
    """It is more than the agent's role may give."""

    code = "above_limit"


class CrossSite(Problem):
    """Another site made the browser send this."""

    code, status = "cross_site", 403


class Missing(Problem):
    """There is no such thing, or the one who asks may not see it."""

    code, status = "not_found", 404


class Conflict(Problem):
    """The conversation is not in a state that allows this."""

    code, status = "wrong_state", 409


class CodeUnknown(Conflict):
    """The customer has no such code."""

    code = "code_unknown"


class CodeUsed(Conflict):
    """The code was used before."""

    code = "code_used"


class CodeCancelled(Conflict):
    """The code was cancelled before."""

    code = "code_cancelled"


class Claimed(Conflict):
    """A colleague has claimed the conversation."""

    code = "already_claimed"


class Owned(Conflict):
    """Somebody else owns the conversation."""

    code = "not_owner"


class Stale(Conflict):
    """The conversation changed hands meanwhile."""

    code = "stale_version"


class TooLarge(Problem):
    """The request is larger than anything the desk takes."""

    code, status = "too_large", 413


class Invalid(Problem):
    """A field cannot be accepted; ``field`` names it."""

    code, status = "invalid", 422


class Empty(Invalid):
    """The text is empty."""

    code = "empty"


class TooLong(Invalid):
    """The text is too long."""

    code = "too_long"


class Throttled(Problem):
    """Too many attempts."""

    code, status = "throttled", 429


def problem_for(error: errors.CrmError) -> Problem:
    """The refusal that an error of the CRM store becomes."""
    data: Mapping[str, Any] = error.data
    if isinstance(error, errors.NotFound):
        return Missing()
    if isinstance(error, errors.NotAllowed):
        return Forbidden()
    if isinstance(error, errors.AlreadyClaimed):
        return Claimed(owner=data.get("owner_name"))
    if isinstance(error, errors.NotOwner):
        return Owned(owner=data.get("owner_name"))
    if isinstance(error, errors.StaleVersion):
        return Stale()
    if isinstance(error, errors.WrongState):
        return Conflict()
    if isinstance(error, errors.TooManyAttempts):
        return Throttled(retry_after=900)
    if isinstance(error, errors.InvalidMessage):
        kind = {"empty": Empty, "too_long": TooLong}.get(data.get("reason", ""), Invalid)
        return kind(field=data.get("field"))
    raise error
