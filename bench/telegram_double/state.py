"""What Telegram would know: bots, chats, messages, and the updates that wait for each bot."""
from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

TEXT_LIMIT = 4096
DATA_LIMIT = 64
FILE_LIMIT = 20 * 1024 * 1024
TOKEN = re.compile(r"(\d{1,15}):[A-Za-z0-9_-]{10,}")


class ApiError(Exception):
    """What Telegram answers instead of a result."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


@dataclass
class Fault:
    """What goes wrong with the next call of a method.

    Attributes:
        method: which method.
        status: the answer's status; 0 answers as usual.
        retry_after: seconds, of a 429.
        delay: seconds to wait before answering.
        done: whether the method is carried out all the same.
        raw: a body that is no JSON, instead of the usual one.
        cut: whether the connection is cut instead of answering.
        result: what the method gave where it was carried out; the double sets it.
    """

    method: str
    status: int = 0
    retry_after: int | None = None
    delay: float = 0.0
    done: bool = False
    raw: bytes | None = None
    cut: bool = False
    result: Any = None


@dataclass
class Bot:
    """One bot: what waits for it, and where it wants it."""

    id: int
    token: str
    updates: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: int = 0
    webhook: str = ""
    secret: str = ""
    polling: int = 0
    update_ids: Iterator[int] = field(default_factory=lambda: count(1000))
    commands: dict[str, Any] = field(default_factory=dict)

    @property
    def user(self) -> dict[str, Any]:
        """The bot as Telegram shows it."""
        return {"id": self.id, "is_bot": True, "first_name": f"Bot {self.id}", "username": f"double_{self.id}_bot",
                "can_join_groups": True, "can_read_all_group_messages": False, "supports_inline_queries": False}


class Double:
    """Telegram, in memory. Safe to use from the thread of a test while it is served in another.

    Attributes:
        calls: every call that came in: the bot's id, the method, the parameters.
        faults: what goes wrong next, in order for each method.
        chance: asked what goes wrong with a call for which no fault waits.
        taken_at: when each message of a bot was taken, by bot, chat and message id; seconds since the epoch.
        files: what can be downloaded, by the file's id.
        messages: by bot and chat, every message that is still there, in order.
    """

    def __init__(self, tokens: Sequence[str] = ()) -> None:
        """``tokens``: the only ones that are accepted; any well-formed one where there are none."""
        self._tokens = set(tokens)
        self.lock = threading.RLock()
        self.bots: dict[int, Bot] = {}
        self.calls: list[tuple[int, str, dict[str, Any]]] = []
        self.faults: list[Fault] = []
        self.chance: Callable[[str], Fault | None] = lambda method: None
        self.taken_at: dict[tuple[int, int, int], float] = {}
        self.files: dict[str, bytes] = {}
        self.messages: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self.blocked: set[tuple[int, int]] = set()
        self.typing: dict[tuple[int, int], float] = {}
        self.answers: dict[str, str] = {}
        self.left: set[tuple[int, int]] = set()
        self._callbacks: dict[str, int] = {}
        self._message_ids: dict[tuple[int, int], Iterator[int]] = {}
        self._numbers = count(1)

    def bot(self, token: str) -> Bot:
        """The bot of a token.

        Raises:
            ApiError: 401 or 404, as at Telegram.
        """
        found = TOKEN.fullmatch(token)
        if found is None:
            raise ApiError(404, "Not Found")
        if self._tokens and token not in self._tokens:
            raise ApiError(401, "Unauthorized")
        with self.lock:
            bot = self.bots.setdefault(int(found[1]), Bot(int(found[1]), token))
        if bot.token != token:
            raise ApiError(401, "Unauthorized")
        return bot

    def fault_of(self, method: str) -> Fault | None:
        """What goes wrong with this call; it does so once."""
        with self.lock:
            for fault in self.faults:
                if fault.method == method:
                    self.faults.remove(fault)
                    return fault
            return self.chance(method)

    def sent(self, bot_id: int, chat_id: int) -> list[dict[str, Any]]:
        """What the bot has said in a chat."""
        with self.lock:
            return [dict(each) for each in self.messages.get((bot_id, chat_id), ()) if each["from"]["is_bot"]]

    def texts(self, bot_id: int, chat_id: int) -> list[str]:
        """The texts that the bot has said in a chat."""
        return [each["text"] for each in self.sent(bot_id, chat_id)]

    # What a person does

    def say(self, bot_id: int, chat_id: int, text: str | None, *, language: str = "zh-hans", chat_type: str = "private",
            **content: Any) -> dict[str, Any]:
        """Somebody writes, or sends something else (``photo=[…]``, ``sticker={…}``) with or without a caption."""
        message = self._message(bot_id, chat_id, person(chat_id, language), chat_type)
        message.update({**({} if text is None else {"text": text}), **content})
        with self.lock:
            self.messages[bot_id, chat_id].append(message)
        return self.update(bot_id, message=dict(message))

    def file(self, content: bytes, **more: Any) -> dict[str, Any]:
        """A file as it stands in a message; its content can be downloaded."""
        with self.lock:
            number = next(self._numbers)
            self.files[f"file-{number}"] = content
        return {"file_id": f"file-{number}", "file_unique_id": str(number), "file_size": len(content), **more}

    def edit(self, bot_id: int, chat_id: int, message_id: int, text: str) -> dict[str, Any]:
        """Somebody changes what they wrote."""
        with self.lock:
            message = next(each for each in self.messages[bot_id, chat_id] if each["message_id"] == message_id)
            message.update(text=text, edit_date=int(time.time()))
            return self.update(bot_id, edited_message=dict(message))

    def press(self, bot_id: int, chat_id: int, message_id: int, data: str, language: str = "zh-hans") -> dict[str, Any]:
        """Somebody presses a button."""
        with self.lock:
            message = next((dict(each) for each in self.messages.get((bot_id, chat_id), ())
                            if each["message_id"] == message_id),
                           {"message_id": message_id, "chat": chat_of(chat_id), "date": 0})
            callback_id = str(10**17 + next(self._numbers))
            self._callbacks[callback_id] = bot_id
        return self.update(bot_id, callback_query={
            "id": callback_id, "from": person(chat_id, language), "message": message, "chat_instance": str(chat_id),
            "data": data})

    def block(self, bot_id: int, chat_id: int, *, blocked: bool = True) -> dict[str, Any]:
        """Somebody blocks the bot, or lets it write again."""
        (self.blocked.add if blocked else self.blocked.discard)((bot_id, chat_id))
        member, kicked = {"status": "member"}, {"status": "kicked", "until_date": 0}
        user = self.bots[bot_id].user
        return self.update(bot_id, my_chat_member={
            "chat": chat_of(chat_id), "from": person(chat_id), "date": int(time.time()),
            "old_chat_member": {**(member if blocked else kicked), "user": user},
            "new_chat_member": {**(kicked if blocked else member), "user": user}})

    def update(self, bot_id: int, **update: Any) -> dict[str, Any]:
        """Have an update wait for the bot, whatever is in it."""
        with self.lock:
            bot = self.bots[bot_id]
            made = {"update_id": next(bot.update_ids), **update}
            bot.updates.append(made)
            return made

    def again(self, bot_id: int, update: dict[str, Any]) -> None:
        """Have an update come once more, as Telegram does when it missed the acknowledgement."""
        with self.lock:
            bot = self.bots[bot_id]
            bot.acknowledged = min(bot.acknowledged, update["update_id"])
            bot.updates.append(update)

    # What a bot does

    def get_updates(self, bot: Bot, offset: int, limit: int = 100) -> list[dict[str, Any]]:
        """What waits from ``offset`` on; what is before it is acknowledged and gone."""
        with self.lock:
            if offset > 0:
                bot.updates = [each for each in bot.updates if each["update_id"] >= offset]
            return bot.updates[:limit]

    def get_file(self, file_id: str) -> dict[str, Any]:
        """Where a file can be downloaded.

        Raises:
            ApiError: 400; there is none, or it is larger than bots get.
        """
        content = self.files.get(file_id)
        if content is None:
            raise ApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        if len(content) > FILE_LIMIT:
            raise ApiError(400, "Bad Request: file is too big")
        return {"file_id": file_id, "file_unique_id": file_id, "file_size": len(content),
                "file_path": f"documents/{file_id}"}

    def send_message(self, bot: Bot, chat_id: int, text: str, markup: dict[str, Any] | None) -> dict[str, Any]:
        """The bot says something.

        Raises:
            ApiError: as Telegram refuses it.
        """
        self.refuse_chat(bot, chat_id)
        if not text.strip():
            raise ApiError(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > TEXT_LIMIT:
            raise ApiError(400, "Bad Request: message is too long")
        for row in (markup or {}).get("inline_keyboard", ()):
            for button in row:
                if not 0 < len(str(button.get("callback_data", "")).encode()) <= DATA_LIMIT:
                    raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
        message = self._message(bot.id, chat_id, bot.user)
        message["text"] = text
        if markup:
            message["reply_markup"] = markup
        with self.lock:
            self.messages[bot.id, chat_id].append(message)
            self.taken_at[bot.id, chat_id, message["message_id"]] = time.time()
            self.typing.pop((bot.id, chat_id), None)
        return message

    def refuse_chat(self, bot: Bot, chat_id: int) -> None:
        """Refuse a chat that never wrote to the bot, or that blocked it.

        Raises:
            ApiError: 400 or 403.
        """
        if (bot.id, chat_id) in self.blocked:
            raise ApiError(403, "Forbidden: bot was blocked by the user")
        if (bot.id, chat_id) in self.left:
            raise ApiError(403, "Forbidden: bot is not a member of the group chat")
        if (bot.id, chat_id) not in self.messages:
            raise ApiError(400, "Bad Request: chat not found")

    def edit_markup(self, bot: Bot, chat_id: int, message_id: int, markup: dict[str, Any] | None) -> dict[str, Any]:
        """The bot changes the buttons of a message.

        Raises:
            ApiError: 400 where there is no such message, or nothing changes.
        """
        self.refuse_chat(bot, chat_id)
        with self.lock:
            for message in self.messages[bot.id, chat_id]:
                if message["message_id"] == message_id and message["from"]["id"] == bot.id:
                    if message.get("reply_markup") == markup:
                        raise ApiError(400, "Bad Request: message is not modified")
                    message.pop("reply_markup", None)
                    if markup:
                        message["reply_markup"] = markup
                    return dict(message)
        raise ApiError(400, "Bad Request: message to edit not found")

    def answer_callback(self, bot: Bot, callback_id: str, text: str) -> bool:
        """The bot answers a press; once.

        Raises:
            ApiError: 400 where there was none, or it was answered.
        """
        with self.lock:
            if self._callbacks.pop(callback_id, None) != bot.id:
                raise ApiError(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
            self.answers[callback_id] = text
        return True

    def _message(self, bot_id: int, chat_id: int, author: dict[str, Any], chat_type: str = "private") -> dict[str, Any]:
        with self.lock:
            self.messages.setdefault((bot_id, chat_id), [])
            number = next(self._message_ids.setdefault((bot_id, chat_id), count(1)))
        return {"message_id": number, "from": author, "chat": chat_of(chat_id, chat_type), "date": int(time.time())}


def person(chat_id: int, language: str = "zh-hans") -> dict[str, Any]:
    """Whoever writes in a private chat."""
    return {"id": abs(chat_id), "is_bot": False, "first_name": f"Person {abs(chat_id)}", "language_code": language}


def chat_of(chat_id: int, kind: str = "private") -> dict[str, Any]:
    """A chat as Telegram shows it."""
    named = {"first_name": f"Person {chat_id}"} if kind == "private" else {"title": "Group"}
    return {"id": chat_id, "type": kind, **named}
