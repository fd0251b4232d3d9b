"""The words of what customers sent besides words."""
from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "attachments": ("附件", "Attachments"),
    "attachment_photo": ("图片", "Photo"),
    "attachment_document": ("文件", "File"),
    "attachment_voice": ("语音", "Voice message"),
    "attachment_audio": ("音频", "Audio"),
    "attachment_video": ("视频", "Video"),
    "attachment_animation": ("动图", "Animation"),
    "attachment_sticker": ("贴纸", "Sticker"),
    "attachment_location": ("位置", "Location"),
    "attachment_contact": ("联系人", "Contact"),
    "attachment_waiting": ("正在取回…", "Being fetched…"),
    "attachment_on_map": ("在地图上打开（OpenStreetMap）", "Open on the map (OpenStreetMap)"),
    "not_kept_too_large": ("未保存：文件太大", "Not kept: too large"),
    "not_kept_gone": ("未保存：渠道上已找不到", "Not kept: the channel no longer has it"),
    "not_kept_kind": ("未保存：不接受这种文件", "Not kept: files of this kind are not accepted"),
    "not_kept_empty": ("未保存：文件是空的", "Not kept: the file is empty"),
    "not_kept_failed": ("未保存：多次尝试仍取不到", "Not kept: it could not be fetched in many attempts"),
    "not_kept_blocked": ("未保存：发送者已被屏蔽", "Not kept: the sender is blocked"),
}
