"""The files of the chat page and of the widget, as browsers get them."""
from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path

import rjsmin
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class ChatFiles(StaticFiles):
    """The page's files. Their address changes with their content, so a browser may keep them.

    Scripts are served without comments and needless space, and packed for whoever can unpack them: the widget must not
    slow a shop's page down.
    """

    def __init__(self, folder: Path, version: str) -> None:
        super().__init__(directory=folder)
        self._version = version
        scripts = {path.name: rjsmin.jsmin(path.read_text(encoding="utf8")).encode() for path in folder.glob("*.js")}
        self._scripts = {name: (script, gzip.compress(script, mtime=0)) for name, script in scripts.items()}

    def script(self, name: str, headers: Mapping[str, str]) -> Response:
        """A script, for a request with these headers."""
        plain, packed = self._scripts[name]
        pack = "gzip" in headers.get("accept-encoding", "")
        response = Response(packed if pack else plain, media_type="text/javascript")
        response.headers["Vary"] = "Accept-Encoding"
        if pack:
            response.headers["Content-Encoding"] = "gzip"
        return response

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with how long it may be kept."""
        if path in self._scripts and scope["method"] in ("GET", "HEAD"):
            response = self.script(path, Headers(scope=scope))
        else:
            response = await super().get_response(path, scope)
        kept = scope.get("query_string", b"").decode("latin-1") == f"v={self._version}"
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def version_of(folder: Path) -> str:
    """A short name for the content of the files in a folder."""
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        content.update(path.read_bytes())
    return content.hexdigest()[:12]
