"""The settings: what managers change as data, each change in the audit log."""
from __future__ import annotations

from fastapi import APIRouter

from desk.routing import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
