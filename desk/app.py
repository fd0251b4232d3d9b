"""Puts the desk into an application: the JSON API, the pages, the stream and the static files."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from desk import (
    api,
    attachments,
    blocks,
    care,
    exchange,
    exchange_api,
    figures,
    learning,
    listening,
    log_export,
    logs,
    loyalty,
    memory,
    merges,
    notice_settings,
    pages,
    password,
    presence,
    privacy,
    sending,
    settings,
    stream,
    value,
)
from desk.deps import DeskDeps
from desk.routing import SECURITY_HEADERS

__all__ = ["DeskDeps", "mount_desk"]

STATIC = Path(__file__).parent / "static"


class DeskFiles(StaticFiles):
    """The static files, with the desk's headers; browsers ask each time whether a file is still the same."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file behind a path, none where no file system could hold it."""
        return ("", None) if "\x00" in path else super().lookup_path(path)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(*args, **kwargs)
        for name, words in SECURITY_HEADERS.items():
            response.headers.setdefault(name, words)
        response.headers.setdefault("Cache-Control", "no-cache")
        return response


def mount_desk(app: FastAPI, deps: DeskDeps) -> None:
    """Add the desk to an application: ``/api/…``, ``/desk``, ``/manage``, ``/desk/static``.

    Args:
        app: the application; ``app.state.desk`` holds ``deps`` from now on.
        deps: the desk's surroundings.
    """
    app.state.desk = deps
    app.mount("/desk/static", DeskFiles(directory=STATIC), name="desk-static")
    for module in (api, attachments, blocks, care, exchange_api, exchange, figures, learning, listening, log_export,
                   logs, loyalty, memory, notice_settings, password, presence, privacy, settings, stream, value, pages):
        app.include_router(module.router)
    app.include_router(merges.scripts)
    app.include_router(merges.forms)
    app.include_router(sending.scripts)
    app.include_router(sending.forms)
