"""Brings a database to the newest schema by running the migrations, quietly, from inside the program."""
from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url

MIGRATIONS = Path(__file__).resolve().parent / "migrations"


def migrate(url: str, revision: str = "head") -> None:
    """Run every migration that ``url`` has not seen yet; does nothing when there is none.

    Args:
        url: an SQLAlchemy URL. The folder of an SQLite file is made when it is missing.
        revision: where to stop, normally the newest.
    """
    _make_folder(url)
    command.upgrade(configuration(url), revision)


def configuration(url: str) -> Config:
    """Alembic's configuration for ``url``, without an ini file and without touching logging."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def _make_folder(url: str) -> None:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
