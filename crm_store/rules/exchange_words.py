"""The words about the shop's files in Chinese and English: what each column holds, and what is wrong with a row."""
from __future__ import annotations

from typing import Any

from crm_store.rules.exchange_files import FileError, RowError

ABOUT: dict[str, tuple[str, str]] = {  # a column of one kind, or of all
    "updated_at": (
        "店铺里最后一次修改的时间；比已导入的旧，就不覆盖",
        "When the shop changed it last; a row that is older than what was imported before is left out"),
    "customers.number": ("店铺的客户编号", "The shop's number of the customer"),
    "customers.name": ("称呼", "Their name"),
    "customers.language": ("zh 或 en，新客户默认 zh", "zh or en; a new customer's is zh"),
    "customers.phone": ("登记的手机，每个客户不同", "The registered phone, one customer's only"),
    "customers.email": ("登记的邮箱，每个客户不同", "The registered e-mail, one customer's only"),
    "customers.city": ("城市", "City"),
    "customers.address": ("地址", "Address"),
    "customers.birthday": ("生日", "Their birthday"),
    "customers.tier": (
        "等级代码；只在新建时用，之后由消费决定",
        "Code of the tier; counts for a new customer only, afterwards spending decides"),
    "customers.created_at": (
        "成为客户的时间，默认导入时间",
        "Since when they are a customer; otherwise since the import"),
    "products.sku": ("货号", "Stock keeping unit"),
    "products.name_zh": ("中文名称", "Name in Chinese"),
    "products.name_en": ("英文名称", "Name in English"),
    "products.price_yuan": ("售价，元", "Price in yuan"),
    "products.category": ("类别", "Category"),
    "products.aliases": ("客户的叫法，一行一个", "What customers call it, one a line"),
    "orders.number": ("订单号", "Number of the order"),
    "orders.customer_number": ("客户编号；空为游客订单", "Number of the customer; empty for a guest's order"),
    "orders.status": ("状态", "Its status"),
    "orders.phone": ("收货电话", "Phone of the delivery"),
    "orders.address": ("收货地址", "Address of the delivery"),
    "orders.total_yuan": ("实付，元", "What was paid, in yuan"),
    "orders.placed_at": ("下单时间", "When it was placed"),
    "orders.paid_at": ("付款时间", "When it was paid"),
    "orders.completed_at": ("完成时间；积分从这时起算", "When it was completed; its points count from then"),
    "orders.returned_at": ("退货入库时间", "When it came back"),
    "orders.refunded_at": ("退款时间", "When money went back"),
    "orders.refunded_yuan": ("部分退款的金额，元", "What was refunded of an order kept in part, in yuan"),
    "orders.note": ("备注", "Note"),
    "orders.items": ("货号*件数@单价，多种用分号隔开", "SKU*pieces@yuan a piece, with semicolons between"),
    "orders.tracking_number": ("运单号；多个包裹用 | 隔开", "Tracking number; | between several parcels"),
    "orders.carrier_zh": ("快递公司", "Carrier in Chinese"),
    "orders.carrier_en": ("快递公司英文名，默认同中文", "Carrier in English; the Chinese name where it is left out"),
    "orders.shipped_at": ("发货时间", "When it was shipped"),
    "orders.expected_at": ("预计送达", "When it is expected"),
    "orders.delivered_at": ("签收时间", "When it was delivered"),
    "points.key": ("店铺的流水号；同一个只记一次", "The shop's id of the entry; counted once"),
    "points.customer_number": ("客户编号", "Number of the customer"),
    "points.points": ("积分，扣减为负", "Points; below zero takes some away"),
    "points.reason": ("原因", "Why"),
    "points.at": ("发生时间，默认导入时间；不能在将来", "When; otherwise when it is imported; not in the future"),
    "points.expires_at": (
        "到期时间，默认满 12 个月的月底",
        "When they lapse; otherwise with the twelfth month after"),
    "articles.slug": ("文章的名字：小写字母、数字、连字符", "Name of the article: small letters, digits, hyphens"),
    "articles.intent": ("回答哪种问题", "The question it answers"),
    "articles.title_zh": ("中文标题", "Title in Chinese"),
    "articles.title_en": ("英文标题", "Title in English"),
    "articles.body_zh": ("中文正文", "Answer in Chinese"),
    "articles.body_en": ("英文正文", "Answer in English"),
    "articles.questions_zh": ("客户的问法，一行一个", "How customers ask, one a line"),
    "articles.questions_en": ("英文问法，一行一个", "How customers ask in English, one a line"),
    "articles.published": ("是否给客户看，默认是", "Whether customers get it; yes unless said"),
}
ERRORS: dict[str, tuple[str, str]] = {  # what is wrong, and what would do
    "required": ("这一格不能空", "must not be empty"),
    "needed_when_new": ("是新的，这一列必须有值", "is needed, because this is a new one"),
    "too_long": ("太长，最多 {limit} 个字", "is too long; {limit} signs at most"),
    "control": ("有不可见的控制字符（例如 NUL），请删掉", "holds a control character such as NUL; take it out"),
    "not_plain": ("只能是一个文字或数字", "must be a single text or number"),
    "number": ("编号只能用字母、数字和 . _ -", "takes letters, digits and . _ - only"),
    "slug": ("只能用小写字母、数字和连字符，最多 80 个", "takes small letters, digits and hyphens, 80 at most"),
    "intent": ("没有这个意图；名称见 domain.yml", "is no intent; domain.yml lists them"),
    "phone": ("不是电话；应为 5–20 位数字，例如 13800138000（表格里请设为文本）",
              "is no phone; 5 to 20 digits such as 13800138000 (make the column text in the spreadsheet)"),
    "email": ("不是邮箱；例如 name@example.com", "is no e-mail address; one looks like name@example.com"),
    "choice": ("只能是：{choices}", "must be one of: {choices}"),
    "money": ("不是金额；应为元，最多两位小数，例如 39.90",
              "is no amount; yuan with at most two decimals, such as 39.90"),
    "too_much": ("数额太大", "is too much"),
    "points": ("不是积分；应为非零整数，例如 500 或 -100",
               "is no number of points; a whole one but 0, such as 500 or -100"),
    "time": ("不是时间；例如 2026-11-26 21:13 或 2026-11-26T21:13:09+08:00",
             "is no time; write 2026-11-26 21:13 or 2026-11-26T21:13:09+08:00"),
    "day": ("不是日期；例如 1990-05-20", "is no day; write 1990-05-20"),
    "items": ("不是商品明细；应为 货号*件数@单价，多种用分号隔开，例如 HUM-500*2@199.00",
              "are no items; write SKU*pieces@yuan with semicolons between, such as HUM-500*2@199.00"),
    "parcels": ("有 {there} 个，运单号有 {wanted} 个，应该一样多",
                "has {there} entries for {wanted} tracking numbers; there must be as many"),
    "width": ("这一行有 {there} 格，标题有 {wanted} 格", "the row has {there} cells, the heading {wanted}"),
    "json": ("这一行不是一个 JSON 对象", "the line is no JSON object"),
    "same_key": ("与第 {line} 行是同一个，一个文件里只能有一次", "is the same one as in line {line}; once in a file"),
    "twice_in_file": ("在文件里出现了两次", "stands twice in the file"),
    "taken": ("已经属于别人；请先改那一条", "belongs to another one; change that first"),
    "erased": ("这位客户的数据已按其要求删除，不能再导入",
               "belonged to a customer whose data was erased at their wish; it stays out"),
    "unknown_customer": ("没有这位客户；请先导入客户", "is no customer; import the customers first"),
    "unknown_sku": ("没有货号 {sku}；请先导入商品",
                    "names the SKU {sku}, which is no product; import the products first"),
    "needs": ("{status} 需要这一列", "is needed with {status}"),
    "has_earned": ("订单已经记过积分：客户和金额不能再改，只能退货或退款",
                   "cannot change: the order has brought points; it can only be returned or refunded"),
    "key_reused": ("这个流水号已经记过别的积分，记过的不能改",
                   "stands for other points already; entries are never changed"),
    "not_enough": ("积分不够，只有 {there}", "takes more than the {there} points there are"),
    "in_the_future": ("不能在将来", "must not be in the future"),
    # of a file
    "empty": ("文件是空的", "the file is empty"),
    "archive": ("这是压缩包或 Excel 文件；请另存为 CSV", "this is an archive or an Excel file; save it as CSV"),
    "encoding": ("认不出编码；请存为 UTF-8 或 GB18030", "the encoding is unknown; save it as UTF-8 or GB18030"),
    "quote": ("从这一行起引号不成对", "from this line on quotes do not match"),
    "cell_too_long": ("有一格超过 {most} 个字", "a cell is longer than {most} signs"),
    "line_too_long": ("这一行超过 {most} 个字", "the line is longer than {most} signs"),
    "too_many_columns": ("超过 {most} 列", "there are more than {most} columns"),
    "too_many_rows": ("超过 {most} 行，请分成几个文件", "there are more than {most} rows; cut the file up"),
    "heading_twice": ("标题重复：{columns}", "headings twice: {columns}"),
    "heading_missing": ("缺少列：{columns}", "columns missing: {columns}"),
    "too_large": ("文件超过 {most} MB", "the file is larger than {most} MB"),
}
_PLACE = ("第 {line} 行{column}：{what}。", "Line {line}{column}: {what}.")


def say_error(error: RowError | FileError, language: str) -> str:
    """What is wrong and what would do, in "zh" or "en", with the line and the column."""
    at = 0 if language == "zh" else 1
    what = ERRORS[error.code][at].format_map(_Known(error.data))
    column = getattr(error, "column", None)
    if not error.line:
        return f"{what[:1].upper()}{what[1:]}{'。' if at == 0 else '.'}"
    named = f"，{column}" if at == 0 else f", {column}"
    return _PLACE[at].format(line=error.line, column=named if column else "", what=what)


def about(kind: str, column: str, language: str) -> str:
    """What a column holds."""
    return (ABOUT.get(f"{kind}.{column}") or ABOUT[column])[0 if language == "zh" else 1]


class _Known(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return "?"
