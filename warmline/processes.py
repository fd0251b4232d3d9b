"""Runs the dialogue engine and the action server in the current process, wired by the settings."""
from __future__ import annotations

import os
import sys
import warnings
from urllib.parse import urlparse

import yaml

from warmline.errors import CommandFailed
from warmline.logs import set_up_logs
from warmline.settings import ROOT, Settings
from warmline.training import MODEL

LOOPBACK = "127.0.0.1"
NICE = 10


def endpoints_file(settings: Settings) -> str:
    """The endpoints Rasa reads: `endpoints.yml`, with Redis for its locks where several workers share them."""
    if not settings.redis_url:
        return "endpoints.yml"
    redis = urlparse(settings.redis_url)
    endpoints = yaml.safe_load((ROOT / "endpoints.yml").read_text(encoding="utf8"))
    endpoints["lock_store"] = {"type": "redis", "url": redis.hostname or "localhost", "port": redis.port or 6379,
                               "db": int(redis.path.strip("/") or 0), "password": redis.password,
                               "use_ssl": redis.scheme == "rediss"}
    path = settings.data_folder / "endpoints.yml"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # a password may stand in it
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(endpoints, file)
    return str(path)


def quieten_libraries() -> None:
    """Keep the libraries' warnings about each other out of the operator's log."""
    import sanic.app  # noqa: F401  # turns every DeprecationWarning on while it is imported

    warnings.filterwarnings("ignore")


def give_way() -> None:
    """Let the service go first where processors are short: channels wait for it, and for a turn they never do."""
    os.nice(NICE)


def rasa_arguments(settings: Settings) -> list[str]:
    """What Rasa's command line is told."""
    arguments = ["rasa", "run", "--model", str(MODEL), "--endpoints", endpoints_file(settings),
                 "--credentials", "credentials.yml", "--interface", LOOPBACK, "--port", str(settings.bot_port),
                 "--enable-api", f"--auth-token={settings.bot_token}"]  # one argument: a token may begin with "-"
    return arguments + ["--debug"] * (settings.log_level == "DEBUG")


def run_bot(settings: Settings) -> int:
    """Run Rasa with the trained model, on loopback, with its API behind the bot token.

    Raises:
        CommandFailed: no model was trained yet.
    """
    if not MODEL.exists():
        raise CommandFailed("there is no trained dialogue model; `python -m warmline train` makes one")
    give_way()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ.update(settings.environment())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["SQLALCHEMY_SILENCE_UBER_WARNING"] = "1"
    if settings.bot_workers > 1:
        os.environ["SANIC_WORKERS"] = str(settings.bot_workers)
    quieten_libraries()
    # Rasa has no programmatic start with all of this; the token is in this list, not in what `ps` shows
    sys.argv = rasa_arguments(settings)
    from rasa.__main__ import main

    main()
    return 0


def run_actions(settings: Settings) -> int:
    """Run the action server on loopback."""
    give_way()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ["SQLALCHEMY_SILENCE_UBER_WARNING"] = "1"
    set_up_logs(settings.log_level)
    quieten_libraries()
    from rasa_sdk.endpoint import create_app

    import actions.store
    from crm_store.database import Store
    from warmline.clock import now

    actions.store.use(Store(settings.database_url), now, outbox=settings.data_folder / "outbox.log",
                      public_url=settings.link_url)
    create_app("actions").run(LOOPBACK, settings.actions_port, access_log=False, motd=False)
    return 0
