"""The double of the Bot API in a thread of its own, which can go away and come back on its port."""
from __future__ import annotations

import threading
import time

import uvicorn

from bench.chaos.verdict import Taken
from bench.processes import free_ports
from bench.telegram_double import Double, make_app


class ServedDouble:
    """Serves a double; what it knows survives a restart, its connections do not."""

    def __init__(self, double: Double) -> None:
        """Serve at once."""
        self.double, self.port = double, free_ports(1)[0]
        self.start()

    @property
    def base(self) -> str:
        """Base URL of the Bot API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Accept connections."""
        self._server = uvicorn.Server(uvicorn.Config(
            make_app(self.double), host="127.0.0.1", port=self.port, log_level="critical", access_log=False, ws="none",
            timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError(f"the double cannot be served on port {self.port}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Break every connection and accept no more."""
        self._server.should_exit = True
        self._thread.join(20)

    def taken(self, bot_id: int) -> dict[int, list[Taken]]:
        """What was taken from a bot, by chat, in order."""
        with self.double.lock:
            return {chat_id: [Taken(each["message_id"], each["text"],
                                    self.double.taken_at[bot_id, chat_id, each["message_id"]])
                              for each in messages if each["from"]["is_bot"]]
                    for (bot, chat_id), messages in self.double.messages.items() if bot == bot_id}
