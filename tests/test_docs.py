"""Holds the documents to the tree: links lead somewhere, every page is reached, every address of the API is told."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from desk import api, presence

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")


def linked(page: Path) -> set[Path]:
    """The files that a page leads to."""
    targets = (target for target in LINK.findall(page.read_text(encoding="utf8")) if "://" not in target)
    return {(page.parent / target).resolve() for target in targets}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    assert not [str(target) for target in linked(page) if not target.exists()]


def test_every_page_is_reached_from_the_beginning() -> None:
    found, ahead = set(), [ROOT / "README.md", ROOT / "docs" / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in found:
            found.add(page)
            ahead += [target for target in linked(page) if target.suffix == ".md"]
    assert not {page for page in PAGES if page.parent != ROOT} - found


def test_every_place_that_a_change_goes_to_is_there() -> None:
    named = re.findall(r"`((?:crm_store|desk|gateway|bot|actions|warmline|data|tests)/[\w./-]*)`",
                       (ROOT / "docs" / "where-does-my-change-go.md").read_text(encoding="utf8"))
    assert len(named) > 20
    assert not [place for place in named if not (ROOT / place).exists()]


def test_every_address_of_the_api_is_told() -> None:
    told = (ROOT / "docs" / "reference" / "http.md").read_text(encoding="utf8")
    routes = [*api.router.routes, *presence.router.routes]
    last = {re.findall(r"/(\w+)", route.path)[-1] for route in routes}
    assert {"claim", "presence", "login"} <= last
    assert not [name for name in last if not re.search(rf"[/`]{name}[/`]", told)]
