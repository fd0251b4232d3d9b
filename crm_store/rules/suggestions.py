"""What a suggestion is about, read from its words, and what the answers to a survey add up to."""
from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

TOPICS = ("delivery", "packaging", "product", "price", "service", "app", "points", "store", "praise", "other")
SURVEY_APART = timedelta(days=91)
"""At most once a quarter: see service rules, "Afterwards"."""
PROMOTER, PASSIVE = 9, 7
Z_95 = 1.959964

_WORDS = {  # the first topic with a word in the text; the more telling ones come first
    "packaging": r"包装|纸箱|盒子|泡沫|气泡|胶带|\bpackag|\bbox(es)?\b|\bwrapp|\bplastic\b",
    "delivery": r"快递|物流|配送|送货|发货|派送|骑手|自提|\bdeliver|\bcourier|\bshipping\b|\bshipment|\bparcel",
    "points": r"积分|会员|等级|兑换|\bpoints?\b|\btier\b|\breward|\bmember",
    "app": r"小程序|网站|网页|界面|页面|登录|闪退|搜索|机器人|\bapp\b|\bwebsite\b|\bsite\b|\bbot\b|\blog ?in\b"
           r"|\bsearch\b|\bdark mode\b",
    "price": r"价格|优惠|降价|便宜|太贵|折扣|满减|运费|券|\bprice|\bdiscount|\bcheap|\bexpensive|\bcoupon|\bsale\b",
    "store": r"门店|店里|线下|营业时间|\bstores?\b|\bopening hours\b|\bshops? (in|near)\b",
    "service": r"客服|服务|态度|电话|售后|\bservice\b|\bsupport\b|\bstaff\b|\bagents?\b|\bphone\b|\brefund",
    "product": r"产品|商品|口味|味道|尺寸|颜色|款式|质量|材质|规格|缺货|上新|新品|杯|茶|\bproduct"
               r"|\bflavou?r|\bsize|\bcolou?r|\bquality\b|\bstock\b",
}
_TOPICS = {topic: re.compile(words, re.IGNORECASE) for topic, words in _WORDS.items()}
_PRAISE = re.compile(
    r"点赞|好评|表扬|真棒|很棒|太好了|喜欢|谢谢你们|用心|满意|贴心|\bgreat\b|\blove\b|\bawesome\b"
    r"|\bexcellent\b|\bwell done\b|\bkudos\b|\bamazing\b", re.IGNORECASE)
_WISH = re.compile(
    r"建议|希望|能不能|可不可以|可以.{0,12}吗|应该|最好|要是|如果|增加|改进|改成|\bcould\b|\bshould\b|\bsuggest"
    r"|\bwish\b|\bplease\b|\bwould be\b|\badd\b|\bbetter if\b|\bhow about\b", re.IGNORECASE)


def topic_of(text: str) -> str:
    """The topic of a suggestion, one of ``TOPICS``; praise that wishes for nothing is "praise"."""
    if _PRAISE.search(text) and not _WISH.search(text):
        return "praise"
    return next((topic for topic, words in _TOPICS.items() if words.search(text)), "other")


def survey_due(last_asked_at: datetime | None, now: datetime) -> bool:
    """Whether a customer may be asked again whether they would recommend the shop."""
    return last_asked_at is None or now - last_asked_at >= SURVEY_APART


@dataclass(frozen=True)
class NetPromoter:
    """Reichheld's net promoter score of a number of answers, -100 to 100, with the 95 % interval of a multinomial.

    Source: F. F. Reichheld, "The One Number You Need to Grow", Harvard Business Review, December 2003: 9 and 10
    promote, 0 to 6 detract, and the score is the difference of their shares. The interval is that of the mean of
    answers counted 1, 0 and -1, by the normal approximation.
    """

    answers: int
    promoters: int
    detractors: int

    @property
    def score(self) -> float | None:
        """The score; None without an answer."""
        return (self.promoters - self.detractors) / self.answers * 100 if self.answers else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The score's interval, within -100 and 100; None without an answer."""
        if self.score is None:
            return None
        mean = self.score / 100
        variance = (self.promoters + self.detractors) / self.answers - mean * mean
        half = Z_95 * math.sqrt(max(0.0, variance) / self.answers) * 100
        return max(-100.0, self.score - half), min(100.0, self.score + half)


def net_promoter(counts: Mapping[int, int]) -> NetPromoter:
    """The net promoter score of how often each answer, 0 to 10, was given."""
    return NetPromoter(
        sum(counts.values()), sum(count for score, count in counts.items() if score >= PROMOTER),
        sum(count for score, count in counts.items() if score < PASSIVE))
