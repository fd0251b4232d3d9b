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
    figures,
    learning,
    log_export,
    logs,
    notice_settings,
    pages,
    password,
    presence,
    sending,
    settings,
    stream,
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
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
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
    for module in (api, presence, stream, log_export, logs, figures, learning, settings, notice_settings, password,
                   pages):
        app.include_router(module.router)
    app.include_router(sending.scripts)
    app.include_router(sending.forms)
