"""Which slots belong to which form; they are forgotten when the form ends."""
from __future__ import annotations

SLOTS_OF: dict[str, tuple[str, ...]] = {
    "order_status_form": ("order_number", "phone_tail"),
    "request_form": ("request_type", "request_order", "request_detail"),
    "complaint_form": ("complaint_what", "complaint_order", "complaint_wish"),
    "redeem_form": ("reward", "redeem_confirmed"),
    "link_form": ("link_phone", "link_code"),
    "erase_form": ("erase_confirmed",),
}
FORM_SLOTS: tuple[str, ...] = (*(slot for slots in SLOTS_OF.values() for slot in slots), "wrong_order")
SKIPPED = "skipped"  # what a slot holds that the customer did not want to fill
