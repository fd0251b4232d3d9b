"""Who still is a customer, how often they will come and what they will spend: the models and how they are fitted.

Buying is the MBG/NBD model (Batislam, Denizel & Filiztekin, *Empirical validation and comparison of models for customer
base analysis*, IJRM 24, 2007; Hoppe & Wagner 2007), which is the BG/NBD of Fader, Hardie & Lee (*"Counting Your
Customers" the Easy Way*, Marketing Science 24, 2005) with one thing changed: a buyer may be lost right after the first
purchase and not only after the second, so that somebody who came once and stays away grows less likely to return. Every
buyer has a rate of buying, gamma distributed with ``r`` and ``alpha``, and after each purchase a chance to leave, beta
distributed with ``a`` and ``b``.

Spending is the Gamma-Gamma model (Fader & Hardie, *The Gamma-Gamma Model of Monetary Value*, 2013). It takes how much
somebody spends at a time to have nothing to do with how often they come.

Times are in days of the shop. A buyer is ``x``, the purchases after the first; ``t_x``, the days from the first to the
last; ``age``, the days from the first until now.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from crm_store.rules.value import Facts, score_of, segment_of, stage_of

Numbers = npt.NDArray[np.float64]

HORIZON_DAYS = 365
FEWEST_BUYERS, FEWEST_REPEATERS = 100, 50
FEWEST_DAYS = 90  # from the first purchase of the shop until now
LARGEST_SAMPLE = 20_000  # of so many, the parameters are known to a few percent
BOUNDS = (-8.0, 8.0)  # of the logarithms, of times measured by the mean age and money by the mean purchase


@dataclass(frozen=True)
class Buying:
    """The parameters of the MBG/NBD model, ``alpha`` in days."""

    r: float
    alpha: float
    a: float
    b: float


@dataclass(frozen=True)
class Spending:
    """The parameters of the Gamma-Gamma model, ``gamma`` in fen."""

    p: float
    q: float
    gamma: float


@dataclass(frozen=True)
class Model:
    """What a buyer is judged by; None is what there was too little for.

    Attributes:
        rhythm_days: after how many days a buyer of this shop usually comes back.
        recency: the borders of the last day, as ordinals.
        frequency: the borders of the purchases.
        monetary: the borders of what was spent.
        buying: how likely they come.
        spending: how much they spend.
    """

    rhythm_days: int
    recency: Sequence[int] | None = None
    frequency: Sequence[int] | None = None
    monetary: Sequence[int] | None = None
    buying: Buying | None = None
    spending: Spending | None = None


@dataclass(frozen=True)
class Judgement:
    """What follows from a buyer's facts on a day; the fields are those of ``CustomerValue``."""

    recency: int | None
    frequency: int | None
    monetary: int | None
    segment: str | None
    stage: str
    alive: float | None
    expected_purchases: float | None
    worth_fen: int | None


def judge(buyers: Sequence[Facts], model: Model, today: date) -> list[Judgement]:
    """What follows from the facts of buyers on a day, in their order."""
    alive, expected, worth = _outlook(buyers, model, today)
    found = []
    for place, facts in enumerate(buyers):
        scores: tuple[int | None, int | None, int | None] = (None, None, None)
        segment = None
        if model.recency is not None and model.frequency is not None and model.monetary is not None:
            scores = (recency, frequency, monetary) = (
                score_of(facts.last_on.toordinal(), model.recency), score_of(facts.purchases, model.frequency),
                score_of(facts.spent_fen, model.monetary))
            segment = segment_of(recency, frequency, monetary, facts.purchases)
        found.append(Judgement(*scores, segment, stage_of(facts, model.rhythm_days, today), alive[place],
                               expected[place], worth[place]))
    return found


def _outlook(buyers: Sequence[Facts], model: Model,
             today: date) -> tuple[Sequence[float | None], Sequence[float | None], Sequence[int | None]]:
    nothing = [None] * len(buyers)
    if model.buying is None or not buyers:
        return nothing, nothing, nothing
    x, t_x, age = times_of(buyers, today)
    alive = p_alive(model.buying, x, t_x, age)
    expected = expected_purchases(model.buying, x, t_x, age, HORIZON_DAYS)
    worth: Sequence[int | None] = nothing
    if model.spending is not None:
        mean = np.array([facts.spent_fen for facts in buyers], dtype=float) / (x + 1)
        worth = [round(each) for each in (expected * expected_spend(model.spending, x + 1, mean)).tolist()]
    # the last digits of a number may depend on who else it is computed with
    return np.round(alive, 6).tolist(), np.round(expected, 4).tolist(), worth


def times_of(buyers: Sequence[Facts], today: date) -> tuple[Numbers, Numbers, Numbers]:
    """``x``, ``t_x`` and ``age`` of buyers; none is younger than their last purchase."""
    x = np.array([facts.purchases - 1 for facts in buyers], dtype=float)
    t_x = np.array([(facts.last_on - facts.first_on).days for facts in buyers], dtype=float)
    age = np.array([(max(today, facts.last_on) - facts.first_on).days for facts in buyers], dtype=float)
    return x, t_x, age


def p_alive(by: Buying, x: Numbers, t_x: Numbers, age: Numbers) -> Numbers:
    """The probability that buyers still are customers; the longer they are silent, the smaller.

    Batislam et al. 2007: 1 / (1 + a / (b + x) ((alpha + age) / (alpha + t_x))^(r + x)).
    """
    silence = (by.r + x) * (np.log(by.alpha + age) - np.log(by.alpha + t_x))
    return np.asarray(1 / (1 + by.a / (by.b + x) * np.exp(np.minimum(silence, 700.0))))


def expected_purchases(by: Buying, x: Numbers, t_x: Numbers, age: Numbers, days: float) -> Numbers:
    """How often buyers are expected to come in the next ``days``.

    Equation 10 of Fader, Hardie & Lee 2005 with ``b + 1`` for ``b``, which is what losing buyers after their first
    purchase makes of it. Euler's transformation of the hypergeometric function (DLMF 15.8.1) keeps it exact for those
    who came a hundred times, where the paper's form multiplies something huge by something tiny.
    """
    from scipy.special import hyp2f1  # half a second and 40 MB, for the one process that counts

    a = by.a if abs(by.a - 1) > 1e-6 else 1 + 1e-6  # at 1 the formula is 0 / 0, beside it as good as there
    z = days / (by.alpha + age + days)
    never = (1 - z) ** (a - 1) * hyp2f1(a + by.b - by.r, a - 1, a + by.b + x, z)
    if_here = (a + by.b + x) / (a - 1) * (1 - never)
    return np.asarray(np.maximum(if_here, 0) * p_alive(by, x, t_x, age))


def expected_spend(by: Spending, purchases: Numbers, mean: Numbers) -> Numbers:
    """What buyers will spend at a time, from how much they spent on average in so many purchases.

    Equation 5 of Fader & Hardie 2013: between everybody's mean and their own, nearer to their own the more they bought.
    """
    return np.asarray(by.p * (by.gamma + purchases * mean) / (by.p * purchases + by.q - 1))


def enough_to_learn(buyers: int, repeaters: int, oldest_days: int) -> bool:
    """Whether parameters fitted on so many buyers would mean anything."""
    return buyers >= FEWEST_BUYERS and repeaters >= FEWEST_REPEATERS and oldest_days >= FEWEST_DAYS


def fit_buying(x: Numbers, t_x: Numbers, age: Numbers) -> Buying | None:
    """The parameters that make the buyers' times most likely; None where none are better than their neighbours."""
    from scipy.special import betaln, gammaln

    unit = float(np.mean(age)) or 1.0
    last, until = t_x / unit, age / unit
    counts, place = np.unique(x, return_inverse=True)  # what depends on x alone is computed once for each x

    def unlikelihood(logs: Numbers) -> float:
        r, alpha, a, b = np.exp(logs)
        rate = gammaln(r + counts) - gammaln(r) + r * logs[1] - betaln(a, b)
        here = (rate + betaln(a, b + counts + 1))[place] - (r + x) * np.log(alpha + until)
        gone = (rate + betaln(a + 1, b + counts))[place] - (r + x) * np.log(alpha + last)
        return -float(np.mean(np.logaddexp(here, gone)))

    best = _lowest(unlikelihood, [0.0, 0.0, 0.0, 0.0])
    return None if best is None else Buying(best[0], best[1] * unit, best[2], best[3])


def fit_spending(purchases: Numbers, mean: Numbers) -> Spending | None:
    """The parameters that make the buyers' mean spends most likely; None where none give a finite mean.

    Equation 1a of Fader & Hardie 2013.
    """
    from scipy.special import betaln

    unit = float(np.mean(mean)) or 1.0
    z = mean / unit

    def unlikelihood(logs: Numbers) -> float:
        p, q, gamma = np.exp(logs)
        whole = gamma + purchases * z
        return -float(np.mean(
            q * (logs[2] - np.log(whole)) + p * purchases * (np.log(purchases * z) - np.log(whole)) - np.log(z)
            - betaln(p * purchases, q)))

    best = _lowest(unlikelihood, [1.0, 1.0, 1.0])
    return Spending(best[0], best[1], best[2] * unit) if best is not None and best[1] > 1 else None


def _lowest(of: Callable[[Numbers], float], start: Sequence[float]) -> list[float] | None:
    """Where a function of logarithms is lowest, found from the same place every time."""
    from scipy.optimize import minimize

    found: Any = minimize(of, np.array(start), method="L-BFGS-B", bounds=[BOUNDS] * len(start),
                          options={"maxiter": 500, "ftol": 1e-11, "gtol": 1e-7})
    return np.exp(found.x).tolist() if np.isfinite(found.fun) else None
