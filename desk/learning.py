"""The learning queue: what the bot did not understand, to be labelled into training examples."""
from __future__ import annotations

from fastapi import APIRouter

from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
