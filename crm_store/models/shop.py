"""Products, orders and parcels."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

ORDER_STATUSES = ("unpaid", "paid", "packed", "shipped", "delivered", "completed", "cancelled", "returning", "returned")


class Product(Base):
    """Something the shop sells. Prices are in fen (1/100 yuan)."""

    __tablename__ = "products"
    id = sa.Column(Id, primary_key=True)
    sku = sa.Column(sa.String(40), nullable=False, unique=True)
    name_zh = sa.Column(sa.String(120), nullable=False)
    name_en = sa.Column(sa.String(120), nullable=False)
    aliases = sa.Column(sa.JSON, nullable=False, default=list)
    price_fen = sa.Column(sa.Integer, nullable=False)
    category = sa.Column(sa.String(40), nullable=False)


class Order(Base):
    """An order. ``number`` is WL, the day it was placed, and three digits."""

    __tablename__ = "orders"
    id = sa.Column(Id, primary_key=True)
    number = sa.Column(sa.String(20), nullable=False, unique=True)
    customer_id = reference("customers.id", nullable=True)
    status = sa.Column(sa.String(12), nullable=False)
    phone = sa.Column(sa.String(20), nullable=False)
    address = sa.Column(sa.String(300), nullable=False)
    total_fen = sa.Column(sa.Integer, nullable=False)
    placed_at = sa.Column(UtcDateTime, nullable=False)
    paid_at = sa.Column(UtcDateTime)
    completed_at = sa.Column(UtcDateTime)
    returned_at = sa.Column(UtcDateTime)
    refunded_at = sa.Column(UtcDateTime)
    refunded_fen = sa.Column(sa.Integer, nullable=False, default=0, server_default="0")  # of an order kept in part
    note = sa.Column(sa.Text)
    customer = relationship("Customer")
    items = relationship("OrderItem", back_populates="order", order_by="OrderItem.id")
    shipments = relationship("Shipment", back_populates="order", order_by="Shipment.id")
    __table_args__ = (
        one_of("status", "status", ORDER_STATUSES),
        sa.Index("ix_orders_customer_id_placed_at", "customer_id", "placed_at"),
    )


class OrderItem(Base):
    """One line of an order, with the price that was paid a piece, in fen."""

    __tablename__ = "order_items"
    id = sa.Column(Id, primary_key=True)
    order_id = reference("orders.id")
    product_id = reference("products.id")
    quantity = sa.Column(sa.Integer, nullable=False)
    price_fen = sa.Column(sa.Integer, nullable=False)
    order = relationship("Order", back_populates="items")
    product = relationship("Product")


class Shipment(Base):
    """A parcel. ``events`` is a list of {"at": ISO time, "zh": …, "en": …}, oldest first."""

    __tablename__ = "shipments"
    id = sa.Column(Id, primary_key=True)
    order_id = reference("orders.id")
    carrier_zh = sa.Column(sa.String(40), nullable=False)
    carrier_en = sa.Column(sa.String(40), nullable=False)
    tracking_number = sa.Column(sa.String(40), nullable=False, unique=True)
    shipped_at = sa.Column(UtcDateTime, nullable=False)
    expected_at = sa.Column(UtcDateTime)
    delivered_at = sa.Column(UtcDateTime)
    events = sa.Column(sa.JSON, nullable=False, default=list)
    order = relationship("Order", back_populates="shipments")
