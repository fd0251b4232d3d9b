"""A PostgreSQL server of its own to measure on, on loopback and durable as in production; stopped afterwards."""
from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.processes import free_ports

UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


def find_program(name: str) -> str | None:
    """A program on PATH or where Debian keeps PostgreSQL's."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


class PostgresServer:
    """A running server; :meth:`stop` and :meth:`start` are how it breaks down and comes back."""

    def __init__(self, pg_ctl: str, folder: Path, port: int, as_user: Mapping[str, Any]) -> None:
        """Not started yet; ``folder`` holds the cluster."""
        self._pg_ctl, self._folder, self._port, self._as_user = pg_ctl, folder, port, as_user
        self.url = f"postgresql+psycopg2://warmline@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        self.run(self._pg_ctl, "-D", str(self.data), "-l", str(self._folder / "log"), "-w", "-t", "120", "-o", options,
                 "start")

    def stop(self) -> None:
        """Stop as if the power went: every connection breaks, and the next start recovers from the log."""
        self.run(self._pg_ctl, "-D", str(self.data), "-m", "immediate", "-w", "stop")

    @property
    def data(self) -> Path:
        """Where the cluster lies."""
        return self._folder / "data"

    def run(self, *command: str) -> None:
        """One of PostgreSQL's programs, as a user it accepts."""
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder,
                       env={**os.environ, "LC_ALL": "C"}, **self._as_user)


@contextmanager
def postgres() -> Iterator[PostgresServer | None]:
    """A server with an empty database; None where PostgreSQL is not installed."""
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    if initdb is None or pg_ctl is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="warmline-bench-postgres-"))
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = {"user": account.pw_uid, "group": account.pw_gid}
    server = PostgresServer(pg_ctl, folder, free_ports(1)[0], as_user)
    server.run(initdb, "-D", str(server.data), "-U", "warmline", "--auth=trust", "-E", "UTF8", "--no-sync")
    server.start()
    try:
        yield server
    finally:
        with suppress(subprocess.CalledProcessError):  # it may be down already
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """The URL of an empty database; None where PostgreSQL is not installed."""
    with postgres() as server:
        yield None if server is None else server.url
