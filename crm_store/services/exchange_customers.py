"""Brings in customers, products and knowledge articles from the shop's own systems."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from crm_store.models import Customer, KnowledgeArticle, Product, Tier
from crm_store.queries.points import tiers
from crm_store.rules.exchange_files import Row
from crm_store.services.exchange_rows import (
    Batch,
    Values,
    decide,
    erased_among,
    found_by,
    insert_all,
    update_all,
)
from crm_store.services.knowledge import questions_of, save_article
from crm_store.services.shop_events import Event, tell_shop

CUSTOMER_COLUMNS = ("name", "language", "phone", "email", "city", "address", "birthday", "created_at")
PRODUCT_COLUMNS = ("name_zh", "name_en", "price_fen", "category", "aliases")
ARTICLE_COLUMNS = ("intent", "title_zh", "title_en", "body_zh", "body_en", "published")


def store_customers(batch: Batch) -> None:
    """Create and change customers. A tier counts for a new one only; afterwards what they spend decides."""
    session, rows = batch.session, list(batch.rows)
    stored = found_by(session, Customer, Customer.number, [row.key for row in rows], lock=batch.write)
    gone = erased_among(session, [row.key for row in rows], batch.key)
    ladder: Mapping[str, Tier] = {tier.code: tier for tier in tiers(session)}
    for row in rows:
        known = stored.get(row.key)
        if row.key in gone or (known is not None and known["erased_at"] is not None):
            batch.refuse(row, "number", "erased")
        elif row.values.get("tier") not in (None, *ladder):
            batch.refuse(row, "tier", "choice", choices=", ".join(ladder))
    for column in ("phone", "email"):
        _refuse_taken(batch, column)
    lowest = next(iter(ladder), "silver")

    def values_of(row: Row, known: Values | None) -> Values:
        values = {name: row.values[name] for name in CUSTOMER_COLUMNS if name in row.values}
        if known is None:
            values["tier_code"] = row.values.get("tier") or lowest
            values.setdefault("created_at", batch.now)
            values["tier_since_at"] = batch.now if row.values.get("tier") else values["created_at"]
        return values

    decided = decide(batch, "customers", batch.left(rows), stored, values_of, ("name",), {
        "language": "zh", "phone": None, "email": None, "city": None, "address": None, "birthday": None,
        "erased_at": None})
    if not batch.write:
        return
    insert_all(session, Customer, [{"number": row.key, **values} for row, values in decided.new])
    update_all(session, Customer, [whole for _, whole, _ in decided.changed], CUSTOMER_COLUMNS)
    ids = found_by(session, Customer, Customer.number, [row.key for row, _ in decided.new]) if decided.new else {}
    tell_shop(session, [
        *(Event("customer.created", ids[row.key]["id"], {"source": "import"})
          for row, _ in decided.new),
        *(Event("customer.updated", whole["id"], {"source": "import", "fields": sorted(differs)})
          for row, whole, differs in decided.changed)], batch.now)


def store_products(batch: Batch) -> None:
    """Create and change products."""
    stored = found_by(batch.session, Product, Product.sku, [row.key for row in batch.rows])

    def values_of(row: Row, _: Values | None) -> Values:
        values = {name: row.values[name] for name in PRODUCT_COLUMNS if name in row.values}
        if "price_yuan" in row.values:
            values["price_fen"] = row.values["price_yuan"]
        if "aliases" in values:
            values["aliases"] = list(values["aliases"] or ())
        return values

    decided = decide(batch, "products", batch.rows, stored, values_of,
                     ("name_zh", "name_en", "price_yuan", "category"), {"aliases": []})
    if batch.write:
        insert_all(batch.session, Product, [{"sku": row.key, **values} for row, values in decided.new])
        update_all(batch.session, Product, [whole for _, whole, _ in decided.changed], PRODUCT_COLUMNS)


def store_articles(batch: Batch) -> None:
    """Create and change articles; their passages are written anew, for the encoder to read."""
    session = batch.session
    articles = {article.slug: article for article in session.execute(select(KnowledgeArticle).where(
        KnowledgeArticle.slug.in_([row.key for row in batch.rows]))).scalars()}
    stored: dict[str, Values] = {
        name: {column: getattr(article, column) for column in ARTICLE_COLUMNS}
        | {f"questions_{language}": tuple(questions_of(session, article, language)) for language in ("zh", "en")}
        for name, article in articles.items()}

    def values_of(row: Row, _: Values | None) -> Values:
        values = {name: row.values[name] for name in ARTICLE_COLUMNS if name in row.values}
        for name in ("questions_zh", "questions_en"):
            if name in row.values:
                values[name] = tuple(dict.fromkeys(row.values[name] or ()))
        return values

    decided = decide(batch, "articles", batch.rows, stored, values_of,
                     ("intent", "title_zh", "title_en", "body_zh", "body_en"),
                     {"published": True, "questions_zh": (), "questions_en": ()})
    if batch.write:
        whole: list[tuple[Row, Any]] = [*decided.new, *((row, values) for row, values, _ in decided.changed)]
        for row, values in whole:
            save_article(session, slug=row.key, now=batch.now, **values)


def _refuse_taken(batch: Batch, column: str) -> None:
    """Refuse a phone or an e-mail that somebody else has, in the store or further up in the file."""
    seen: dict[str, str] = batch.memory.setdefault(column, {})
    own = getattr(Customer, column)
    owners = found_by(batch.session, Customer, own, [row.values.get(column) for row in batch.rows])
    for row in batch.left(batch.rows):
        value = row.values.get(column)
        if value is None:
            continue
        owner = owners.get(value)
        if owner is not None and owner["number"] != row.key:
            batch.refuse(row, column, "taken")
        elif seen.setdefault(value, row.key) != row.key:
            batch.refuse(row, column, "twice_in_file")
