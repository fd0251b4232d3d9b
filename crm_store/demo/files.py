"""Reads the files of the demo shop: JSON lists, and knowledge articles with their front matter."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class ArticleFile:
    """One knowledge article as it is written in ``data/kb``."""

    slug: str
    intent: str
    title_zh: str
    title_en: str
    questions_zh: list[str]
    questions_en: list[str]
    body_zh: str
    body_en: str


@dataclass(frozen=True)
class ShopFiles:
    """Everything the demo shop is made of."""

    products: list[dict[str, Any]]
    rewards: list[dict[str, Any]]
    names: dict[str, list[Any]]
    complaints: list[dict[str, Any]]
    macros: list[dict[str, Any]]
    empathy: list[dict[str, Any]]
    articles: list[ArticleFile]


def read_shop_files(folder: Path) -> ShopFiles:
    """Read ``demo/*.json`` and ``kb/*.md`` in ``folder``.

    Raises:
        ValueError: an article is not written as it should be; the message names the file.
    """
    lists = {name: json.loads((folder / "demo" / f"{name}.json").read_text(encoding="utf8"))
             for name in ("products", "rewards", "names", "complaints", "macros", "empathy")}
    return ShopFiles(articles=[read_article(path) for path in sorted((folder / "kb").glob("*.md"))], **lists)


def read_article(path: Path) -> ArticleFile:
    """Read one article: YAML between two lines of dashes, then a ``## zh`` and a ``## en`` section.

    Raises:
        ValueError: a part is missing; the message names the file.
    """
    try:
        _, front, text = path.read_text(encoding="utf8").split("---\n", 2)
        _, sections = text.split("## zh\n", 1)
        body_zh, body_en = sections.split("\n## en\n", 1)
        return ArticleFile(**yaml.safe_load(front), body_zh=body_zh.strip(), body_en=body_en.strip())
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name} is no knowledge article: {error}") from error
