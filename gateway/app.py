"""Puts the channels into an application."""
from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from gateway.channel import PushedChannel
from gateway.data_copies import DataCopies
from gateway.delivery import Delivery
from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.http_channel import HttpChannel
from gateway.lanes import run_together
from gateway.web_chat import WebChat

__all__ = ["GatewayDeps", "mount_gateway", "run_channels"]


def mount_gateway(app: FastAPI, deps: GatewayDeps) -> Dispatcher:
    """Add the HTTP channel and the web chat to an application.

    Returns:
        The dispatcher; whoever wires the application runs it.
    """
    dispatcher = Dispatcher(deps)
    app.include_router(HttpChannel(deps, dispatcher).router())
    WebChat(deps, dispatcher).mount(app)
    DataCopies(deps).mount(app)
    return dispatcher


async def run_channels(delivery: Delivery, channels: Sequence[PushedChannel]) -> None:
    """Run the channels that messages are pushed to, and deliver, until cancelled; the connections end last."""
    try:
        await run_together([delivery.run(), *(channel.run() for channel in channels)])
    finally:
        for channel in channels:
            await channel.close()
