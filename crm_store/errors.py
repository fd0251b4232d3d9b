"""Errors of the CRM store. The docstring is the default message; the data is on the exception."""
from __future__ import annotations

from typing import Any


class CrmError(Exception):
    """Something in the CRM store could not be done."""

    def __init__(self, message: str | None = None, **data: Any) -> None:
        """Keep ``data`` as attributes, for the boundary that chooses the words."""
        super().__init__(message or (self.__doc__ or "").strip())
        self.data = data
        for name, value in data.items():
            setattr(self, name, value)


class NotFound(CrmError):
    """There is no such object, or the one who asks may not see it."""


class NotAllowed(CrmError):
    """The one who asks may not do this."""


class NotOwner(CrmError):
    """Somebody else owns the conversation."""


class AlreadyClaimed(NotOwner):
    """A colleague has claimed the conversation."""


class StaleVersion(CrmError):
    """The conversation changed hands since it was read."""


class WrongState(CrmError):
    """The conversation or ticket is not in a state that allows this."""


class InvalidMessage(CrmError):
    """The message cannot be accepted."""


class FileTooLarge(CrmError):
    """The file is larger than allowed."""


class InsufficientPoints(CrmError):
    """The balance is smaller than the cost."""


class OutOfStock(CrmError):
    """The reward is out of stock."""


class KeyReused(CrmError):
    """The idempotency key names something else already."""


class TierTooLow(CrmError):
    """The reward is kept for a higher tier."""


class EmptyCalendar(CrmError):
    """The business calendar has no working time."""


class TooManyAttempts(CrmError):
    """Too many attempts; wait before the next."""


class ImportUnderWay(CrmError):
    """Another process is importing the same file."""
