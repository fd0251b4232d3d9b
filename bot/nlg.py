"""Chooses the response variation in the language of the message that is answered."""
from __future__ import annotations

from typing import Any

from rasa.core.nlg.response import TemplatedNaturalLanguageGenerator
from rasa.shared.core.domain import Domain
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.utils.endpoints import EndpointConfig

from crm_store.rules.memory import brisk

LANGUAGES = ("zh", "en")


def language_of(parse_data: dict[str, Any] | None) -> str:
    """The language to answer in: the message's own, else what the conversation is known to use, else Chinese."""
    parse_data = parse_data or {}
    context = parse_data.get("metadata") or {}
    for language in (parse_data.get("language"), context.get("language")):
        if language in LANGUAGES:
            return str(language)
    return "zh"


def tone_of(parse_data: dict[str, Any] | None) -> str | None:
    """How the customer wants to be spoken to, as the message's context says."""
    customer = ((parse_data or {}).get("metadata") or {}).get("customer") or {}
    return customer.get("tone")


class BilingualResponses(TemplatedNaturalLanguageGenerator):  # type: ignore[misc]
    """Responses of the domain, filtered by the condition on the slot ``language``.

    The slot itself is never set: a customer may change language in the middle of a conversation, and the answer to a
    message is in the language of that message.
    """

    def __init__(self, endpoint_config: EndpointConfig | None = None, domain: Domain | None = None) -> None:
        """Take the responses of ``domain``; Rasa replaces them when it loads a model."""
        super().__init__(domain.responses if domain else {})

    async def generate(
        self, utter_action: str, tracker: DialogueStateTracker, output_channel: str, **kwargs: Any
    ) -> dict[str, Any] | None:
        """The response ``utter_action`` in the customer's language, its placeholders filled."""
        latest = tracker.latest_message.parse_data if tracker.latest_message else None
        values = {**tracker.current_slot_values(), "language": language_of(latest)}
        response: dict[str, Any] | None = self.generate_from_slots(utter_action, values, output_channel, **kwargs)
        if response and response.get("text") and tone_of(latest) == "brisk":
            response = {**response, "text": brisk(response["text"])}
        return response
