"""The managers' figures: charts and tables, each point a way to the conversations behind it."""
from __future__ import annotations

from fastapi import APIRouter

from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
