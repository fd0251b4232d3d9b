"""Personal data is found and masked, in both scripts, without swallowing what is none."""
from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm_store.rules.personal_data import find_personal_data, mask, mask_address, mask_email, mask_phone

CASES = [
    ("电话13800138000找我", "phone", "13800138000"),
    ("call +86 138-0013-8000 now", "phone", "+86 138-0013-8000"),
    ("手机：１３８００１３８０００", "phone", "１３８００１３８０００"),
    ("座机 021-62345678", "phone", "021-62345678"),
    ("ring +44 7911 123456", "phone", "+44 7911 123456"),
    ("mail li.lei+x@mail.example.com.", "email", "li.lei+x@mail.example.com"),
    ("邮箱lilei＠example．com", "email", "lilei＠example．com"),
    ("身份证 11010519491231002X 的", "id_card", "11010519491231002X"),
    ("卡号 6222 0212 3456 7890 128", "bank_card", "6222 0212 3456 7890 128"),
    ("card 4111-1111-1111-1111 ok", "bank_card", "4111-1111-1111-1111"),
    ("寄到浙江省杭州市西湖区文三路90号5栋502室，谢谢", "address", "浙江省杭州市西湖区文三路90号5栋502室"),
    ("我住在幸福小区12栋", "address", "幸福小区12栋"),
    ("I live at 12 Baker Street in town", "address", "12 Baker Street"),
]
NONE = [
    "WL20261018004 到哪了", "C1023", "2026-11-18 10:00", "conversation_id=12 message_id=345", "100 积分", "@all 好的",
    "127.0.0.1:5055", "price 12345678901234567890", "SF1234567890123", "1700000000", "走了3号门", "1234567812345678",
    "6222 0212 3456 7890 127", "a@b", "duration_ms=13800138", "人民路很长", "¥5,000",
]


@pytest.mark.parametrize(("text", "kind", "what"), CASES)
def test_personal_data_is_found_and_masked(text: str, kind: str, what: str) -> None:
    (span,) = find_personal_data(text)
    assert (span.kind, text[span.start:span.end]) == (kind, what)
    masked = mask(text)
    assert what not in masked and what[-4:] not in masked
    assert masked.startswith(text[:span.start]) and masked.endswith(text[span.end:])


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_personal_data_stays(text: str) -> None:
    assert find_personal_data(text) == []
    assert mask(text) == text


def test_several_are_masked_each() -> None:
    assert mask("13800138000 或 a@b.cn，不行打13900139000") == "138******** 或 ****，不行打139********"


pieces = st.sampled_from([text for text, *_ in CASES] + [*NONE, "，", " ", "路", "号", "1", "-", "@"])


@given(st.one_of(st.text(max_size=300), st.lists(pieces, max_size=6).map("".join)))
@example("1" * 4000)
def test_masked_text_holds_no_personal_data_and_masking_again_changes_nothing(text: str) -> None:
    spans = find_personal_data(text)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    masked = mask(text)
    assert find_personal_data(masked) == []
    assert mask(masked) == masked
    if not spans:
        assert masked == text


@pytest.mark.parametrize("hostile", [
    "a" * 100_000, "a." * 50_000 + "@", "@" * 100_000, "1 " * 50_000, "138-" * 30_000, "路1" * 50_000,
    "市区县" * 30_000, "A " * 50_000, "1 Aa " * 20_000, "中" * 100_000 + "路1号", "+1" * 50_000, "人民路1号" * 10_000,
    "0" * 100_000])
def test_hostile_text_takes_no_time(hostile: str) -> None:
    started = time.process_time()
    mask(hostile)
    assert time.process_time() - started < 5


def test_fields_are_masked_for_staff() -> None:
    assert (mask_phone("13800138000"), mask_phone("123"), mask_phone(None)) == ("138****8000", "****", None)
    assert (mask_email("li@example.com"), mask_email("odd"), mask_email("")) == ("l***@example.com", "***", "")
    assert mask_address("新疆维吾尔自治区乌鲁木齐市东湖区和平路3号") == "新疆维吾尔自治区乌鲁木齐市东湖区***"
    assert mask_address("8 High Street") == "***"
