"""Puts the channels into an application."""
from __future__ import annotations

from fastapi import FastAPI

from gateway.deps import GatewayDeps
from gateway.dispatch import Dispatcher
from gateway.http_channel import HttpChannel
from gateway.web_chat import WebChat

__all__ = ["GatewayDeps", "mount_gateway"]


def mount_gateway(app: FastAPI, deps: GatewayDeps) -> Dispatcher:
    """Add the HTTP channel and the web chat to an application.

    Returns:
        The dispatcher; whoever wires the application runs it.
    """
    dispatcher = Dispatcher(deps)
    app.include_router(HttpChannel(deps, dispatcher).router())
    WebChat(deps, dispatcher).mount(app)
    return dispatcher
