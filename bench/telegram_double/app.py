"""Serves the double: the Bot API under ``/bot<token>/``, the phone and what it asks under ``/phone/``."""
from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from bench.telegram_double.state import ApiError, Bot, Double

PHONE = Path(__file__).parent / "phone"
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
LOOK_SECONDS = 0.02
WEBHOOK_SECONDS = 10.0
WEBHOOK_AGAIN_SECONDS = 0.3
HEADERS = {"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                                      "img-src 'self'; base-uri 'none'; form-action 'none'",
           "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def make_app(double: Double) -> Starlette:
    """The double as an ASGI application."""
    api = _Api(double)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        posting = asyncio.create_task(api.post_updates())
        try:
            yield
        finally:
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)

    return Starlette(lifespan=lifespan, routes=[
        Route("/", lambda _: RedirectResponse("/phone/"), methods=["GET"]),
        Route("/phone/", api.page, methods=["GET"]),
        Route("/phone/chat", api.look, methods=["GET"]),
        Route("/phone/do", api.act, methods=["POST"]),
        Mount("/phone/static", StaticFiles(directory=PHONE)),
        Route("/phone/file", api.show, methods=["GET"]),
        Route("/phone/upload", api.upload, methods=["POST"]),
        Route("/file/bot{token}/documents/{file_id}", api.download, methods=["GET"]),
        Route("/bot{token}/{method}", api.call, methods=["GET", "POST"]),
    ])


class _Api:
    def __init__(self, double: Double) -> None:
        self._double = double

    async def call(self, request: Request) -> Response:
        """One call of the Bot API."""
        method = request.path_params["method"]
        try:
            bot = self._double.bot(request.path_params["token"])
            asked = await _parameters(request)
            self._double.calls.append((bot.id, method, asked))
            fault = self._double.fault_of(method)
            if fault is None:
                return _result(await self._do(bot, method, asked, request))
            result = await self._do(bot, method, asked, request) if fault.done or not fault.status else True
            fault.result = result
            await asyncio.sleep(fault.delay)
            if fault.cut:
                return _Cut()
            if fault.raw is not None:
                return Response(fault.raw, fault.status or 200)
            if not fault.status:
                return _result(result)
            told = {} if fault.retry_after is None else {"retry_after": fault.retry_after}
            raise ApiError(fault.status, {429: "Too Many Requests: retry later", 504: "Gateway Timeout"}.get(
                fault.status, f"Error {fault.status}"), **told)
        except ApiError as error:
            body: dict[str, Any] = {"ok": False, "error_code": error.code, "description": error.description}
            if error.parameters:
                body["parameters"] = error.parameters
            return JSONResponse(body, error.code)

    async def _do(self, bot: Bot, method: str, asked: dict[str, Any], request: Request) -> Any:
        double = self._double
        if method == "getMe":
            return bot.user
        if method == "getUpdates":
            return await self._get_updates(bot, asked, request)
        if method == "setWebhook":
            bot.webhook, bot.secret = str(asked.get("url", "")), str(asked.get("secret_token", ""))
            return True
        if method == "deleteWebhook":
            bot.webhook = bot.secret = ""
            if str(asked.get("drop_pending_updates")).lower() == "true":
                bot.updates.clear()
            return True
        if method == "getWebhookInfo":
            return {"url": bot.webhook, "has_custom_certificate": False, "pending_update_count": len(bot.updates)}
        if method == "getFile":
            return double.get_file(str(asked.get("file_id", "")))
        if method == "sendMessage":
            return double.send_message(bot, _int(asked, "chat_id"), str(asked.get("text", "")),
                                       _json(asked.get("reply_markup")))
        if method == "sendChatAction":
            double.refuse_chat(bot, _int(asked, "chat_id"))
            double.typing[bot.id, _int(asked, "chat_id")] = time.monotonic()
            return True
        if method == "answerCallbackQuery":
            return double.answer_callback(bot, str(asked.get("callback_query_id", "")), str(asked.get("text", "")))
        if method == "editMessageReplyMarkup":
            return double.edit_markup(bot, _int(asked, "chat_id"), _int(asked, "message_id"),
                                      _json(asked.get("reply_markup")))
        if method == "leaveChat":
            double.left.add((bot.id, _int(asked, "chat_id")))
            return True
        if method == "setMyCommands":
            bot.commands[str(asked.get("language_code", ""))] = _json(asked.get("commands"))
            return True
        raise ApiError(404, "Not Found: method not found")

    async def _get_updates(self, bot: Bot, asked: dict[str, Any], request: Request) -> list[dict[str, Any]]:
        if bot.webhook:
            raise ApiError(409, "Conflict: can't use getUpdates method while webhook is active")
        bot.polling += 1
        mine = bot.polling
        until = time.monotonic() + min(float(asked.get("timeout") or 0), 50.0)
        while True:
            found = self._double.get_updates(bot, int(asked.get("offset") or 0), int(asked.get("limit") or 100))
            if found or time.monotonic() >= until or await request.is_disconnected():
                return found
            await asyncio.sleep(LOOK_SECONDS)
            if bot.polling != mine:
                raise ApiError(409, "Conflict: terminated by other getUpdates request")

    async def download(self, request: Request) -> Response:
        """A file; faults of the method "file" strike here. Telegram's errors here are plain JSON or text."""
        try:
            bot = self._double.bot(request.path_params["token"])
        except ApiError as error:
            return JSONResponse({"ok": False, "error_code": error.code, "description": error.description}, error.code)
        file_id = request.path_params["file_id"]
        self._double.calls.append((bot.id, "file", {"file_id": file_id}))
        fault = self._double.fault_of("file")
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.cut:
                return _Cut()
            if fault.status:
                told = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                return Response(fault.raw or b"", fault.status, told)
        content = self._double.files.get(file_id) if fault is None or fault.raw is None else fault.raw
        if content is None:
            return JSONResponse({"ok": False, "error_code": 404, "description": "Not Found"}, 404)
        return Response(content, media_type="application/octet-stream")

    async def show(self, request: Request) -> Response:
        """A file, as the phone that sent it shows it."""
        content = self._double.files.get(request.query_params.get("id", ""))
        if content is None:
            return Response(status_code=404)
        return Response(content, media_type="image/png" if content.startswith(PNG) else "image/jpeg", headers=HEADERS)

    async def upload(self, request: Request) -> Response:
        """A file that the person at the phone sends."""
        if not request.headers.get("content-type", "").startswith("application/octet-stream"):
            return JSONResponse({"ok": False}, 415)
        asked, content = request.query_params, await request.body()
        bot_id, chat_id, name = int(asked["bot"]), int(asked["chat"]), asked.get("name", "")
        if bot_id not in self._double.bots:
            return JSONResponse({"ok": False, "error": "no bot has asked for updates yet"}, 409)
        if content.startswith((PNG, JPEG)):
            sent: dict[str, Any] = {"photo": [self._double.file(content, width=90, height=90)]}
        else:
            sent = {"document": self._double.file(content, file_name=name)}
        caption = {"caption": asked["caption"]} if asked.get("caption") else {}
        self._double.say(bot_id, chat_id, None, language=asked.get("language", "zh-hans"), **sent, **caption)
        return JSONResponse({"ok": True})

    def _content(self, kind: str) -> dict[str, Any]:
        """Something to send, with a small file of that kind."""
        (field, value), = _SENT[kind].items()
        if kind not in _FILES:
            return {field: value}
        if isinstance(value, list):
            return {field: [self._double.file(_FILES[kind], **each) for each in value]}
        return {field: self._double.file(_FILES[kind], **value)}

    async def post_updates(self) -> None:
        """Post what waits to the webhooks, one at a time for each bot, again until it is taken."""
        async with httpx.AsyncClient(timeout=WEBHOOK_SECONDS, trust_env=False) as client:
            while True:
                for bot in list(self._double.bots.values()):
                    if bot.webhook and bot.updates:
                        await self._post(client, bot)
                await asyncio.sleep(LOOK_SECONDS)

    async def _post(self, client: httpx.AsyncClient, bot: Bot) -> None:
        update = bot.updates[0]
        headers = {"X-Telegram-Bot-Api-Secret-Token": bot.secret} if bot.secret else {}
        try:
            answer = await client.post(bot.webhook, json=update, headers=headers)
        except httpx.HTTPError:
            await asyncio.sleep(WEBHOOK_AGAIN_SECONDS)
            return
        if answer.is_success:
            with self._double.lock:
                bot.updates.remove(update)
        else:
            await asyncio.sleep(WEBHOOK_AGAIN_SECONDS)

    async def page(self, _: Request) -> Response:
        """The phone."""
        return FileResponse(PHONE / "phone.html", headers=HEADERS)

    async def look(self, request: Request) -> Response:
        """A chat as the phone shows it."""
        chat_id = int(request.query_params.get("chat") or 0)
        bots = sorted(self._double.bots)
        bot_id = int(request.query_params.get("bot") or 0) or (bots[0] if bots else 0)
        with self._double.lock:
            messages = [dict(each) for each in self._double.messages.get((bot_id, chat_id), ())]
        typing = time.monotonic() - self._double.typing.get((bot_id, chat_id), -60.0) < 5
        return JSONResponse({"bots": bots, "bot": bot_id, "messages": messages, "typing": typing,
                             "blocked": (bot_id, chat_id) in self._double.blocked}, headers=HEADERS)

    async def act(self, request: Request) -> Response:
        """What the person at the phone does; only the page itself may ask for it."""
        if request.headers.get("content-type") != "application/json":
            return JSONResponse({"ok": False}, 415)
        asked = json.loads(await request.body())
        bot_id, chat_id = int(asked["bot"]), int(asked["chat"])
        if bot_id not in self._double.bots:
            return JSONResponse({"ok": False, "error": "no bot has asked for updates yet"}, 409)
        language = str(asked.get("language", "zh-hans"))
        what = asked["do"]
        if what == "say":
            self._double.say(bot_id, chat_id, str(asked["text"]), language=language)
        elif what == "send":
            self._double.say(bot_id, chat_id, None, language=language, **self._content(asked["kind"]))
        elif what == "edit":
            self._double.edit(bot_id, chat_id, int(asked["message"]), str(asked["text"]))
        elif what == "press":
            self._double.press(bot_id, chat_id, int(asked["message"]), str(asked["data"]), language)
        elif what == "block":
            self._double.block(bot_id, chat_id, blocked=bool(asked["blocked"]))
        return JSONResponse({"ok": True})


_SENT: dict[str, dict[str, Any]] = {
    "photo": {"photo": [{"width": 90, "height": 90}]},
    "voice": {"voice": {"duration": 3, "mime_type": "audio/ogg"}},
    "document": {"document": {"file_name": "invoice.pdf", "mime_type": "application/pdf"}},
    "sticker": {"sticker": {"width": 512, "height": 512, "type": "regular", "is_animated": False, "is_video": False,
                            "emoji": "👍"}},
    "location": {"location": {"latitude": 31.23, "longitude": 121.47}},
}
_FILES = {
    "photo": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAFoAAAA8CAIAAABpZzoSAAAAY0lEQVR42u3QQQEAQAQAsHNpRBRRLC8pbBEWXflYX4EOHTp06NChQ4cOHTp06NCh"
        "Q4cOHTrQoUOHDh06dOjQoUOHDh06dOjQoUOHDnTo0KFDhw4dOnTo0KFDhw4dOnTo0HHXAHf8AeCaB2+eAAAAAElFTkSuQmCC"),
    "voice": b"OggS" + bytes(60), "document": b"%PDF-1.4\n%%EOF\n",
    "sticker": base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="),
}


class _Cut(Response):
    """No answer: the connection ends in the middle of the call."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        receive.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn's, which ASGI does not show
        while (await receive())["type"] != "http.disconnect":
            pass


async def _parameters(request: Request) -> dict[str, Any]:
    """The parameters of a call, from wherever Telegram takes them."""
    found: dict[str, Any] = dict(request.query_params)
    if request.method == "POST":
        kind = request.headers.get("content-type", "")
        if kind.startswith("application/json"):
            found.update(json.loads(await request.body() or b"{}"))
        else:
            found.update(await request.form())
    return found


def _int(asked: dict[str, Any], name: str) -> int:
    try:
        return int(asked[name])
    except (KeyError, TypeError, ValueError):
        raise ApiError(400, f"Bad Request: {name} is empty") from None


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value else value or None


def _result(result: Any) -> Response:
    return JSONResponse({"ok": True, "result": result})
