"""The words of care."""
from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "care": ("关怀", "Care"),
    "care_title": ("客户关怀", "Messages customers did not ask for"),
    "care_hint": ("只发给同意的客户：每周最多一条、每月最多三条，晚上 8 点到早上 9 点半不发；"
                  "留一部分客户不发，用来对照效果。",
                  "Only to who agreed: one a week and three a month at most, none from 20:00 to 9:30. Some customers "
                  "get none, to show what the others' messages do."),
    "care_kind_birthday": ("生日", "Birthday"),
    "care_kind_delivered": ("包裹送达", "Parcel delivered"),
    "care_kind_points_expiring": ("积分将到期", "Points about to expire"),
    "care_kind_win_back": ("久未光顾", "Stayed away"),
    "care_kind_follow_up": ("投诉回访", "After a complaint"),
    "care_needs_marketing": ("需同意营销消息", "Needs consent to marketing"),
    "care_needs_service": ("拒绝服务消息的客户不发", "Not to who refused service messages"),
    "care_on": ("开启", "On"),
    "care_off": ("关闭", "Off"),
    "care_days_points_expiring": ("到期前天数", "Days before they expire"),
    "care_days_win_back": ("多少天没有购买", "Days without a purchase"),
    "care_days_follow_up": ("解决后天数", "Days after it was resolved"),
    "care_control": ("对照组（%，不发）", "Control group (%, gets none)"),
    "care_text": ("{arm} 版 · {spoken}", "Variant {arm} · {spoken}"),
    "care_places": ("可用占位：{places}", "Places: {places}"),
    "care_b_hint": ("B 版留空则只发 A 版。", "Leave B empty to send A only."),
    "care_sent": ("半年内发出 {count} 条", "Sent in half a year: {count}"),
    "care_arm": ("组别", "Group"),
    "care_arm_a": ("A 版", "Variant A"),
    "care_arm_b": ("B 版", "Variant B"),
    "care_arm_control": ("对照组", "Control"),
    "care_customers": ("人次", "Customers"),
    "care_came_back": ("14 天内回来", "Came back in 14 days"),
    "care_against": ("与对照组相差（百分点，95% 区间）", "Against control (points, 95 % interval)"),
    "care_too_early": ("还没有满 14 天的结果。", "No results older than 14 days yet."),
    "audit_change_care": ("修改关怀消息", "Changed a care message"),
    "audit_care_campaign": ("关怀消息", "Care message"),
}
