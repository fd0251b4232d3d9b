"""What each command does. Every function takes the settings and the parsed command line and returns an exit code."""
from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields

from warmline.clock import now
from warmline.errors import CommandFailed
from warmline.settings import GENERATED, PREFIX, ROOT, Settings

EMBEDDED_AT_ONCE = 64  # as many as the encoder shares between the cores


def migrate(settings: Settings, _: argparse.Namespace | None = None) -> int:
    """Bring the schema up to date."""
    import sqlalchemy.exc

    from crm_store.schema import migrate as migrate_store

    if settings.database_url.startswith("sqlite"):
        settings.data_folder.mkdir(parents=True, exist_ok=True)
    try:
        migrate_store(settings.database_url)
    except sqlalchemy.exc.OperationalError as error:
        raise CommandFailed(f"the database cannot be reached ({PREFIX}DATABASE_URL): {_first_line(error)}") from error
    return 0


def demo(settings: Settings, _: argparse.Namespace | None = None) -> int:
    """Load the demo shop into an empty store."""
    from crm_store.database import Store
    from crm_store.demo import load_demo_shop

    store = Store(settings.database_url)
    with store.write() as session:
        load_demo_shop(session, folder=ROOT / "data", now=now(), password=settings.demo_password)
    store.close()
    return 0


def embed(settings: Settings, _: argparse.Namespace | None = None) -> int:
    """Let the encoder read the knowledge passages and the cases it has not read yet."""
    from bot.nlu.encoder import EncoderError, load_encoder
    from bot.reading import VectorReader
    from crm_store.database import Store

    try:
        encoder = load_encoder(ROOT / "models" / "encoder")
    except EncoderError as error:
        raise CommandFailed(str(error)) from error
    store = Store(settings.database_url)
    reader = VectorReader(store, encoder, batch=EMBEDDED_AT_ONCE)
    while reader.read_passages() + reader.read_cases():
        pass
    store.close()
    return 0


def train(settings: Settings, asked: argparse.Namespace | None = None) -> int:
    """Train the dialogue model if its data changed."""
    from warmline.training import train_dialogue

    train_dialogue(settings, force=bool(asked and asked.force))
    return 0


def corrections(settings: Settings, _: argparse.Namespace | None = None) -> int:
    """Write the agents' corrections as training data."""
    from crm_store.database import Store
    from warmline.corrections import write_corrections
    from warmline.training import CORRECTIONS

    store = Store(settings.database_url)
    written = write_corrections(store, ROOT, now())
    store.close()
    print(f"{written.intents} intents and {written.moods} moods are in {CORRECTIONS}; {written.held_out} were left "
          "out, because they are measured on. `make train` learns the intents, `make train-encoder` both.")
    return 0


def nightly(settings: Settings, _: argparse.Namespace | None = None) -> int:
    """Do the nightly job now, whether or not it was done today."""
    from crm_store.database import Store
    from crm_store.services.nightly import run_nightly
    from warmline.privacy import make_eraser

    store = Store(settings.database_url)
    counts = run_nightly(store, now, again=True)
    gone = make_eraser(settings, store).keep_periods(now())
    store.close()
    if counts is None:
        raise CommandFailed("the nightly job is under way in another process")
    for name, count in {**counts, **{f"kept_long_enough_{name}": count for name, count in gone.items()}}.items():
        print(f"{name.replace('_', ' ')}: {count}")
    return 0


def erase(settings: Settings, asked: argparse.Namespace) -> int:
    """Carry out what erasures are due; after a restored backup, those of the past again."""
    from crm_store.database import Store
    from warmline.privacy import make_eraser

    store = Store(settings.database_url)
    eraser = make_eraser(settings, store)
    again = eraser.replay(now()) if asked.replay_tombstones else []
    done = eraser.look(now())
    store.close()
    print(f"{len(done)} erasures were carried out" + (f", {len(again)} again" if asked.replay_tombstones else ""))
    return 0


def bot(settings: Settings, _: argparse.Namespace) -> int:
    """Run the dialogue engine in this process."""
    from warmline.processes import run_bot

    return run_bot(settings)


def actions(settings: Settings, _: argparse.Namespace) -> int:
    """Run the action server in this process."""
    from warmline.processes import run_actions

    return run_actions(settings)


def service(settings: Settings, _: argparse.Namespace) -> int:
    """Run the web service and its loops in this process."""
    from warmline.service import run_service

    return run_service(settings)


def prepare(settings: Settings, _: argparse.Namespace) -> int:
    """Do what `run` does before it starts anything."""
    from warmline.run import prepare as prepare_all

    prepare_all(settings)
    return 0


def run(settings: Settings, _: argparse.Namespace) -> int:
    """Prepare what is missing, start everything and look after it."""
    from warmline.run import run_all

    return run_all(settings)


def show_settings(settings: Settings, _: argparse.Namespace) -> int:
    """List the settings."""
    for f in fields(Settings):
        secret = f.name.upper() in GENERATED or f.name.endswith(("password", "token", "secret", "key"))
        value = "(not shown)" if secret else getattr(settings, f.name)
        print(f"{PREFIX}{f.name.upper()}={value}\n    {f.metadata['description']}")
    return 0


def link(settings: Settings, asked: argparse.Namespace) -> int:
    """Print a chat address that signs a customer in."""
    from crm_store.database import Store
    from warmline.run import customer_link

    store = Store(settings.database_url)
    address = customer_link(settings, store, asked.customer)
    store.close()
    if address is None:
        raise CommandFailed(f"there is no customer {asked.customer}")
    print(address)
    return 0


def import_data(settings: Settings, asked: argparse.Namespace) -> int:
    """Bring in the shop's data from a file."""
    from warmline.exchange import import_data as bring_in

    migrate(settings)
    return bring_in(settings, asked)


def export_data(settings: Settings, asked: argparse.Namespace) -> int:
    """Write the shop's data to a file."""
    from warmline.exchange import export_data as give_out

    return give_out(settings, asked)


def telegram(settings: Settings, asked: argparse.Namespace) -> int:
    """Tell Telegram how updates come in, or say how they do."""
    from warmline.telegram import link_customer, set_up_telegram

    if asked.what == "link":
        return link_customer(settings, asked.customer)
    return set_up_telegram(settings, asked.what)


def reset(settings: Settings, _: argparse.Namespace) -> int:
    """Delete what Warmline made by itself: the SQLite store, what was written from it, the model. Secrets stay."""
    from warmline.training import CORRECTIONS, MODEL

    if not settings.database_url.startswith("sqlite"):
        raise CommandFailed("only an SQLite store is reset; empty a PostgreSQL database with its own tools")
    database = settings.database_url[len("sqlite:///"):]
    for suffix in ("", "-wal", "-shm"):
        (ROOT / f"{database}{suffix}").unlink(missing_ok=True)
    MODEL.unlink(missing_ok=True)
    for name in ("trained", "outbox.log"):
        (settings.data_folder / name).unlink(missing_ok=True)
    for folder in (".rasa", CORRECTIONS):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    print("The demo is forgotten; `make run` makes a new one.")
    return 0


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


COMMANDS: Mapping[str, Callable[[Settings, argparse.Namespace], int]] = {
    "run": run, "prepare": prepare, "migrate": migrate, "demo": demo, "train": train, "embed": embed,
    "corrections": corrections, "bot": bot,
    "nightly": nightly, "import": import_data, "export": export_data,
    "actions": actions, "service": service, "settings": show_settings, "reset": reset, "link": link,
    "telegram": telegram, "erase": erase,
}
