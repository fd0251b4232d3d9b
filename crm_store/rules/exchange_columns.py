"""What the shop's data looks like in files: the columns of each kind, and how a cell becomes a value.

A column that a file lacks leaves what is stored as it is; a cell that is empty empties it. Amounts are decimal yuan in
files and whole fen here, never floats; a time without a zone is in the zone that the file is said to be in.
"""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from crm_store.errors import InvalidMessage
from crm_store.rules.intents import INTENTS
from crm_store.rules.personal_data import digits_in
from crm_store.rules.text import clean_text

MOST_FEN = 2_000_000_000  # 20 million yuan; the columns hold 32 bits
MOST_POINTS = 100_000_000
MOST_PIECES = 100_000
MOST_ITEMS = 200
BODY_LIMIT = 20_000
KEEP = object()  # the value of a cell that leaves what is stored
LISTED = "|"  # between the parcels of an order in one cell
LANGUAGES = {"zh": "zh", "中文": "zh", "chinese": "zh", "en": "en", "英文": "en", "english": "en"}
YES_NO = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False, "是": True, "否": False}
ORDER_STATUSES = {
    "unpaid": "unpaid", "待付款": "unpaid", "paid": "paid", "已付款": "paid", "packed": "packed", "已打包": "packed",
    "shipped": "shipped", "已发货": "shipped", "delivered": "delivered", "已送达": "delivered",
    "completed": "completed", "已完成": "completed", "cancelled": "cancelled", "已取消": "cancelled",
    "returning": "returning", "退货中": "returning", "returned": "returned", "已退货": "returned"}
UNPAID_STATUSES = ("unpaid", "cancelled")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_KEY = re.compile(r"[!-~]+")
_EMAIL = re.compile(r"[^@\s,;<>\"]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_MONEY = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,2}0*)?")
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,2})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,12}")
_TIME = re.compile(
    r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?"
    r"(?:[T\s]+([0-9]{1,2})[:时]([0-9]{1,2})(?:[:分]([0-9]{1,2})秒?(?:[.,]([0-9]{1,9}))?)?分?)?"
    r"\s*(Z|[+-][0-9]{2}:?[0-9]{2})?", re.ASCII | re.IGNORECASE)
_DAY = re.compile(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?(?:[T\s]+0{1,2}:00(?::00)?)?", re.ASCII)
_ITEM = re.compile(r"\s*(\S+?)\s*(?:[*×xX]\s*([0-9]{1,9}))?\s*@\s*(\S+)\s*")


class CellError(Exception):
    """A cell that cannot be read. ``code`` names why, ``data`` is what the words about it need."""

    def __init__(self, code: str, **data: Any) -> None:
        super().__init__(code)
        self.code, self.data = code, data


Read = Callable[[str, tzinfo], Any]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its heading, and its name in JSON.
        other: other headings it is known by.
        read: makes a value of a cell that is not empty.
        required: the file must have it, and no cell may be empty.
        needed: a file of rows that are known may lack it; no cell may be empty, and a new row needs it.
        keeps: an empty cell leaves what is stored, because it cannot be empty; a new row has a default.
        structured: JSON may give a list or an object.
        example: a cell.
    """

    name: str
    other: tuple[str, ...]
    read: Read
    example: str
    required: bool = False
    needed: bool = False
    keeps: bool = False
    structured: Callable[[Any, tzinfo], Any] | None = field(default=None, repr=False)

    def value(self, raw: Any, zone: tzinfo) -> Any:
        """The value of a cell, or of a JSON value.

        Raises:
            CellError: it cannot be read.
        """
        if isinstance(raw, (list, dict)):
            if self.structured is None:
                raise CellError("not_plain")
            return self.structured(raw, zone)
        text = _plain(raw)
        if _CONTROL.search(text):
            raise CellError("control")
        text = text.strip()
        if not text:
            if self.required or self.needed:
                raise CellError("required")
            return KEEP if self.keeps else None
        return self.read(text, zone)


def text(limit: int) -> Read:
    """A text of at most ``limit`` signs, cleaned as messages are."""
    def read(raw: str, _: tzinfo) -> str:
        try:
            return clean_text(raw, limit)
        except InvalidMessage as error:
            raise CellError("too_long" if error.data["reason"] == "too_long" else "required", limit=limit) from error

    return read


def number(limit: int) -> Read:
    """The shop's own number of something: letters, digits, dots, hyphens and underscores."""
    def read(raw: str, _: tzinfo) -> str:
        plain = unicodedata.normalize("NFKC", raw)
        if len(plain) > limit:
            raise CellError("too_long", limit=limit)
        if not _NUMBER.fullmatch(plain):
            raise CellError("number")
        return plain

    return read


def key(raw: str, _: tzinfo) -> str:
    """What names an entry of points to the shop."""
    if len(raw) > 120:
        raise CellError("too_long", limit=120)
    if not _KEY.fullmatch(raw):
        raise CellError("number")
    return raw


def slug(raw: str, _: tzinfo) -> str:
    """The name of an article."""
    if len(raw) > 80 or not _SLUG.fullmatch(raw):
        raise CellError("slug")
    return raw


def intent(raw: str, _: tzinfo) -> str:
    """An intent that the bot knows."""
    if raw not in INTENTS:
        raise CellError("intent")
    return raw


def phone(raw: str, _: tzinfo) -> str:
    """A phone as the store keeps it: digits only, without China's country code."""
    plain = unicodedata.normalize("NFKC", raw)
    if not re.fullmatch(r"\+?[0-9 ()./-]+", plain):
        raise CellError("phone")  # 1.38E+10 is what a spreadsheet makes of one
    digits = digits_in(plain)
    for prefix in ("0086", "86"):
        if digits.startswith(prefix) and len(digits) == len(prefix) + 11:
            digits = digits[len(prefix):]
    if not 5 <= len(digits) <= 20:
        raise CellError("phone")
    return digits


def email(raw: str, _: tzinfo) -> str:
    """An e-mail address."""
    if len(raw) > 200 or not _EMAIL.fullmatch(raw):
        raise CellError("email")
    return raw


def one_of(words: Mapping[str, Any]) -> Read:
    """One of some words, in any case."""
    def read(raw: str, _: tzinfo) -> Any:
        found = words.get(raw.casefold())
        if found is None:
            raise CellError("choice", choices=", ".join(words))
        return found

    return read


def fen(raw: str, _: tzinfo) -> int:
    """Decimal yuan as fen: 39.9, ¥1,234.50. More than two decimals are no amount."""
    plain = unicodedata.normalize("NFKC", raw).replace("元", "").strip().lstrip("¥￥").strip()
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    if not _MONEY.fullmatch(plain):
        raise CellError("money")
    try:
        amount = int((Decimal(plain) * 100).to_integral_exact())
    except InvalidOperation as error:
        raise CellError("money") from error
    if amount > MOST_FEN:
        raise CellError("too_much")
    return amount


def points(raw: str, _: tzinfo) -> int:
    """A whole number of points, above or below zero."""
    plain = unicodedata.normalize("NFKC", raw).replace("−", "-")
    if not _WHOLE.fullmatch(plain) or not 0 < abs(int(plain)) <= MOST_POINTS:
        raise CellError("points")
    return int(plain)


def moment(raw: str, zone: tzinfo) -> datetime:
    """A time such as 2026-11-26T21:13:09+08:00, 2026-11-26 21:13, 2026/11/26 or 2026年11月26日 21:13.

    It is in ``zone`` if it has none. A day alone begins at midnight.
    """
    quick = _iso(raw, zone)
    found = None if quick else _TIME.fullmatch(unicodedata.normalize("NFKC", raw))
    if quick is not None and 1900 <= quick.year <= 2200:
        return quick
    if found is None:
        raise CellError("time")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    try:
        if offset:
            zone = timezone.utc if offset in "zZ" else timezone(
                timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:])) * (-1 if offset[0] == "-" else 1))
        at = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
                      int((fraction or "0")[:6].ljust(6, "0")), tzinfo=zone).astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise CellError("time") from error
    if not 1900 <= at.year <= 2200:
        raise CellError("time")
    return at


def _iso(raw: str, zone: tzinfo) -> datetime | None:
    """A time as programs write it, which most are, read without ado."""
    if len(raw) < 19 or raw[10] not in "T ":
        return None
    try:
        at = datetime.fromisoformat(f"{raw[:-1]}+00:00" if raw[-1] == "Z" else raw)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def day(raw: str, _: tzinfo) -> date:
    """A day such as 1990-05-20, 1990/5/20 or 1990年5月20日; a spreadsheet may put midnight after it."""
    found = _DAY.fullmatch(unicodedata.normalize("NFKC", raw))
    try:
        read = date(*map(int, found.groups())) if found else None
    except ValueError:
        read = None
    if read is None or not 1900 <= read.year <= 2200:
        raise CellError("day")
    return read


def lines(limit: int) -> Read:
    """Several short texts, one a line."""
    one = text(limit)

    def read(raw: str, zone: tzinfo) -> tuple[str, ...]:
        return tuple(one(each, zone) for each in raw.splitlines() if each.strip())

    return read


def _lines_of(limit: int) -> Callable[[Any, tzinfo], Any]:
    one = lines(limit)
    return lambda given, zone: one("\n".join(_plain(each) for each in _list(given)), zone)


def listed(read: Read) -> Read:
    """A value for each parcel, with ``|`` between them; a parcel without one has an empty place."""
    def read_all(raw: str, zone: tzinfo) -> tuple[Any, ...]:
        return tuple(read(each.strip(), zone) if each.strip() else None for each in raw.split(LISTED))

    return read_all


def _listed_of(read: Read) -> Callable[[Any, tzinfo], Any]:
    def read_all(given: Any, zone: tzinfo) -> tuple[Any, ...]:
        texts = [_plain(each).strip() for each in _list(given)]
        return tuple(read(each, zone) if each else None for each in texts)

    return read_all


def items(raw: str, zone: tzinfo) -> tuple[tuple[str, int, int], ...]:
    """What was ordered: ``SKU*pieces@yuan a piece``, with semicolons between."""
    found = []
    for part in raw.replace("；", ";").split(";"):
        if part.strip():
            match = _ITEM.fullmatch(part)
            if match is None:
                raise CellError("items")
            found.append(_item(match[1], match[2] or "1", match[3], zone))
    return _all_items(found)


def _items_of(given: Any, zone: tzinfo) -> tuple[tuple[str, int, int], ...]:
    found = []
    for each in _list(given):
        if not isinstance(each, dict) or not set(each) <= {"sku", "quantity", "price_yuan"} or "price_yuan" not in each:
            raise CellError("items")
        found.append(_item(_plain(each.get("sku")), _plain(each.get("quantity", 1)), _plain(each["price_yuan"]), zone))
    return _all_items(found)


def _item(sku: str, pieces: str, price: str, zone: tzinfo) -> tuple[str, int, int]:
    if not pieces.isascii() or not pieces.isdigit() or not 0 < int(pieces[:12]) <= MOST_PIECES:
        raise CellError("items")
    return number(40)(sku, zone), int(pieces), fen(price, zone)


def _all_items(found: list[tuple[str, int, int]]) -> tuple[tuple[str, int, int], ...]:
    if not 0 < len(found) <= MOST_ITEMS:
        raise CellError("items")
    return tuple(found)


def _list(given: Any) -> list[Any]:
    if not isinstance(given, list) or len(given) > MOST_ITEMS:
        raise CellError("not_plain")
    return given


def _plain(raw: Any) -> str:
    """A JSON value as a cell would hold it."""
    if raw is None:
        return ""
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    if isinstance(raw, (str, int, Decimal)):
        return raw if isinstance(raw, str) else format(raw, "f") if isinstance(raw, Decimal) else str(raw)
    raise CellError("not_plain")


_UPDATED = Column("updated_at", ("更新时间", "修改时间"), moment, "2026-11-26T21:13:09+08:00")


def _parcel(name: str, other: tuple[str, ...], read: Read, example: str) -> Column:
    return Column(name, other, listed(read), example, structured=_listed_of(read))


CUSTOMERS = (
    Column("number", ("客户编号", "会员编号", "编号"), number(20), "WLC00001", required=True),
    Column("name", ("姓名", "名称", "客户姓名"), text(120), "李雷", needed=True),
    Column("language", ("语言",), one_of(LANGUAGES), "zh", keeps=True),
    Column("phone", ("手机", "手机号", "电话"), phone, "13800138000"),
    Column("email", ("邮箱", "电子邮箱"), email, "lilei@example.com"),
    Column("city", ("城市",), text(80), "武汉"),
    Column("address", ("地址", "收货地址"), text(300), "东湖区珞喻路 1 号"),
    Column("birthday", ("生日", "出生日期"), day, "1990-05-20"),
    Column("tier", ("等级", "会员等级"), number(20), "gold"),
    Column("created_at", ("注册时间", "创建时间"), moment, "2025-03-01 10:00", keeps=True),
    _UPDATED,
)
PRODUCTS = (
    Column("sku", ("货号", "商品编码"), number(40), "HUM-500", required=True),
    Column("name_zh", ("中文名", "商品名称", "名称"), text(120), "静音加湿器", needed=True),
    Column("name_en", ("英文名",), text(120), "Quiet humidifier", needed=True),
    Column("price_yuan", ("价格", "售价"), fen, "199.00", needed=True),
    Column("category", ("分类", "类别"), text(40), "home", needed=True),
    Column("aliases", ("别名",), lines(60), "加湿器", structured=_lines_of(60)),
    _UPDATED,
)
ORDERS = (
    Column("number", ("订单号", "订单编号"), number(20), "WL20261018004", required=True),
    Column("customer_number", ("客户编号", "会员编号"), number(20), "WLC00001"),
    Column("status", ("状态", "订单状态"), one_of(ORDER_STATUSES), "completed", needed=True),
    Column("phone", ("手机", "电话", "收货电话"), phone, "13800138000", needed=True),
    Column("address", ("地址", "收货地址"), text(300), "东湖区珞喻路 1 号", needed=True),
    Column("total_yuan", ("金额", "实付金额", "总金额"), fen, "398.00", needed=True),
    Column("placed_at", ("下单时间",), moment, "2026-10-18 09:30", needed=True),
    Column("paid_at", ("付款时间",), moment, "2026-10-18 09:31"),
    Column("completed_at", ("完成时间",), moment, "2026-10-25 09:00"),
    Column("returned_at", ("退货时间",), moment, ""),
    Column("refunded_at", ("退款时间",), moment, ""),
    Column("refunded_yuan", ("退款金额",), fen, "0.00"),
    Column("note", ("备注", "买家留言"), text(2000), "放驿站"),
    Column("items", ("商品", "商品明细"), items, "HUM-500*2@199.00", needed=True, structured=_items_of),
    _parcel("tracking_number", ("运单号", "快递单号"), number(40), "ZT100200300"),
    _parcel("carrier_zh", ("快递", "快递公司"), text(40), "中通快递"),
    _parcel("carrier_en", ("快递英文名",), text(40), "ZTO Express"),
    _parcel("shipped_at", ("发货时间",), moment, "2026-10-19 18:00"),
    _parcel("expected_at", ("预计送达时间",), moment, "2026-10-22"),
    _parcel("delivered_at", ("送达时间", "签收时间"), moment, "2026-10-22 14:20"),
    _UPDATED,
)
POINTS = (
    Column("key", ("流水号", "积分流水号"), key, "2026-opening-WLC00001", required=True),
    Column("customer_number", ("客户编号", "会员编号"), number(20), "WLC00001", required=True),
    Column("points", ("积分", "变动"), points, "500", required=True),
    Column("reason", ("原因", "说明"), text(200), "期初积分"),
    Column("at", ("时间", "发生时间"), moment, "2026-01-01"),
    Column("expires_at", ("到期时间",), moment, ""),
)
ARTICLES = (
    Column("slug", ("标识",), slug, "refund-times", required=True),
    Column("intent", ("意图",), intent, "ask_refund_status", needed=True),
    Column("title_zh", ("中文标题",), text(200), "退款多久到账", needed=True),
    Column("title_en", ("英文标题",), text(200), "How long refunds take", needed=True),
    Column("body_zh", ("中文内容", "中文正文"), text(BODY_LIMIT), "退款 1–3 天到账。", needed=True),
    Column("body_en", ("英文内容", "英文正文"), text(BODY_LIMIT), "Refunds take 1–3 days.", needed=True),
    Column("questions_zh", ("中文问法",), lines(300), "退款什么时候到", structured=_lines_of(300)),
    Column("questions_en", ("英文问法",), lines(300), "When do I get my money?", structured=_lines_of(300)),
    Column("published", ("发布", "已发布"), one_of(YES_NO), "yes", keeps=True),
    _UPDATED,
)
KINDS: Mapping[str, tuple[Column, ...]] = {
    "customers": CUSTOMERS, "products": PRODUCTS, "orders": ORDERS, "points": POINTS, "articles": ARTICLES}
KEY_COLUMN = {name: columns[0].name for name, columns in KINDS.items()}


def column_named(kind: str, heading: str) -> Column | None:
    """The column that a heading names, in either language and any case."""
    wanted = re.sub(r"[\s_]+", "_", unicodedata.normalize("NFKC", heading).strip().casefold())
    return next((column for column in KINDS[kind] if wanted == column.name or wanted in column.other), None)


def template(kind: str) -> Sequence[tuple[str, str]]:
    """The headings of a kind with an example each."""
    return [(column.name, column.example) for column in KINDS[kind]]
