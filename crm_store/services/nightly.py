"""The nightly job: settles orders, reviews and raises tiers, writes off lapsed points, judges value, cleans up.

It goes in steps, each a unit of work of its own over some hundred customers, and every step may be done twice: a run
that was killed is simply run again. It judges by when things happened and not by when it runs, so a night that was
missed is made up by the next. One row (``Job``) says for which day it was last finished; a lease on it keeps a second
worker away, which would do no harm but the same work.
"""
from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from crm_store.database import Store
from crm_store.models import Job
from crm_store.rules.points import SHOP_ZONE
from crm_store.rules.tiers import last_review
from crm_store.services.housekeeping import clean_up
from crm_store.services.points import expire_points, settle_orders
from crm_store.services.tiers import raise_tiers, review_tiers
from crm_store.services.value import judge_values, learn, learn_from_values, recount_values

NAME = "nightly"
BEGINS = time(3)  # by the shop's clock
LEASE = timedelta(minutes=5)  # far longer than a step takes

Step = Callable[[Session, datetime, int], "tuple[int, int | None]"]


def _clean(session: Session, now: datetime, _after: int) -> tuple[int, int | None]:
    return clean_up(session, now), None


# The review comes before the raising: what was bought after the year began counts for going up again.
STEPS: tuple[tuple[str, Step], ...] = (
    ("orders_settled", settle_orders), ("tiers_lowered", review_tiers), ("tiers_raised", raise_tiers),
    ("points_lapsed", expire_points), ("values_counted", recount_values), ("values_learned", learn_from_values),
    ("values_judged", judge_values), ("rows_cleaned_up", _clean))


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        day: the shop's day it is for.
        began_at: when the run began, which is the time it judges by.
        worker: names the run, for its lease.
        step: which of ``STEPS`` is next; past the last it is finished.
        after: the last customer or order that was done in this step.
        counts: how many of what, so far.
        stopped: another worker has taken over.
    """

    day: date
    began_at: datetime
    worker: str
    step: int = 0
    after: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do for this worker."""
        return self.stopped or self.step > len(STEPS)


def due_day(now: datetime, zone: ZoneInfo = SHOP_ZONE) -> date:
    """The shop's day whose nightly run should have begun by ``now``."""
    local = now.astimezone(zone)
    return local.date() if local.time() >= BEGINS else local.date() - timedelta(days=1)


def next_run(now: datetime, zone: ZoneInfo = SHOP_ZONE) -> datetime:
    """When the run after the one that is due by ``now`` begins, in UTC."""
    return datetime.combine(due_day(now, zone) + timedelta(days=1), BEGINS, zone).astimezone(timezone.utc)


def begin_nightly(session: Session, now: datetime, *, again: bool = False) -> Progress | None:
    """Take the job, if it has not been done for the day and nobody is at it.

    Args:
        session: the unit of work.
        now: when.
        again: also when it was done for the day already.
    """
    job, day = _job(session), due_day(now)
    taken = job.worker is not None and job.worker_until > now
    if taken or (job.done_for is not None and job.done_for >= day and not again):
        return None
    if job.reviewed_year is None:  # a shop that has just begun: its tiers are as they were given, until the year ends
        job.reviewed_year = _year(now)
    job.worker, job.worker_until = secrets.token_hex(8), now + LEASE
    session.flush()
    return Progress(day, now, job.worker)


def prepare_step(session: Session, progress: Progress) -> Any:
    """What the next piece takes seconds to reckon: nobody has to wait for a unit of work meanwhile."""
    learns = progress.step < len(STEPS) and STEPS[progress.step][1] is learn_from_values
    return learn(session, progress.began_at) if learns else None


def take_step(session: Session, progress: Progress, now: datetime, prepared: Any = None) -> Progress:
    """Do the next piece; what comes back goes into the next call, once this unit of work is committed.

    ``now`` prolongs the lease; what happens is judged by when the run began. ``prepared`` is what
    :func:`prepare_step` gave.
    """
    job = _job(session)
    if job.worker != progress.worker:
        return replace(progress, stopped=True)
    job.worker_until = now + LEASE
    if progress.step == len(STEPS):
        job.done_for, job.done_at, job.reviewed_year = progress.day, now, _year(progress.began_at)
        job.report, job.worker, job.worker_until = dict(progress.counts), None, None
        session.flush()
        return replace(progress, step=progress.step + 1)
    name, step = STEPS[progress.step]
    reviewed = step is review_tiers and job.reviewed_year == _year(progress.began_at)
    if step is learn_from_values:
        done, last = learn_from_values(session, progress.began_at, learned=prepared)
    else:
        done, last = (0, None) if reviewed else step(session, progress.began_at, progress.after)
    counts = {**progress.counts, name: progress.counts.get(name, 0) + done}
    if last is None:
        return replace(progress, step=progress.step + 1, after=0, counts=counts)
    return replace(progress, after=last, counts=counts)


def run_nightly(store: Store, clock: Callable[[], datetime], *, again: bool = False) -> dict[str, int] | None:
    """Run the job to its end, one unit of work a step.

    Returns:
        How many of what; None where it was done already or another worker has it.
    """
    now = clock()
    with store.write() as session:
        progress = begin_nightly(session, now, again=again)
    while progress is not None and not progress.over:
        with store.read() as session:
            prepared = prepare_step(session, progress)
        with store.write() as session:
            progress = take_step(session, progress, clock(), prepared)
    return None if progress is None or progress.stopped else dict(progress.counts)


def _year(now: datetime) -> int:
    return last_review(now).astimezone(SHOP_ZONE).year


def _job(session: Session) -> Job:
    """The job's row, locked; made where it is missing."""
    wanted = select(Job).where(Job.name == NAME).with_for_update().execution_options(populate_existing=True)
    job: Job | None = session.execute(wanted).scalar_one_or_none()
    if job is None:
        insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
        session.execute(insert(Job.__table__).values(name=NAME, report={}).on_conflict_do_nothing())
        job = session.execute(wanted).scalar_one()
    return job
