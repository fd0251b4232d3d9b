"""Points and tiers: balance, history, what lapses, the level, and spending points on a reward."""
from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

from actions.articles import answered_in_general
from actions.base import ShopAction, ask_to_link, cleared
from actions.forms import ANSWERED_IN_BETWEEN, Form, Step, Values
from actions.reading import asks_something, named_in, position_in, says_never_mind, says_no, says_yes, wants_other_one
from actions.slots import SLOTS_OF
from actions.turn import Button, Turn, day_in_words
from actions.wording import ENTRY_KINDS, money, reward_name, short, tier_benefits, tier_name
from crm_store.errors import InsufficientPoints, NotFound, OutOfStock, TierTooLow
from crm_store.models import Customer, Reward, Tier
from crm_store.services.points import (
    points_balance,
    points_expiring,
    points_history,
    redeem_reward,
    rewards_for,
    tier_standing,
)

HISTORY_TOLD = 6
REWARDS_TOLD = 8
BUTTONS_SHOWN = 4
AMOUNT = re.compile(r"^(\d+)\s*元")
COUNTED = re.compile(r"一[只条支盏台个张套件]$")


class PointsAction(ShopAction):
    """An action about somebody's points: a guest proves first who they are.

    Attributes:
        general: whether the intent is also that of people who only want to know the rule; how many points there are is
            nothing that an article knows.
    """

    general = False

    def act(self, turn: Turn) -> None:
        """Answer guests who ask in general; send others to link_form, and come back."""
        if turn.customer is not None:
            self.tell(turn, turn.customer)
        elif not (self.general and answered_in_general(turn)):
            ask_to_link(turn, self.called)

    @abstractmethod
    def tell(self, turn: Turn, customer: Customer) -> None:
        """Answer a linked customer."""


class ActionPointsBalance(PointsAction):
    """How many points there are, which of them lapse soon, and whether they buy something."""

    called = "action_points_balance"

    def tell(self, turn: Turn, customer: Customer) -> None:
        """Offer the rewards only where one is within reach."""
        balance = points_balance(turn.session, customer.id, turn.now)
        turn.say("utter_points_balance", points=f"{balance:,}")
        expiring = points_expiring(turn.session, customer.id, turn.now)
        if expiring:
            day, points = expiring[0]
            turn.say("utter_points_expiring", points=f"{points:,}", date=shop_day(turn, day))
        if any(reward.cost_points <= balance for reward in rewards_for(turn.session, customer.id, turn.now)):
            turn.offer("redeem_points", "utter_offer_rewards")


class ActionPointsHistory(PointsAction):
    """Where points came from and went."""

    called = "action_points_history"

    def tell(self, turn: Turn, customer: Customer) -> None:
        """The newest entries, one a line."""
        entries = points_history(turn.session, customer.id, HISTORY_TOLD)
        if not entries:
            turn.say("utter_points_history_empty")
            return
        lines = []
        for entry in entries:
            about = ""
            if entry.reward is not None:
                about = reward_name(entry.reward, turn.language)
            elif entry.order is not None:
                about = entry.order.number
            given_back = entry.kind == "reverse" and entry.points > 0
            kind = ENTRY_KINDS["give_back" if given_back else entry.kind][turn.language]
            lines.append(f"· {turn.day(entry.created_at)} {entry.points:+,} {kind}{' ' + about if about else ''}")
        turn.say("utter_points_history", lines="\n".join(lines),
                 points=f"{points_balance(turn.session, customer.id, turn.now):,}")


class ActionPointsExpiry(PointsAction):
    """When points lapse."""

    called = "action_points_expiry"
    general = True

    def tell(self, turn: Turn, customer: Customer) -> None:
        """The next days on which some do."""
        expiring = points_expiring(turn.session, customer.id, turn.now)
        if not expiring:
            turn.say("utter_points_expiry_none")
            return
        lines = [f"· {shop_day(turn, day)}：{points:,} 积分" if turn.language == "zh"
                 else f"· {shop_day(turn, day)}: {points:,} points" for day, points in expiring]
        turn.say("utter_points_expiry", lines="\n".join(lines))


class ActionTier(PointsAction):
    """The membership level, its benefits, and the way to the next."""

    called = "action_tier"
    general = True

    def tell(self, turn: Turn, customer: Customer) -> None:
        """Both levels with their benefits."""
        standing = tier_standing(turn.session, customer.id, turn.now)
        turn.say("utter_tier", tier=tier_name(standing.tier, turn.language), spend=money(standing.spend_fen),
                 benefits=tier_benefits(standing.tier, turn.language))
        if standing.next_tier is None:
            turn.say("utter_tier_highest")
        else:
            turn.say("utter_tier_next", gap=money(standing.gap_fen), tier=tier_name(standing.next_tier, turn.language),
                     benefits=tier_benefits(standing.next_tier, turn.language))


class ValidateRedeemForm(Form):
    """Lets the customer choose a reward and confirm it, having seen its cost and what is left."""

    called = "validate_redeem_form"
    form = "redeem_form"
    questions = ("reward", "redeem_confirmed")
    may_be_refused = ("redeem_confirmed",)
    own_intents = frozenset({"redeem_points"})

    def start(self, turn: Turn, values: Values) -> Step:
        """A reward named in the message is taken; where none is within reach the form ends with the reason."""
        if self.needs_link(turn):
            return Step.STOP
        assert turn.customer is not None
        values.update(reward=None, redeem_confirmed=None)
        rewards = rewards_for(turn.session, turn.customer.id, turn.now)
        named = self._named(turn, rewards)
        if named is not None:
            return self._choose(turn, named, values, stop=True)
        if not rewards:
            turn.say("utter_no_rewards")
            return Step.STOP
        balance = points_balance(turn.session, turn.customer.id, turn.now)
        if rewards[0].cost_points > balance:
            turn.say("utter_no_rewards_affordable", points=f"{balance:,}", cost=f"{rewards[0].cost_points:,}",
                     reward=reward_name(rewards[0], turn.language), gap=f"{rewards[0].cost_points - balance:,}")
            return Step.STOP
        return Step.NEXT

    def read(self, turn: Turn, slot: str, values: Values) -> Step:
        """A reward, or yes or no."""
        assert turn.customer is not None
        rewards = rewards_for(turn.session, turn.customer.id, turn.now)
        if slot == "redeem_confirmed":
            return self._read_confirmation(turn, values, rewards)
        chosen = self._named(turn, rewards)
        if chosen is None:
            at = position_in(turn.text, min(len(rewards), REWARDS_TOLD))
            chosen = rewards[at] if at is not None else None
        if chosen is not None:
            return self._choose(turn, chosen, values)
        if turn.intent == "deny" or says_no(turn.text):
            turn.say("utter_not_redeemed")
            return Step.STOP
        if turn.intent in ANSWERED_IN_BETWEEN - self.own_intents:
            return Step.ELSEWHERE
        turn.say("utter_wrong_reward")
        return Step.AGAIN

    def _read_confirmation(self, turn: Turn, values: Values, rewards: Sequence[Reward]) -> Step:
        other = self._named(turn, rewards)
        if other is not None and other.code != values["reward"]:
            return self._choose(turn, other, values)
        if wants_other_one(turn.text):
            values["reward"] = None
            return Step.NEXT
        if turn.intent == "deny" or says_no(turn.text) or says_never_mind(turn.text):
            turn.say("utter_not_redeemed")
            return Step.STOP
        if turn.intent == "affirm" or says_yes(turn.text):
            values["redeem_confirmed"] = True
            return Step.NEXT
        if turn.intent in ANSWERED_IN_BETWEEN - self.own_intents or asks_something(turn.text):
            return Step.ELSEWHERE if turn.intent in ANSWERED_IN_BETWEEN else self._unclear(turn)
        return self._unclear(turn)

    def _unclear(self, turn: Turn) -> Step:
        turn.say("utter_wrong_confirmation")
        return Step.AGAIN

    def _named(self, turn: Turn, rewards: Sequence[Reward]) -> Reward | None:
        """The reward a button or the text names, also one that is out of stock or above the tier."""
        code = turn.entity("reward")
        every = list(rewards) + [reward for reward in turn.session.query(Reward).filter(Reward.active.is_(True))
                                 .order_by(Reward.id) if reward not in rewards]
        if code is not None:
            return next((reward for reward in every if reward.code == code), None)
        found = named_in(turn.text, [names_of(reward) for reward in every])
        return every[found[0]] if found and len(found) <= 1 else None

    def _choose(self, turn: Turn, reward: Reward, values: Values, *, stop: bool = False) -> Step:
        if refused(turn, reward):
            return Step.STOP if stop else Step.AGAIN
        values["reward"] = reward.code
        return Step.NEXT


def names_of(reward: Reward) -> list[str]:
    """The names by which a reward may be asked for: in full, in short, and a coupon by its amount."""
    zh, en = (name.split("（")[0].split(" (")[0].strip() for name in (str(reward.name_zh), str(reward.name_en)))
    names = [str(reward.name_zh), str(reward.name_en), zh, en, str(reward.code)]
    amount = AMOUNT.search(zh)
    if amount:
        sum_ = amount[1]
        names += [f"{sum_}元券", f"{sum_}元优惠券", f"{sum_}元的券", f"{sum_}块", f"{sum_}元", f"¥{sum_}",
                  f"{sum_} yuan", f"{sum_} rmb", f"{sum_} coupon", f"{sum_} voucher"]
        return names
    short_zh = COUNTED.sub("", zh)
    return [*names, short_zh, short_zh[-3:], short_zh[-2:], *en.split()[-1:]]


def refused(turn: Turn, reward: Reward) -> bool:
    """Whether the reward cannot be had now; if so the reason has been said."""
    assert turn.customer is not None
    name = reward_name(reward, turn.language)
    tier = turn.session.get(Tier, reward.minimum_tier)
    standing = tier_standing(turn.session, turn.customer.id, turn.now)
    balance = points_balance(turn.session, turn.customer.id, turn.now)
    if tier is not None and standing.tier.rank < tier.rank:
        turn.say("utter_reward_tier_too_low", reward=name, tier=tier_name(tier, turn.language))
    elif reward.stock <= 0:
        turn.say("utter_reward_out_of_stock", reward=name)
    elif balance < reward.cost_points:
        turn.say("utter_reward_too_expensive", reward=name, cost=f"{reward.cost_points:,}", points=f"{balance:,}",
                 gap=f"{reward.cost_points - balance:,}")
    else:
        return False
    return True


class ActionAskReward(ShopAction):
    """Lists the rewards with their cost and what would be left."""

    called = "action_ask_redeem_form_reward"

    def act(self, turn: Turn) -> None:
        """Numbered lines, and buttons for those within reach."""
        assert turn.customer is not None
        balance = points_balance(turn.session, turn.customer.id, turn.now)
        rewards = rewards_for(turn.session, turn.customer.id, turn.now)[:REWARDS_TOLD]
        lines, buttons = [], []
        for at, reward in enumerate(rewards, start=1):
            name, left = reward_name(reward, turn.language), balance - reward.cost_points
            lines.append(f"{at}. {name} · " + (
                turn.by(f"{reward.cost_points:,} 积分，剩 {left:,}", f"{reward.cost_points:,} points, {left:,} left")
                if left >= 0 else
                turn.by(f"{reward.cost_points:,} 积分，还差 {-left:,}",
                        f"{reward.cost_points:,} points, {-left:,} short")))
            if left >= 0:
                buttons.append(reward_button(reward, name))
        turn.say("utter_rewards", points=f"{balance:,}", lines="\n".join(lines), buttons=buttons[-BUTTONS_SHOWN:])


def reward_button(reward: Reward, name: str) -> Button:
    """A button that chooses the reward."""
    return {"title": short(name), "payload": "/redeem_points" + json.dumps({"reward": reward.code})}


class ActionAskRedeemConfirmed(ShopAction):
    """Asks to confirm, with the cost and what will be left."""

    called = "action_ask_redeem_form_redeem_confirmed"

    def act(self, turn: Turn) -> None:
        """Yes and no as buttons."""
        assert turn.customer is not None
        reward = turn.session.query(Reward).filter(Reward.code == turn.slot("reward")).one()
        balance = points_balance(turn.session, turn.customer.id, turn.now)
        turn.say("utter_confirm_redemption", reward=reward_name(reward, turn.language), cost=f"{reward.cost_points:,}",
                 left=f"{balance - reward.cost_points:,}")


class ActionRedeemPoints(ShopAction):
    """Spends the points and gives the code; once for each message."""

    called = "action_redeem_points"
    writes = True

    def act(self, turn: Turn) -> None:
        """Between choosing and confirming somebody else may have taken the last one."""
        assert turn.customer is not None and turn.message_id is not None
        reward = turn.session.query(Reward).filter(Reward.code == turn.slot("reward")).one()
        turn.events += cleared(*SLOTS_OF["redeem_form"])
        turn.remember(forms_abandoned=None)
        try:
            redemption = redeem_reward(turn.session, customer_id=turn.customer.id, reward_id=reward.id,
                                       idempotency_key=f"message:{turn.message_id}", now=turn.now)
        except (InsufficientPoints, OutOfStock, TierTooLow, NotFound):
            if not refused(turn, reward):
                turn.say("utter_reward_out_of_stock", reward=reward_name(reward, turn.language))
            return
        left = points_balance(turn.session, turn.customer.id, turn.now)
        turn.say("utter_redeemed", reward=reward_name(reward, turn.language), code=redemption.code, left=f"{left:,}")


def shop_day(turn: Turn, day: date) -> str:
    """A day of the shop's calendar in words."""
    return day_in_words(day, turn.now.astimezone(ZoneInfo(turn.time_zone)).date(), turn.language)
