"""The files of attachments on disk, each under a token that nobody can guess; no name of a sender is part of a path.

A file is written beside its place, made durable and then moved there, so that what is in its place is whole. What a
crash leaves behind is found by :meth:`AttachmentFiles.strays`.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from crm_store.errors import FileTooLarge
from crm_store.rules.attachments import HEAD

FOLDER = "attachments"  # of the data folder
TOKEN = re.compile(r"[0-9a-f]{48}")
UNFINISHED = ".part"
KEPT_FREE = 256 * 1024 * 1024  # bytes that must be left on the disk, for the store too
STRAY_AFTER = timedelta(hours=1)  # far longer than a file waits for its row


def new_token() -> str:
    """A token nobody can guess."""
    return secrets.token_hex(24)


def place_of(token: str) -> Path:
    """Where a token's file lies, inside the folder.

    Raises:
        ValueError: it is no token.
    """
    if not TOKEN.fullmatch(token):
        raise ValueError("no token of an attachment")
    return Path(token[:2], token)


class AttachmentFiles:
    """The folder of the files; made when the first one comes."""

    def __init__(self, folder: Path) -> None:
        """Look at nothing yet."""
        self._folder = folder

    def path_of(self, token: str) -> Path | None:
        """The file of a token, None where there is none."""
        if not TOKEN.fullmatch(token):
            return None
        path = self._folder / place_of(token)
        return path if path.is_file() else None

    @contextlib.contextmanager
    def writing(self, token: str, limit: int) -> Iterator[Writing]:
        """Write a token's file; what was not kept at the end is gone.

        Args:
            token: whose file.
            limit: bytes it may have.
        """
        place = self._folder / place_of(token)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = place.with_name(f"{token}-{secrets.token_hex(4)}{UNFINISHED}")
        writing = Writing(part, place, limit)
        try:
            yield writing
        finally:
            writing.close()

    def room(self) -> int:
        """Bytes that are free on the disk."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return shutil.disk_usage(self._folder).free

    def is_full(self) -> bool:
        """Whether no more files are to be written."""
        return self.room() < KEPT_FREE

    def delete(self, places: Iterable[Path]) -> int:
        """Delete files by their places inside the folder; how many were there."""
        gone = 0
        for place in places:
            with contextlib.suppress(FileNotFoundError):
                (self._folder / place_of(place.name)).unlink()
                gone += 1
        return gone

    def strays(self, now: datetime) -> tuple[list[Path], list[str]]:
        """Old unfinished files, and the tokens of all old files: those that no row knows are to be deleted."""
        unfinished, tokens = [], []
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                if now.timestamp() - path.stat().st_mtime < STRAY_AFTER.total_seconds():
                    continue
                if path.name.endswith(UNFINISHED):
                    unfinished.append(path)
                elif TOKEN.fullmatch(path.name):
                    tokens.append(path.name)
        return unfinished, tokens


class Writing:
    """A file that is being written. ``head`` are its first bytes."""

    def __init__(self, part: Path, place: Path, limit: int) -> None:
        """Begin an empty file."""
        self._part, self._place, self._limit = part, place, limit
        self._sum = hashlib.sha256()
        self._file = open(part, "xb")  # closed by close()
        self.size = 0
        self.head = b""

    @property
    def sha256(self) -> str:
        """The digest of what was written so far."""
        return self._sum.hexdigest()

    def write(self, data: bytes) -> None:
        """Write more.

        Raises:
            FileTooLarge: that would be more than allowed.
        """
        self.size += len(data)
        if self.size > self._limit:
            raise FileTooLarge(limit=self._limit)
        if len(self.head) < HEAD:
            self.head += data[:HEAD - len(self.head)]
        self._sum.update(data)
        self._file.write(data)

    def keep(self) -> None:
        """Put the file in its place, durably."""
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._part, self._place)
        folder = os.open(self._place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """End; the file is gone unless it was kept."""
        self._file.close()
        self._part.unlink(missing_ok=True)
