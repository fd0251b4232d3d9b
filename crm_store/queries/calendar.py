"""On which clock the shop lives."""
from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm_store.models import BusinessCalendar

DEFAULT_TIME_ZONE = "Asia/Shanghai"


def shop_time_zone(session: Session) -> str:
    """The IANA name of the time zone in which customers are told times: that of the first business calendar."""
    found = session.execute(
        sa.select(BusinessCalendar.time_zone).order_by(BusinessCalendar.id).limit(1)).scalar_one_or_none()
    return str(found or DEFAULT_TIME_ZONE)
