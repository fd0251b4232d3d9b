"""What the channels refuse, and the one shape in which they say it: ``{"error", "message", "field"?}``."""
from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from crm_store.errors import InvalidMessage
from crm_store.rules.text import MESSAGE_LIMIT

log = logging.getLogger(__name__)

DISCARDED = 1024 * 1024  # of a body too large, so that the sender is still there to read the answer


class Problem(Exception):
    """A refusal, worded for the programmer who reads it; the chat page has words of its own for each code."""

    def __init__(self, status: int, code: str, message: str, *, field: str | None = None,
                 headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer."""
        body = {"error": self.code, "message": self.message}
        if self.field is not None:
            body["field"] = self.field
        return JSONResponse(body, self.status, self.headers)


class ProblemOut(BaseModel):
    """A refusal."""

    error: str = Field(description="A code for programs")
    message: str = Field(description="Words for people")
    field: str | None = Field(None, description="The field that cannot be accepted")


def unauthorized() -> Problem:
    """The token is missing or wrong."""
    return Problem(401, "unauthorized", "a valid bearer token is required", headers={"WWW-Authenticate": "Bearer"})


def cross_site() -> Problem:
    """Another site made the browser send this."""
    return Problem(403, "cross_site", "requests from other sites are refused")


def too_large(message: str, field: str | None = None) -> Problem:
    """The text or the whole request is too long."""
    return Problem(413, "too_long", message, field=field)


def invalid(field: str, message: str, code: str = "invalid") -> Problem:
    """A field cannot be accepted."""
    return Problem(422, code, message, field=field)


def rate_limited(seconds: int) -> Problem:
    """The sender sends too much."""
    return Problem(429, "rate_limited", f"too many messages; try again in {seconds} s",
                   headers={"Retry-After": str(seconds)})


def unavailable() -> Problem:
    """The store cannot be reached: nothing was kept, and the same request may be sent again."""
    return Problem(503, "unavailable", "the store cannot be reached; send the same again in a moment",
                   headers={"Retry-After": "1"})


def problem_for(error: InvalidMessage, names: Mapping[str, str]) -> Problem:
    """The refusal that a message becomes which the store does not accept; ``names`` are the fields' names outside."""
    field = error.data.get("field", "text")
    field, reason = names.get(field, field), error.data.get("reason")
    if reason == "empty":
        return invalid(field, f"{field} must not be empty", "empty")
    if reason == "too_long":
        message = f"{field} may have at most {error.data['limit']} characters"
        return too_large(message, field) if field == "text" else invalid(field, message)
    return invalid(field, f"{field} has characters that cannot be stored")


class GatewayRoute(APIRoute):
    """A route that words refusals in the one shape."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The route's handler inside the translation of errors."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                response: Response = await inner(request)
            except Problem as problem:
                response = problem.response()
            except RequestValidationError as error:
                response = _worded(error.errors()[0]).response()
            except (OperationalError, InterfaceError):
                log.exception("the store cannot be reached")
                response = unavailable().response()
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            return response

        return handle


async def body_of(request: Request, limit: int) -> bytes:
    """The body of a request, unless it is larger than ``limit`` bytes, announced or not.

    Raises:
        Problem: 413.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:18]) > DISCARDED:
        raise too_large(f"a request may have at most {limit} bytes")
    body, size = bytearray(), 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                body += part
            elif size > DISCARDED:
                break
    except ClientDisconnect as error:
        raise Problem(400, "disconnected", "the request ended early") from error
    if size > limit:
        raise too_large(f"a request may have at most {limit} bytes; a message has at most {MESSAGE_LIMIT} characters")
    return bytes(body)


async def json_object_of(request: Request, limit: int) -> dict[str, Any]:
    """The JSON object in a request.

    Raises:
        Problem: 413, or 422 where there is no JSON object.
    """
    try:
        body = json.loads(await body_of(request, limit))
    except (ValueError, RecursionError) as error:
        raise invalid("body", "the body must be JSON", "invalid_json") from error
    if not isinstance(body, dict):
        raise invalid("body", "the body must be a JSON object", "invalid_json")
    return body


def refuse_invalid(error: ValidationError) -> Problem:
    """The refusal that a body becomes which has the wrong fields."""
    return _worded(error.errors()[0])


def _worded(first: Mapping[str, Any]) -> Problem:
    field = str(first["loc"][-1])
    if first["type"] == "value_error.missing":
        return invalid(field, f"{field} is required", "missing")
    return invalid(field, f"{field}: {first['msg']}")
