"""What the desk suggests beside a conversation: articles and solved cases, to those who may see them."""
from __future__ import annotations

import numpy as np
import pytest

from crm_store.services.cases import conversations_to_draw, draw_case, store_cases
from crm_store.services.knowledge import save_article
from tests.desk.conftest import Desk
from tests.desk.test_pages import HOSTILE, Seen, flat

ENCODER = "0123456789abcdef"
SOLUTION = "已加急，财务今天下午打款，原路退回，一般一到三个工作日到账，到账后再跟您确认。"


def save(desk: Desk, slug: str = "refund-times", published: bool = True, **changes: str) -> None:
    words = {"title_zh": "退款时效", "title_en": "When refunds arrive", "body_zh": "三个工作日内到账。",
             "body_en": "Within three working days."}
    with desk.store.write() as session:
        save_article(session, slug=slug, intent="ask_refund_status", published=published, now=desk.clock(),
                     **{**words, **changes})


def solved(desk: Desk, sender: str, text: str = "退款拖了三周", *, agent: str = "wang", solution: str = SOLUTION,
           cause: str = "compensated") -> int:
    conversation = desk.escalated(sender, text, assignee=agent)
    desk.clock.move(minutes=5)
    client = desk.client(agent)
    for action, body in (("reply", {"text": solution}), ("resolve", {"cause": cause})):
        assert client.post(f"/api/conversations/{conversation}/{action}", json=body).status_code < 300
    return conversation


def read_cases(desk: Desk) -> None:
    """A pretended encoder, to whom all are alike."""
    with desk.store.write() as session:
        drafts = [draw_case(session, each) for each in conversations_to_draw(session, ENCODER, 100)]
        store_cases(session, drafts, [np.array([1.0, 0.0])] * len(drafts), ENCODER)


def part(desk: Desk, conversation: int, agent: str = "wang") -> str:
    answer = desk.client(agent).get(f"/desk/parts/conversations/{conversation}")
    assert answer.status_code == 200
    return answer.text


def test_solved_cases_like_it_are_shown_with_how_they_were_solved(desk: Desk) -> None:
    before = solved(desk, "a")
    here = desk.escalated("b", "退款怎么还没到", assignee="wang")
    assert 'id="solved-cases"' not in part(desk, here)
    read_cases(desk)
    page = part(desk, here)
    assert f'<a class="subject" href="/desk?conversation={before}" data-conversation="{before}"' in page
    for told in ("相似的已解决会话", "退款拖了三周", SOLUTION, "11月18日 · 已补偿"):
        assert told in page
    in_english = desk.client("wang")
    in_english.post("/desk/language", data={"language": "en"})
    assert "Solved cases like this" in in_english.get(f"/desk?conversation={here}").text


def test_they_are_shown_for_guests_and_for_customers_and_only_while_a_human_has_it(lite: Desk) -> None:
    before = solved(lite, "a")
    guest = lite.escalated("b", "退款怎么还没到", assignee="wang")
    known = lite.escalated("c", "退款怎么还没到", assignee="wang", customer_id=lite.customer("李雷"))
    read_cases(lite)
    for conversation in (guest, known):
        assert part(lite, conversation).count('id="solved-cases"') == 1
    assert 'id="solved-cases"' not in part(lite, before)
    lite.client("wang").post(f"/api/conversations/{guest}/handback")
    assert 'id="solved-cases"' not in part(lite, guest)
    assert 'id="solved-cases"' not in lite.client("zhang").get(f"/manage/logs/{known}").text


def test_a_colleagues_case_is_shown_to_nobody_who_may_not_open_it(lite: Desk) -> None:
    lees = solved(lite, "a", agent="lee")
    here = lite.escalated("b", "退款怎么还没到", assignee="wang")
    read_cases(lite)
    assert 'id="solved-cases"' not in part(lite, here, "wang")
    assert f'data-conversation="{lees}"' in part(lite, here, "zhang")


def test_the_articles_nearest_to_the_last_words_can_be_inserted(desk: Desk) -> None:
    save(desk)
    here = desk.escalated("b", "退款怎么还没到", assignee="wang")
    page = part(desk, here)
    assert "退款时效" in page and 'type="button" class="quiet" data-insert="三个工作日内到账。"' in page
    read_only = part(desk, here, "zhang")
    assert "退款时效" in read_only and 'data-insert="三个工作日内到账。"' not in read_only


def test_articles_that_were_withdrawn_are_not_suggested(lite: Desk) -> None:
    save(lite, published=False)
    here = lite.escalated("b", "退款怎么还没到", assignee="wang")
    assert 'id="near-articles"' not in part(lite, here)


def test_articles_that_hardly_answer_are_not_suggested(lite: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    save(lite)
    here = lite.escalated("b", "退款怎么还没到", assignee="wang")
    assert 'id="near-articles"' in part(lite, here)
    monkeypatch.setattr("desk.suggestions.LEAST_LIKELY", 0.84)  # it is likely at 0.83
    assert 'id="near-articles"' not in part(lite, here)


def test_small_talk_does_not_replace_the_articles_of_the_question(lite: Desk) -> None:
    save(lite)
    save(lite, "other", title_zh="别的", body_zh="别的内容。")
    here = lite.escalated("b", "退款怎么还没到", assignee="wang")
    lite.says("b", "好的谢谢", intent="thank", reply=None)
    assert "退款时效" in part(lite, here)


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_in_a_suggestion_becomes_markup(lite: Desk, hostile: str) -> None:
    here = lite.escalated("c", "退款怎么还没到", assignee="zhang")
    solved(lite, "a", hostile, agent="zhang", solution=f"{hostile} {SOLUTION}")
    read_cases(lite)
    tags = []
    for text in ("plain words", hostile):
        save(lite, title_zh=text, title_en=text, body_zh=text, body_en=text)
        page = Seen(part(lite, here, "zhang"))
        tags.append(page.tags)
    assert tags[0] == tags[1] and "script" not in tags[0] and {"near-articles", "solved-cases"} <= set(page.values)
    assert flat("".join(page.text)).count(flat(hostile)) >= 4, "the matter, the solution, a title and a body"
