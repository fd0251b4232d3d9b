"""What stock Rasa takes messages for: its default pipeline, trained on the same examples."""
from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

from bench import stock
from bench.evaluation.held_out import ROOT
from bot.nlu.intent_model import OUT_OF_SCOPE

FOLDER = ROOT / "results" / "stock-nlu"


def stock_intents(texts: Sequence[str], epochs: int) -> list[str]:
    """The intent of each text; what its fallback takes is out of scope, as it is in Warmline.

    Args:
        texts: The messages.
        epochs: How long it is trained, unless it was already on the same data.
    """
    model = stock.trained(FOLDER, epochs, nlu_only=True)
    os.environ.update(stock.QUIET)
    import structlog
    from rasa.core.agent import Agent
    from rasa.shared.constants import DEFAULT_NLU_FALLBACK_INTENT_NAME

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    agent = Agent.load(str(model))

    async def read() -> list[str | None]:
        return [(await agent.parse_message(text))["intent"]["name"] for text in texts]

    return [OUT_OF_SCOPE if name in (None, DEFAULT_NLU_FALLBACK_INTENT_NAME) else str(name)
            for name in asyncio.run(read())]
