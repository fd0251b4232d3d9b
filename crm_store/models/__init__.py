"""Every table of the CRM store, one module a topic."""
from crm_store.models.base import Base
from crm_store.models.cases import Case
from crm_store.models.conversations import Conversation, DialogueTracker, Message, Rating
from crm_store.models.corrections import Correction
from crm_store.models.customers import ChannelIdentity, Consent, Customer, Feedback, LinkCode
from crm_store.models.knowledge import ArticlePassage, KnowledgeArticle, Macro
from crm_store.models.loyalty import PointsAllocation, PointsEntry, Redemption, Reward, Tier
from crm_store.models.shop import Order, OrderItem, Product, Shipment
from crm_store.models.staff import AuditEntry, DeskSession, LoginFailure, SupportAgent, Team
from crm_store.models.tickets import (
    BusinessCalendar,
    Escalation,
    Notification,
    SlaClock,
    SlaEvent,
    SlaPolicy,
    Ticket,
)

__all__ = [
    "ArticlePassage", "AuditEntry", "Base", "BusinessCalendar", "Case", "ChannelIdentity", "Consent", "Conversation",
    "Correction", "Customer", "DeskSession", "DialogueTracker", "Escalation", "Feedback", "KnowledgeArticle",
    "LinkCode", "LoginFailure", "Macro", "Message", "Notification", "Order", "OrderItem", "PointsAllocation",
    "PointsEntry", "Product", "Rating", "Redemption", "Reward", "Shipment", "SlaClock", "SlaEvent", "SlaPolicy",
    "SupportAgent", "Team", "Ticket", "Tier",
]
