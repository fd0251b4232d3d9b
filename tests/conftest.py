"""What every test may ask for: the time, a migrated store on each database, a PostgreSQL server of its own."""
from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from crm_store.database import Store
from crm_store.schema import migrate

IN_CI = os.environ.get("CI") == "true"
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


def require(available: object, reason: str) -> None:
    """Skip with a reason where something is missing; in CI nothing may be."""
    if available:
        return
    if IN_CI:
        pytest.fail(f"{reason}; CI installs it and skips nothing")
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_program(name: str) -> str | None:
    """A program on PATH or where Debian keeps PostgreSQL's."""
    on_path = shutil.which(name)
    if on_path:
        return on_path
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else None


@pytest.fixture
def now() -> datetime:
    """A Wednesday morning in Shanghai, inside business hours and outside every holiday: 2026-11-18 10:00."""
    return datetime(2026, 11, 18, 2, 0, tzinfo=timezone.utc)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server started for this run, on loopback and a socket of its own; stopped afterwards."""
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    require(initdb and pg_ctl, "PostgreSQL (initdb, pg_ctl) is not installed")
    assert initdb and pg_ctl
    folder = Path(tempfile.mkdtemp(prefix="warmline-postgres-"))  # pytest's own folders are closed to other users
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = {"user": account.pw_uid, "group": account.pw_gid}
    port, data = free_port(), folder / "data"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder,
                       env={**os.environ, "LC_ALL": "C"}, **as_user)  # type: ignore[call-overload]

    run(initdb, "-D", str(data), "-U", "warmline", "--auth=trust", "-E", "UTF8", "--no-sync")
    options = (f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60 "
               f"-c unix_socket_directories={folder}")
    run(pg_ctl, "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
    try:
        yield f"postgresql+psycopg2://warmline@127.0.0.1:{port}/postgres"
    finally:
        run(pg_ctl, "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server started for this run, on loopback; stopped afterwards."""
    program = find_program("redis-server")
    require(program, "Redis (redis-server) is not installed")
    assert program
    port = free_port()
    server = subprocess.Popen([program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"],
                              cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    with Store(f"sqlite:///{path}").engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """The name of a migrated, empty PostgreSQL database to copy."""
    migrate(create_database(postgres_url, "warmline_template"))
    return "warmline_template"


def create_database(postgres_url: str, name: str) -> str:
    """An empty database on the server; its URL."""
    _admin(postgres_url, f"CREATE DATABASE {name}")
    return postgres_url.rsplit("/", 1)[0] + f"/{name}"


def _admin(url: str, statement: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", future=True)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture(scope="session")
def _database_names() -> Callable[[], str]:
    count = iter(range(1_000_000))
    return lambda: f"test_{next(count)}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, _database_names: Callable[[], str]) -> Iterator[Store]:
    """A migrated, empty store: every test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "warmline.db")
        opened = Store(f"sqlite:///{tmp_path / 'warmline.db'}")
        yield opened
        opened.close()
        return
    url = request.getfixturevalue("postgres_url")
    template, name = request.getfixturevalue("postgres_template"), _database_names()
    _admin(url, f"CREATE DATABASE {name} TEMPLATE {template}")
    opened = Store(url.rsplit("/", 1)[0] + f"/{name}")
    yield opened
    opened.close()
    _admin(url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    """A migrated, empty store on SQLite only, for what does not depend on the database."""
    shutil.copy(sqlite_template, tmp_path / "warmline.db")
    opened = Store(f"sqlite:///{tmp_path / 'warmline.db'}")
    yield opened
    opened.close()
