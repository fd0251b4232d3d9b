"""Wires the eraser: the data folder, the key, and what was made of customers' words beside the store."""
from __future__ import annotations

from crm_store.database import Store
from crm_store.services.eraser import Eraser, erasure_key
from warmline.clock import now
from warmline.corrections import write_corrections
from warmline.settings import ROOT, Settings
from warmline.training import CORRECTIONS


def make_eraser(settings: Settings, store: Store) -> Eraser:
    """The eraser of this installation. Training data that was written before is written anew from what is left."""

    def rewrite() -> int:
        if not (ROOT / CORRECTIONS).exists():
            return 0
        written = write_corrections(store, ROOT, now())
        return written.intents + written.moods

    return Eraser(store, settings.data_folder, erasure_key(settings.secret), rewrite)
