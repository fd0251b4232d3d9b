"""The service: one ASGI app with the channels, the desk and the API, and the loops behind them."""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from crm_store.database import Store
from crm_store.live import Broadcast, watch_store
from desk.app import DeskDeps, mount_desk
from gateway.app import GatewayDeps, mount_gateway
from gateway.bot_client import BotClient
from gateway.clock import run_clock
from gateway.dispatch import Dispatcher
from gateway.nightly import run_nightly_job
from gateway.notifier import Adapter, Notifier
from gateway.notify_email import EmailAdapter, MailServer
from gateway.notify_webhook import WebhookAdapter
from warmline import __version__
from warmline.clock import now
from warmline.corrections import training_examples
from warmline.health import Health
from warmline.logs import set_up_logs
from warmline.settings import ROOT, Settings

if TYPE_CHECKING:
    from gateway.telegram import Telegram


def make_app(settings: Settings, store: Store) -> FastAPI:
    """Wire everything that answers on the service's port."""
    broadcast, nudge = Broadcast(), asyncio.Event()
    health = Health(settings, store)
    gateway_deps = GatewayDeps(
        store=store, broadcast=broadcast, nudge=nudge, clock=now,
        bot=BotClient(settings.bot_url, settings.bot_token, settings.bot_timeout), secret=settings.secret,
        http_token=settings.http_token, http_rate=settings.http_rate, chat_rate=settings.chat_rate,
        bot_timeout=settings.bot_timeout, dispatch_workers=settings.dispatch_workers,
        secure_cookies=settings.secure_cookies, trusted_proxy=settings.trusted_proxy)
    desk_deps = DeskDeps(store=store, broadcast=broadcast, nudge=nudge.set, clock=now,
                         secure_cookies=settings.secure_cookies, trusted_proxy=settings.trusted_proxy,
                         mail=bool(settings.smtp_host),
                         examples=lambda: training_examples(store, ROOT).files)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loops = [asyncio.create_task(loop, name=name) for name, loop in (
            ("dispatch", dispatcher.run()),
            ("watch", watch_store(store, broadcast, nudge)),
            ("clock", run_clock(gateway_deps, settings.clock_interval)),
            ("nightly", run_nightly_job(gateway_deps)),
            ("notices", notifier.run()))]
        if telegram is not None:
            polling = settings.telegram_mode == "polling"
            loops.append(asyncio.create_task(telegram.run(polling=polling), name="telegram"))
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await health.close()

    app = FastAPI(title="Warmline", version=__version__, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
                  lifespan=lifespan)
    app.router.routes.extend(health.routes())
    dispatcher = mount_gateway(app, gateway_deps)
    telegram = telegram_channel(settings, gateway_deps, dispatcher)
    if telegram is not None:
        app.include_router(telegram.router())
    notifier = Notifier(gateway_deps, notice_adapters(settings), timedelta(seconds=settings.mail_delay))
    mount_desk(app, desk_deps)

    @app.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def telegram_channel(settings: Settings, deps: GatewayDeps, dispatcher: Dispatcher) -> Telegram | None:
    """The Telegram channel; its library is loaded only where there is a bot."""
    if not settings.telegram_tokens:
        return None
    from gateway.telegram import Telegram
    from gateway.telegram_client import TelegramBotClient

    bots = [TelegramBotClient(token, settings.telegram_api) for token in settings.telegram_tokens]
    return Telegram(deps, dispatcher, bots, settings.telegram_secret)


def notice_adapters(settings: Settings) -> dict[str, Adapter]:
    """The ways of telling people beside the desk that are set up."""
    adapters: dict[str, Adapter] = {"webhook": WebhookAdapter(allow_private=settings.webhook_private)}
    if settings.smtp_host:
        adapters["email"] = EmailAdapter(MailServer(
            host=settings.smtp_host, port=settings.smtp_port, user=settings.smtp_user, password=settings.smtp_password,
            starttls=settings.smtp_starttls, sender=settings.mail_from, public_url=settings.link_url))
    return adapters


def run_service(settings: Settings) -> int:
    """Serve until told to stop."""
    set_up_logs(settings.log_level)
    store = Store(settings.database_url)
    uvicorn.run(make_app(settings, store), host=settings.host, port=settings.port, log_config=None, access_log=False,
                server_header=False, proxy_headers=False, ws="none", timeout_graceful_shutdown=5)
    store.close()
    return 0
