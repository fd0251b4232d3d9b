"""`python -m warmline telegram`: has updates posted to the service or wait to be fetched, and shows which it is."""
from __future__ import annotations

import asyncio

from sqlalchemy import select
from telegram.error import TelegramError

from crm_store.database import Store
from crm_store.models import Customer
from gateway.deep_links import make_link_token
from gateway.telegram import webhook_path, webhook_secret
from gateway.telegram_client import TelegramBotClient
from warmline.clock import now
from warmline.errors import CommandFailed
from warmline.settings import PREFIX, Settings


def set_up_telegram(settings: Settings, what: str) -> int:
    """Do it for every bot.

    Args:
        settings: with the tokens.
        what: "webhook", "polling" or "status".

    Raises:
        CommandFailed: no bot is set up, there is no public address, or Telegram did not do it.
    """
    if not settings.telegram_tokens:
        raise CommandFailed(f"no bot is set up; put its token into {PREFIX}TELEGRAM_TOKEN")
    if what == "webhook" and not settings.public_url:
        raise CommandFailed(f"Telegram must reach the service: set {PREFIX}PUBLIC_URL")
    asyncio.run(_for_each(settings, what))
    if what in ("webhook", "polling") and settings.telegram_mode != what:
        print(f"The service still expects {settings.telegram_mode}; set {PREFIX}TELEGRAM_MODE={what} and restart.")
    return 0


def link_customer(settings: Settings, number: str | None) -> int:
    """Print an address for each bot that links whoever opens it, once and within the hour, to a customer.

    Args:
        settings: with the tokens and the secret.
        number: the customer's.

    Raises:
        CommandFailed: no bot is set up, there is no such customer, or Telegram does not answer.
    """
    if not settings.telegram_tokens:
        raise CommandFailed(f"no bot is set up; put its token into {PREFIX}TELEGRAM_TOKEN")
    store = Store(settings.database_url)
    with store.read() as session:
        customer_id = session.execute(
            select(Customer.id).where(Customer.number == number, Customer.erased_at.is_(None),
                                      Customer.merged_into_id.is_(None))).scalar_one_or_none()
    store.close()
    if customer_id is None:
        raise CommandFailed(f"there is no customer {number or '(name their number)'}")
    asyncio.run(_print_links(settings, customer_id))
    return 0


async def _print_links(settings: Settings, customer_id: int) -> None:
    for token in settings.telegram_tokens:
        bot = TelegramBotClient(token, settings.telegram_api)
        try:
            name = await bot.username()
        except TelegramError as error:  # its text may name the token
            raise CommandFailed(f"bot {bot.bot_id} could not be asked its name: {type(error).__name__}") from None
        finally:
            await bot.close()
        print(f"https://t.me/{name}?start={make_link_token(settings.secret, customer_id, now())}")


async def _for_each(settings: Settings, what: str) -> None:
    for token in settings.telegram_tokens:
        bot = TelegramBotClient(token, settings.telegram_api)
        try:
            if what == "webhook":
                await bot.set_webhook(settings.public_url.rstrip("/") + webhook_path(bot.bot_id),
                                      webhook_secret(settings.telegram_secret, bot.bot_id))
            elif what == "polling":
                await bot.delete_webhook()
            url = await bot.webhook_url()
        except TelegramError as error:  # its text may name the token
            raise CommandFailed(f"Telegram did not do it for bot {bot.bot_id}: {type(error).__name__}") from None
        finally:
            await bot.close()
        print(f"bot {bot.bot_id}: " + (f"updates are posted to {url}" if url else "updates wait to be fetched"))
