"""The service: one ASGI app with the channels, the desk and the API, and the loops behind them."""
from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import uvicorn
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from crm_store.attachment_files import AttachmentFiles
from crm_store.database import Store
from crm_store.live import Broadcast, watch_store
from crm_store.services.retention import UPLOADS
from desk.app import DeskDeps, mount_desk
from gateway.app import GatewayDeps, mount_gateway, run_channels
from gateway.bot_client import BotClient
from gateway.channel import PushedChannel
from gateway.clock import run_clock
from gateway.delivery import Delivery
from gateway.dispatch import Dispatcher
from gateway.erasing import run_eraser
from gateway.nightly import run_nightly_job
from gateway.notifier import Adapter, Notifier
from gateway.notify_email import EmailAdapter, MailServer
from gateway.notify_webhook import WebhookAdapter
from warmline import __version__
from warmline.clock import now
from warmline.corrections import training_examples
from warmline.health import Health
from warmline.http_server import PatientProtocol
from warmline.logs import set_up_logs
from warmline.privacy import make_eraser
from warmline.settings import ROOT, Settings

log = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024


def make_app(settings: Settings, store: Store) -> FastAPI:
    """Wire everything that answers on the service's port."""
    broadcast, nudge = Broadcast(), asyncio.Event()
    health = Health(settings, store)
    files = AttachmentFiles(settings.attachments_folder)
    gateway_deps = GatewayDeps(
        store=store, broadcast=broadcast, nudge=nudge, clock=now,
        bot=BotClient(settings.bot_url, settings.bot_token, settings.bot_timeout), secret=settings.secret,
        http_token=settings.http_token, http_rate=settings.http_rate, chat_rate=settings.chat_rate,
        bot_timeout=settings.bot_timeout, dispatch_workers=settings.dispatch_workers,
        secure_cookies=settings.secure_cookies, trusted_proxy=settings.trusted_proxy,
        widget_origins=settings.allowed_origins, widget_secret=settings.widget_secret,
        files=files, max_attachment=settings.max_attachment_mb * MEGABYTE)
    eraser = make_eraser(settings, store)
    desk_deps = DeskDeps(store=store, broadcast=broadcast, nudge=gateway_deps.bell.queued, clock=now,
                         secure_cookies=settings.secure_cookies, trusted_proxy=settings.trusted_proxy,
                         mail=bool(settings.smtp_host), files=files, eraser=eraser,
                         uploads=settings.data_folder / UPLOADS,
                         examples=lambda: training_examples(store, ROOT).files)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loops = [asyncio.create_task(loop, name=name) for name, loop in (
            ("dispatch", dispatcher.run()),
            ("watch", watch_store(store, broadcast, nudge)),
            ("clock", run_clock(gateway_deps, settings.clock_interval)),
            ("nightly", run_nightly_job(gateway_deps)),
            ("eraser", run_eraser(eraser, now)),
            ("notices", notifier.run()))]
        if channels:
            loops.append(asyncio.create_task(run_channels(delivery, channels), name="channels"))
        for loop in loops:
            loop.add_done_callback(_tell_if_it_failed)
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
    channels = pushed_channels(settings, gateway_deps, dispatcher)
    delivery = Delivery(gateway_deps, [channel.adapter for channel in channels])
    for channel in channels:
        app.include_router(channel.router())
    notifier = Notifier(gateway_deps, notice_adapters(settings), timedelta(seconds=settings.mail_delay))
    mount_desk(app, desk_deps)

    @app.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def _tell_if_it_failed(loop: asyncio.Task[None]) -> None:
    """A loop ends by being cancelled only; whoever reads the log must know that it is not running."""
    if not loop.cancelled() and loop.exception() is not None:
        log.error("the loop %s has ended; restart the service", loop.get_name(), exc_info=loop.exception())


def pushed_channels(settings: Settings, deps: GatewayDeps, dispatcher: Dispatcher) -> list[PushedChannel]:
    """The channels that messages are pushed to, as far as they are set up; no other's library is loaded."""
    channels: list[PushedChannel] = []
    if settings.telegram_tokens:
        from gateway.telegram import Telegram
        from gateway.telegram_client import TelegramBotClient

        bots = [TelegramBotClient(token, settings.telegram_api) for token in settings.telegram_tokens]
        channels.append(Telegram(deps, dispatcher, bots, settings.telegram_secret,
                                 polling=settings.telegram_mode == "polling"))
    if settings.wechat_accounts:
        from gateway.wechat import Wechat
        from gateway.wechat_client import WechatClient
        from gateway.wechat_envelope import Account

        accounts = [WechatClient(Account(*each), settings.wechat_api) for each in settings.wechat_accounts]
        channels.append(Wechat(deps, dispatcher, accounts))
    return channels


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
                server_header=False, proxy_headers=False, ws="none", timeout_graceful_shutdown=5, http=PatientProtocol)
    store.close()
    return 0
