"""What was seen of each WeChat account: the posts of WeChat's servers."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base


class WechatPost(Base):
    """One post that was stored, so that the same again changes nothing.

    ``post_key`` is the message's id, or the sender, time and name of an event, or the signature of a post that is not
    encrypted; ``kind`` is what it was, or the digest of what was signed so.
    """

    __tablename__ = "wechat_posts"
    app_id = sa.Column(sa.String(40), primary_key=True)
    post_key = sa.Column(sa.String(200), primary_key=True)
    kind = sa.Column(sa.String(64), nullable=False)
    received_at = sa.Column(UtcDateTime, nullable=False, index=True)
