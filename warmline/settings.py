"""Settings: read once from the environment and `.env`, checked, and handed to whoever needs them.

Every setting is a field of :class:`Settings`; its description is shown by ``python -m warmline settings`` and is what
``.env.example`` and ``docs/reference/settings.md`` are checked against.
"""
from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from email.utils import parseaddr
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "WARMLINE_"
GENERATED = ("SECRET", "HTTP_TOKEN", "BOT_TOKEN", "TELEGRAM_SECRET", "WIDGET_SECRET")
ADVISED_SECRET_LENGTH = 16


class BadSetting(Exception):
    """A setting cannot be used; the message names it and says what would do."""


def setting(default: Any, description: str) -> Any:
    """A field of :class:`Settings` with the words that document it."""
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class Settings:
    """What the operator decides. Field ``x`` is set by ``WARMLINE_X``."""

    database_url: str = setting("sqlite:///var/warmline.db", "Where the CRM store lives: an SQLite or PostgreSQL URL")
    host: str = setting("0.0.0.0", "Address the service listens on; 127.0.0.1 behind a reverse proxy")
    port: int = setting(8000, "Port of the service: chat, desk, API")
    bot_port: int = setting(5005, "Port of the dialogue engine, on loopback only")
    actions_port: int = setting(5055, "Port of the action server, on loopback only")
    secret: str = setting("", "Signs visitors' and customers' tokens; made and kept in var/secrets.env when empty")
    http_token: str = setting("", "Bearer token of the HTTP channel; made and kept in var/secrets.env when empty")
    bot_token: str = setting("", "Token of the dialogue engine's API; made and kept in var/secrets.env when empty")
    telegram_token: str = setting("", "Tokens of the shop's Telegram bots, separated by commas; no Telegram when empty")
    telegram_mode: str = setting("polling", "How Telegram's updates come in: polling or webhook")
    telegram_api: str = setting("https://api.telegram.org", "Base URL of the Telegram Bot API")
    telegram_secret: str = setting(
        "", "Makes the secret tokens of Telegram's webhooks; made and kept in var/secrets.env when empty")
    widget_origins: str = setting(
        "", "Sites whose pages may show the chat, such as https://shop.example, separated by commas; none when empty")
    widget_secret: str = setting(
        "", "The shop's servers sign in customers in the chat with it; made and kept in var/secrets.env when empty")
    wechat_app_id: str = setting("", "AppIDs of the shop's WeChat accounts, separated by commas; no WeChat when empty")
    wechat_secret: str = setting("", "The accounts' AppSecrets, in the same order")
    wechat_token: str = setting("", "The Tokens that sign what WeChat posts, in the same order")
    wechat_aes_key: str = setting("", "The accounts' EncodingAESKeys, in the same order; encryption is off when empty")
    wechat_api: str = setting("https://api.weixin.qq.com", "Base URL of WeChat's API")
    data_folder: Path = setting(Path("var"), "Where the database, secrets and outbox are kept")
    demo: bool = setting(True, "Load the demo shop into an empty store")
    demo_password: str = setting("warmline", "Password of the demo shop's six logins")
    secure_cookies: bool = setting(False, "Send cookies over HTTPS only; turn on behind TLS")
    trusted_proxy: str = setting("", "Address of the reverse proxy whose X-Forwarded-For is believed; none when empty")
    http_rate: int = setting(120, "Messages a minute that one sender of the HTTP channel may send")
    chat_rate: int = setting(30, "Messages a minute that one visitor of the web chat may send")
    max_attachment_mb: int = setting(20, "Megabytes of a file that a customer sends; Telegram itself hands out 20")
    bot_timeout: float = setting(10.0, "Seconds to wait for the dialogue engine before a message is answered later")
    dispatch_workers: int = setting(16, "Conversations handed to the dialogue engine at once")
    clock_interval: float = setting(5.0, "Seconds between two looks at the SLA clocks")
    public_url: str = setting("", "Where browsers reach the service, such as https://desk.example.com; for links")
    smtp_host: str = setting("", "Mail server for notices to agents; no e-mail is sent when empty")
    smtp_port: int = setting(587, "Port of the mail server; 465 speaks TLS from the first byte")
    smtp_user: str = setting("", "Who logs in to the mail server; nobody when empty")
    smtp_password: str = setting("", "Password at the mail server")
    smtp_starttls: bool = setting(True, "Turn to TLS before anything is sent; a server that cannot is not used")
    mail_from: str = setting("", "Sender of mails, such as Warmline <desk@example.com>; needed with a mail server")
    mail_delay: float = setting(60.0, "Seconds an agent has to see a notice at the desk before it is sent by e-mail")
    webhook_private: bool = setting(False, "Let webhooks reach private networks and this machine itself")
    redis_url: str = setting("", "Redis for the dialogue engine's locks when it runs with several workers")
    bot_workers: int = setting(1, "Worker processes of the dialogue engine; more than one needs WARMLINE_REDIS_URL")
    log_level: str = setting("INFO", "DEBUG, INFO, WARNING or ERROR")

    @property
    def bot_url(self) -> str:
        """Base URL of the dialogue engine."""
        return f"http://127.0.0.1:{self.bot_port}"

    @property
    def actions_url(self) -> str:
        """Base URL of the action server."""
        return f"http://127.0.0.1:{self.actions_port}"

    @property
    def service_url(self) -> str:
        """Base URL of the service as seen from this machine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def link_url(self) -> str:
        """Base URL of links that people follow."""
        return self.public_url.rstrip("/") or f"http://localhost:{self.port}"

    @property
    def attachments_folder(self) -> Path:
        """Where the files lie that customers sent."""
        return self.data_folder / "attachments"

    @property
    def telegram_tokens(self) -> list[str]:
        """The token of each Telegram bot."""
        return [token.strip() for token in self.telegram_token.split(",") if token.strip()]

    @property
    def allowed_origins(self) -> list[str]:
        """Each site whose pages may show the chat, as browsers name it."""
        return [origin.strip().lower().removesuffix("/") for origin in self.widget_origins.split(",") if origin.strip()]

    @property
    def wechat_accounts(self) -> list[tuple[str, str, str, str]]:
        """AppID, AppSecret, Token and EncodingAESKey of each WeChat account.

        Raises:
            ValueError: there are not as many of the one as of the other.
        """
        app_ids, app_secrets, tokens, keys = (
            [each.strip() for each in value.split(",") if each.strip()]
            for value in (self.wechat_app_id, self.wechat_secret, self.wechat_token, self.wechat_aes_key))
        return list(zip(app_ids, app_secrets, tokens, keys or [""] * len(app_ids), strict=True))

    @property
    def weak_secrets(self) -> list[str]:
        """Names of the secrets that are too short to withstand guessing."""
        return [PREFIX + name for name in GENERATED if len(getattr(self, name.lower())) < ADVISED_SECRET_LENGTH]

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, for child processes and Rasa's ``${…}``."""
        values = {PREFIX + f.name.upper(): getattr(self, f.name) for f in fields(self)}
        told = {name: ("true" if value else "false") if isinstance(value, bool) else str(value)
                for name, value in values.items()}
        return {**told, "WARMLINE_ACTIONS_URL": f"{self.actions_url}/webhook", "RASA_TELEMETRY_ENABLED": "false"}


def load_settings(environment: Mapping[str, str] | None = None, *, root: Path = ROOT) -> Settings:
    """Read `.env` and the environment (which wins), make what secrets are missing, and check everything.

    Raises:
        BadSetting: a value is not of its kind, is out of range or names a setting that does not exist.
    """
    environment = os.environ if environment is None else environment
    written = {k: v for k, v in dotenv_values(root / ".env").items() if v is not None}
    known = {f.name.upper(): f for f in fields(Settings)}
    for name in written:
        if name.startswith(PREFIX) and name[len(PREFIX):] not in known:
            raise BadSetting(f"{name} in .env is no setting of Warmline; `python -m warmline settings` lists them")
    given = {k[len(PREFIX):]: v for k, v in {**written, **environment}.items() if k.startswith(PREFIX)}
    values: dict[str, Any] = {}
    for name, f in known.items():
        if given.get(name, "") != "":
            values[f.name] = _convert(name, given[name], f.default)
    data_folder = values.get("data_folder", Path("var"))
    values["data_folder"] = data_folder if data_folder.is_absolute() else root / data_folder
    values["database_url"] = _resolve_sqlite(values.get("database_url", Settings.database_url), root,
                                             values["data_folder"], "database_url" in values)
    _fill_secrets(values, values["data_folder"] / "secrets.env")
    settings = Settings(**values)
    _check(settings)
    return settings


def _convert(name: str, text: str, default: Any) -> Any:
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise BadSetting(f"{PREFIX}{name} is {text!r}, but must be {wanted}") from error


def _resolve_sqlite(url: str, root: Path, data_folder: Path, given: bool) -> str:
    """An SQLite path is relative to the project, wherever a command is run from."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or url.startswith(prefix + "/"):
        return url
    if not given:
        return f"{prefix}{data_folder / 'warmline.db'}"
    return f"{prefix}{root / url[len(prefix):]}"


def _fill_secrets(values: dict[str, Any], path: Path) -> None:
    missing = [name for name in GENERATED if not values.get(name.lower())]
    if not missing:
        return
    kept = {k: v for k, v in dotenv_values(path).items() if v} if path.exists() else {}
    new = {PREFIX + name: secrets.token_urlsafe(32) for name in missing if PREFIX + name not in kept}
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept.update(new)
        content = "".join(f"{name}={value}\n" for name, value in sorted(kept.items()))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
    for name in missing:
        values[name.lower()] = kept[PREFIX + name]


def _check(settings: Settings) -> None:
    if not settings.database_url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg2://")):
        raise BadSetting(f"{PREFIX}DATABASE_URL must begin with sqlite:/// or postgresql://")
    for name in ("port", "bot_port", "actions_port", "smtp_port"):
        if not 1 <= getattr(settings, name) <= 65535:
            raise BadSetting(f"{PREFIX}{name.upper()} must be a port, 1 to 65535")
    ports = [settings.port, settings.bot_port, settings.actions_port]
    if len(set(ports)) < len(ports):
        raise BadSetting(f"{PREFIX}PORT, {PREFIX}BOT_PORT and {PREFIX}ACTIONS_PORT must differ")
    for name in ("http_rate", "chat_rate", "max_attachment_mb", "dispatch_workers", "bot_workers"):
        if getattr(settings, name) < 1:
            raise BadSetting(f"{PREFIX}{name.upper()} must be 1 or more")
    for name in ("bot_timeout", "clock_interval"):
        if not getattr(settings, name) > 0:
            raise BadSetting(f"{PREFIX}{name.upper()} must be above 0")
    if not settings.mail_delay >= 0:
        raise BadSetting(f"{PREFIX}MAIL_DELAY must be 0 or more")
    if settings.public_url and not re.fullmatch(r"https?://[!-~]+", settings.public_url):
        raise BadSetting(f"{PREFIX}PUBLIC_URL must begin with http:// or https://")
    if settings.smtp_host and not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", parseaddr(settings.mail_from)[1]):
        raise BadSetting(f"{PREFIX}MAIL_FROM must be an e-mail address where {PREFIX}SMTP_HOST is set")
    if not all(re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", origin) for origin in settings.allowed_origins):
        raise BadSetting(f"{PREFIX}WIDGET_ORIGINS must be sites like https://shop.example, separated by commas")
    _check_telegram(settings)
    _check_wechat(settings)
    if settings.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise BadSetting(f"{PREFIX}LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR")
    if settings.bot_workers > 1 and not settings.redis_url:
        raise BadSetting(f"{PREFIX}BOT_WORKERS above 1 needs {PREFIX}REDIS_URL, where the workers share their locks")


def _check_telegram(settings: Settings) -> None:
    tokens = settings.telegram_tokens
    if not all(re.fullmatch(r"[1-9][0-9]{0,14}:[A-Za-z0-9_-]{10,}", token) for token in tokens):
        raise BadSetting(f"{PREFIX}TELEGRAM_TOKEN must be tokens as @BotFather gives them, separated by commas")
    if len({token.partition(":")[0] for token in tokens}) < len(tokens):
        raise BadSetting(f"{PREFIX}TELEGRAM_TOKEN names a bot twice")
    if settings.telegram_mode not in ("polling", "webhook"):
        raise BadSetting(f"{PREFIX}TELEGRAM_MODE must be polling or webhook")
    if not re.fullmatch(r"https?://[!-~]+", settings.telegram_api):
        raise BadSetting(f"{PREFIX}TELEGRAM_API must begin with http:// or https://")
    if tokens and settings.telegram_mode == "webhook" and not settings.public_url:
        raise BadSetting(f"{PREFIX}TELEGRAM_MODE=webhook needs {PREFIX}PUBLIC_URL, where Telegram reaches the service")


def _check_wechat(settings: Settings) -> None:
    try:
        accounts = settings.wechat_accounts
    except ValueError:
        raise BadSetting(f"{PREFIX}WECHAT_APP_ID, _SECRET, _TOKEN and _AES_KEY must name as many accounts") from None
    patterns = {"APP_ID": r"[A-Za-z0-9_-]{4,40}", "SECRET": r"[!-~]{8,}", "TOKEN": r"[A-Za-z0-9]{3,32}",
                "AES_KEY": r"([A-Za-z0-9]{43})?"}
    for account in accounts:
        for (name, pattern), value in zip(patterns.items(), account, strict=True):
            if not re.fullmatch(pattern, value):
                raise BadSetting(f"{PREFIX}WECHAT_{name} is not as WeChat's console shows it")
    if len({account[0] for account in accounts}) < len(accounts):
        raise BadSetting(f"{PREFIX}WECHAT_APP_ID names an account twice")
    if not re.fullmatch(r"https?://[!-~]+", settings.wechat_api):
        raise BadSetting(f"{PREFIX}WECHAT_API must begin with http:// or https://")
