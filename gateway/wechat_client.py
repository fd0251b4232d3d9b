"""Speaks to WeChat's API: buys access tokens, sends customer-service messages, tells what became of them.

wechatpy's own client blocks and raises one exception for everything, so httpx speaks here. The access token is part of
every address: nothing here logs an address or an exception's text, and the AppSecret travels in a body only.
"""
from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from crm_store.attachment_files import Writing
from crm_store.services.delivery import Parcel
from gateway.channel import NotSent, Outcome, Refused, RetryAfter, Sent, Unknown, Unreachable
from gateway.channel_files import NotFetched
from gateway.delivery import Pace
from gateway.pieces import split_text
from gateway.wechat_envelope import Account
from gateway.wechat_words import words

CHANNEL = "wechat"
OFFICIAL_API = "https://api.weixin.qq.com"
PIECE_LIMIT = 2048  # bytes of UTF-8
BUTTONS_AT_MOST = 100  # a choice is a number: the message's, and two digits for which it is
PER_SECOND, BETWEEN_SECONDS = 50.0, 0.2
SEND_SECONDS, CONNECT_SECONDS = 20.0, 5.0
TOKEN_SPARE_SECONDS = 300.0  # an old access token lives on for five minutes beside the new one
QUOTA_SECONDS, MINUTE_SECONDS = 600.0, 60.0
SENT, BUSY = 0, -1
TOKEN_SPENT = frozenset((40001, 40014, 42001))
CREDENTIALS_REFUSED = frozenset((40002, 40013, 40125, 40164, 40243, 41002, 41004, 48001, 50001, 50002))
QUOTA_USED, MINUTE_USED = 45009, 45011
MEDIA_GONE = frozenset((40004, 40007))
NOT_FOLLOWING = 43004
WINDOW_OVER, TOO_MANY = 45015, 45047
_LINK = re.compile(r"<(?=\s*/?\s*a\b)", re.IGNORECASE)


class ApiError(Exception):
    """WeChat answered with an error; ``code`` is its number."""

    def __init__(self, code: int) -> None:
        super().__init__(f"errcode {code}")
        self.code = code


class WechatClient:
    """One account at WeChat's API."""

    def __init__(self, account: Account, api: str = OFFICIAL_API, *, pace: Pace | None = None,
                 timeout: float = SEND_SECONDS, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Connect at the first call.

        Args:
            account: which one.
            api: base URL of the API.
            pace: how fast it may send.
            timeout: seconds to wait for an answer.
            monotonic: seconds that only ever rise.
        """
        self.account = account
        self.pace = pace or Pace(PER_SECOND, BETWEEN_SECONDS, monotonic)
        self._monotonic = monotonic
        self._token, self._token_until = "", 0.0
        self._buying = asyncio.Lock()
        proxied = not httpx.URL(api).host.startswith(("127.", "localhost"))  # a proxy cannot reach this machine
        self._http = httpx.AsyncClient(base_url=api.rstrip("/"), trust_env=proxied, follow_redirects=False,
                                       timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS))

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    async def send(self, content: Mapping[str, Any]) -> Outcome:
        """Send a customer-service message, and tell what became of it."""
        try:
            answer = await self._call("/cgi-bin/message/custom/send", content)
        except ApiError as error:
            return outcome_of(error.code)
        except httpx.HTTPError as error:
            return _outcome_of_failure(error)
        return Sent(str(answer["msgid"]) if answer.get("msgid") else None)

    async def typing(self, open_id: str) -> None:
        """Show that an answer is being written.

        Raises:
            ApiError: WeChat did not do it.
            httpx.HTTPError: WeChat could not be asked.
        """
        await self._call("/cgi-bin/message/custom/typing", {"touser": open_id, "command": "Typing"})

    async def download(self, file_id: str, into: Writing) -> None:
        """Write what WeChat has under a media id.

        Raises:
            NotFetched: it did not come.
            FileTooLarge: it is larger than may be written.
        """
        try:
            token = await self.token()
            code = await self._download(file_id, token, into)
            if code in TOKEN_SPENT:
                code = await self._download(file_id, await self.token(token), into)
        except (ApiError, httpx.HTTPError, httpx.InvalidURL):  # whose text may hold the address
            raise NotFetched() from None
        if code != SENT:
            wait = {QUOTA_USED: QUOTA_SECONDS, MINUTE_USED: MINUTE_SECONDS}.get(code)
            raise NotFetched(missing=code in MEDIA_GONE, wait=wait)

    async def _download(self, media_id: str, token: str, into: Writing) -> int:
        """Write a file; WeChat's error code where it answers with words. Of a video it tells where the file lies."""
        query = {"access_token": token, "media_id": media_id}
        async with self._http.stream("GET", "/cgi-bin/media/get", params=query) as answer:
            answer.raise_for_status()
            if not answer.headers.get("content-type", "").startswith(("application/json", "text/")):
                await _write(answer, into)
                return SENT
            found = _object(await answer.aread())
        place = found.get("video_url")
        if not isinstance(place, str):
            return _code_of(found)
        if not _is_wechats(httpx.URL(place), self._http.base_url):
            return BUSY
        async with self._http.stream("GET", place) as answer:
            answer.raise_for_status()
            await _write(answer, into)
        return SENT

    async def token(self, spent: str = "") -> str:
        """The access token; bought once, however many ask.

        WeChat gives every process that asks for its stable token the same one, so nobody spoils another's and none has
        to be stored. Only where it refuses the very token it gives, a new one is made.

        Args:
            spent: a token that was refused.
        """
        async with self._buying:
            if self._token in ("", spent) or self._monotonic() >= self._token_until:
                await self._buy(anew=False)
                if self._token == spent:
                    await self._buy(anew=True)
            return self._token

    async def _buy(self, *, anew: bool) -> None:
        answer = await self._post("/cgi-bin/stable_token", {
            "grant_type": "client_credential", "appid": self.account.app_id, "secret": self.account.secret,
            "force_refresh": anew})
        self._token = str(answer.get("access_token", ""))
        seconds = answer.get("expires_in")
        life = float(seconds) if isinstance(seconds, int) else 0.0
        self._token_until = self._monotonic() + max(life - TOKEN_SPARE_SECONDS, life / 2)

    async def _call(self, path: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        token = await self._token_or_not_sent()
        try:
            return await self._post(path, content, token)
        except ApiError as error:
            if error.code not in TOKEN_SPENT:
                raise
        return await self._post(path, content, await self._token_or_not_sent(token))

    async def _token_or_not_sent(self, spent: str = "") -> str:
        try:
            return await self.token(spent)
        except httpx.HTTPError as error:  # whatever it was, nothing has been sent yet
            raise httpx.ConnectError("no access token") from error

    async def _post(self, path: str, content: Mapping[str, Any], token: str = "") -> Mapping[str, Any]:
        """Post JSON, its characters as they are: WeChat shows an escape as it stands."""
        answer = await self._http.post(
            path, params={"access_token": token} if token else None, headers={"Content-Type": "application/json"},
            content=json.dumps(content, ensure_ascii=False).encode("utf8", "replace"))
        answer.raise_for_status()
        found = _object(answer.content)
        code = _code_of(found)
        if code != SENT:
            raise ApiError(code)
        return found


class WechatAdapter:
    """Delivers to WeChat, each message by the account that its customer follows."""

    name = CHANNEL

    def __init__(self, clients: Mapping[str, WechatClient]) -> None:
        """Deliver by these accounts, by their AppIDs."""
        self._clients = clients

    def pieces(self, parcel: Parcel) -> Sequence[str]:
        """The text, with the agent's name at its head, in pieces that WeChat takes; the last leaves room for a menu."""
        head = f"{parcel.agent_name}{'：' if parcel.language == 'zh' else ': '}" if parcel.agent_name else ""
        pieces = split_text(as_plain(head + parcel.text), PIECE_LIMIT, _bytes)
        menu = sum(_bytes(button["title"]) for button in parcel.buttons)
        if menu and _bytes(pieces[-1]) + menu > PIECE_LIMIT:
            pieces.append(words("choose_one", parcel.language))
        return pieces

    async def ready(self, address: str) -> None:
        """Wait until one more message may be sent to this person."""
        app_id, open_id = read_address(address)
        if app_id in self._clients:
            await self._clients[app_id].pace.ready(open_id)

    async def send(self, parcel: Parcel, text: str, *, last: bool) -> Outcome:
        """Send one piece."""
        app_id, open_id = read_address(parcel.address)
        client = self._clients.get(app_id)
        if client is None:
            return Refused("not_set_up")
        if last and parcel.buttons:
            return await client.send({"touser": open_id, "msgtype": "msgmenu", "msgmenu": menu_of(parcel, text)})
        return await client.send({"touser": open_id, "msgtype": "text", "text": {"content": text}})


def address_of(app_id: str, open_id: str) -> str:
    """The person's id on the channel: the same person is somebody else at another account."""
    return f"{app_id}:{open_id}"


def read_address(address: str) -> tuple[str, str]:
    """The account and the OpenID of a person's id on the channel."""
    app_id, _, open_id = address.partition(":")
    return app_id, open_id


def menu_of(parcel: Parcel, text: str) -> dict[str, Any]:
    """The buttons of a message as a menu: each comes back as the number of the message and its place."""
    return {"head_content": text, "tail_content": "", "list": [
        {"id": str(parcel.message_id * BUTTONS_AT_MOST + index), "content": as_plain(button["title"])}
        for index, button in enumerate(parcel.buttons[:BUTTONS_AT_MOST])]}


def as_plain(text: str) -> str:
    """A text that WeChat shows as it is written: it makes links of <a>, and of nothing else."""
    return _LINK.sub("＜", text)


def outcome_of(code: int) -> Outcome:
    """What became of a message that WeChat answered with this error."""
    if code == BUSY:
        return NotSent("server_error: -1")
    if code in TOKEN_SPENT or code in CREDENTIALS_REFUSED:
        return NotSent(f"token_refused: {code}")
    if code == QUOTA_USED:
        return RetryAfter(QUOTA_SECONDS)
    if code == MINUTE_USED:
        return RetryAfter(MINUTE_SECONDS)
    if code == NOT_FOLLOWING:
        return Unreachable()
    if code == WINDOW_OVER:
        return Refused(f"window_over: {code}")
    if code == TOO_MANY:
        return Refused(f"too_many: {code}")
    return Refused(f"refused: {code}")


def _outcome_of_failure(error: httpx.HTTPError) -> Outcome:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError,
                          httpx.UnsupportedProtocol)):
        return NotSent("no_answer")
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code != 504:
        return NotSent(f"server_error: {error.response.status_code}")
    return Unknown(f"timed_out: {type(error).__name__}")


def _object(content: bytes) -> Mapping[str, Any]:
    """The JSON object that WeChat answered with; an answer that is none says nothing."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise httpx.DecodingError("no JSON") from error
    if not isinstance(found, Mapping):
        raise httpx.DecodingError("no JSON object")
    return found


def _code_of(found: Mapping[str, Any]) -> int:
    code = found.get("errcode", SENT)
    return code if isinstance(code, int) else BUSY


def _is_wechats(place: httpx.URL, api: httpx.URL) -> bool:
    """Whether an address is one of WeChat's: nobody else's is fetched, whatever an answer says."""
    return place.host == api.host or (place.scheme in ("http", "https") and place.host.endswith(".qq.com"))


async def _write(answer: httpx.Response, into: Writing) -> None:
    async for part in answer.aiter_bytes():
        into.write(part)


def _bytes(text: str) -> int:
    return len(text.encode("utf8", "replace"))
