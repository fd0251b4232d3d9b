"""The way to the actions server: one kept-alive connection, small requests, and no silent failure."""
from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
from rasa.utils.endpoints import ClientResponseError, EndpointConfig

from bot.turn import running_turn

logger = logging.getLogger(__name__)

PAUSES = (0.05, 0.15, 0.4)  # seconds before another try where nobody answers: a restart takes a moment
TIMEOUT_SECONDS = 8.0  # the gateway gives up on a turn after 10
TURNS_SENT = 4  # actions look back at most three turns
ANSWERED_BY_OTHER_MEANS = 400  # an action that refuses to run; Rasa lets another policy decide


class ActionEndpoint(EndpointConfig):  # type: ignore[misc]
    """Rasa's action endpoint, with the failures of a turn made visible.

    Rasa logs an action that failed and says nothing to the customer. Here a server that cannot be reached, or one that
    answers with an error, marks the running turn as failed.
    """

    @classmethod
    def like(cls, endpoint: EndpointConfig) -> ActionEndpoint:
        """The same endpoint, done our way."""
        return cls(endpoint.url, endpoint.params, endpoint.headers, endpoint.basic_auth, endpoint.token,
                   endpoint.token_name, endpoint.cafile, **endpoint.kwargs)

    _connection: aiohttp.ClientSession | None = None

    def _connected(self) -> aiohttp.ClientSession:
        if self._connection is None or self._connection.closed:
            self._connection = aiohttp.ClientSession(
                headers=self.headers, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
                connector=aiohttp.TCPConnector(limit=100),
            )
        return self._connection

    async def request(
        self, method: str = "post", subpath: str | None = None, content_type: str | None = "application/json",
        compress: bool = False, **kwargs: Any,
    ) -> Any:
        """Run an action and return what the server answered.

        Trying again is safe: actions are idempotent by message.

        Raises:
            ClientResponseError: the server answered with an error.
            aiohttp.ClientConnectionError: nobody answered, also not after some tries.
        """
        body = kwargs.get("json")
        if isinstance(body, dict):
            shorten(body)
        turn = running_turn()
        try:
            return await self._ask(method, body)
        except ClientResponseError as error:
            if turn is not None and error.status != ANSWERED_BY_OTHER_MEANS:
                turn.fail(f"the actions server answered {error.status}")
            raise
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            if turn is not None:
                turn.fail(f"the actions server did not answer: {type(error).__name__}")
            raise

    async def _ask(self, method: str, body: Any) -> Any:
        for pause in (*PAUSES, None):
            try:
                async with self._connected().request(
                    method, self.url, json=body, params=self.combine_parameters()
                ) as response:
                    if response.status >= 400:
                        # The body of an error repeats the request: only a refusal's own, short one is passed on.
                        refusal = await response.read() if response.status == ANSWERED_BY_OTHER_MEANS else b"{}"
                        raise ClientResponseError(response.status, str(response.reason), refusal)
                    return await response.json()
            except aiohttp.ClientConnectionError:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")


def shorten(request: dict[str, Any]) -> None:
    """Leave only the last turns in the request: an action reads the present, and history is in the CRM store."""
    tracker = request.get("tracker") or {}
    events = tracker.get("events")
    if not events:
        return
    starts = [at for at, event in enumerate(events) if event["event"] == "user"]
    if len(starts) > TURNS_SENT:
        cut = starts[-TURNS_SENT]
        forms = [event for event in events[:cut] if event["event"] == "active_loop"]
        tracker["events"] = forms[-1:] + events[cut:]
    for event in tracker["events"]:
        if event["event"] == "user":
            event.pop("parse_data", None)  # of the newest it is latest_message as well
            event["metadata"] = {}
