"""The words of what a channel tells of a customer: that they changed a message, that they cannot be reached."""
from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "message_edited": ("已修改", "Edited"),
    "message_edited_at": ("客户于 {at} 修改过这条消息；修改前的内容见备注",
                          "Changed by the customer at {at}; a note has what it said before"),
    "unreachable": ("无法送达", "Unreachable"),
    "unreachable_since": ("客户自 {at} 起在 {channel} 停用了我们，消息无法送达；对方再来信即恢复",
                          "Blocked us on {channel} at {at}: nothing arrives until they write again"),
}
