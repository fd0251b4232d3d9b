"""Every table of the CRM store, one module a topic."""
from crm_store.models.attachments import Attachment
from crm_store.models.base import Base
from crm_store.models.blocks import Block
from crm_store.models.care import CareCampaign, CareMessage
from crm_store.models.cases import Case
from crm_store.models.conversations import Conversation, DialogueTracker, Message, Rating
from crm_store.models.corrections import Correction, Label
from crm_store.models.customers import ChannelIdentity, Consent, Customer, Feedback, LinkCode
from crm_store.models.deliveries import NotificationDelivery, NotificationPreference, Webhook
from crm_store.models.exchange import ExchangeToken, Import, RowVersion, ShopEvent
from crm_store.models.jobs import Job
from crm_store.models.knowledge import ArticlePassage, KnowledgeArticle, Macro
from crm_store.models.loyalty import PointsAllocation, PointsEntry, Redemption, Reward, Tier
from crm_store.models.memory import Fact
from crm_store.models.merges import Merge
from crm_store.models.outgoing import MessageDelivery
from crm_store.models.presence import Presence
from crm_store.models.privacy import DataCopy, Erasure, RetentionPeriod, Tombstone
from crm_store.models.saved_searches import SavedSearch
from crm_store.models.search import INDEX_TABLE
from crm_store.models.shop import Order, OrderItem, Product, Shipment
from crm_store.models.staff import AuditEntry, DeskSession, LoginFailure, SupportAgent, Team
from crm_store.models.surveys import Recommendation
from crm_store.models.telegram import TelegramBot, TelegramUpdate
from crm_store.models.tickets import (
    BusinessCalendar,
    Escalation,
    Notification,
    SlaClock,
    SlaEvent,
    SlaPolicy,
    Ticket,
)
from crm_store.models.value import CustomerValue, ValueMark, ValueModel
from crm_store.models.wechat import WechatPost

__all__ = [
    "INDEX_TABLE",
    "ArticlePassage",
    "Attachment",
    "AuditEntry",
    "Base",
    "Block",
    "BusinessCalendar",
    "CareCampaign", "CareMessage", "Case",
    "ChannelIdentity",
    "Consent",
    "Conversation",
    "Correction",
    "Customer",
    "CustomerValue",
    "DataCopy",
    "DeskSession",
    "DialogueTracker",
    "Erasure",
    "Escalation",
    "ExchangeToken",
    "Fact", "Feedback",
    "Import",
    "Job",
    "KnowledgeArticle",
    "Label",
    "LinkCode",
    "LoginFailure",
    "Macro", "Merge",
    "Message",
    "MessageDelivery",
    "Notification",
    "NotificationDelivery",
    "NotificationPreference",
    "Order",
    "OrderItem",
    "PointsAllocation",
    "PointsEntry",
    "Presence",
    "Product",
    "Rating",
    "Recommendation",
    "Redemption",
    "RetentionPeriod",
    "Reward",
    "RowVersion",
    "SavedSearch",
    "Shipment",
    "ShopEvent",
    "SlaClock",
    "SlaEvent",
    "SlaPolicy",
    "SupportAgent",
    "Team",
    "TelegramBot",
    "TelegramUpdate",
    "Ticket",
    "Tier",
    "Tombstone",
    "ValueMark",
    "ValueModel",
    "Webhook",
    "WechatPost",
]
