"""The words of the chat page in both languages; the page's script fills in what stands in braces."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS: Mapping[str, Mapping[str, Any]] = {
    "zh": {
        "switch": "English", "placeholder": "输入消息…", "label": "消息", "send": "发送", "sending": "发送中…",
        "sent": "已发送", "failed": "发送失败", "retry": "重试", "bot": "智能助手", "helped": "{name} 正在为您服务",
        "joined": "{name} 加入了会话", "queued": "正在为您转接人工客服", "due": "客服将在 {time} 前答复您 · 还有",
        "late": "抱歉让您久等了，客服会尽快答复您。", "connecting": "正在连接…",
        "offline": "网络已断开。恢复后会自动发送。",
        "typing": "对方正在输入", "left": "还可输入 {n} 字", "full": "已达 4000 字上限", "newer": "↓ 新消息",
        "too_long": "消息太长，最多 4000 字", "empty": "消息没有内容", "rate_limited": "发送太频繁，稍后自动重试",
        "hello": "我是{shop}的智能助手，可以帮您查订单、办退换、看积分；需要时随时为您转人工客服。",
        "welcome": "您好！", "welcome_name": "{name}，您好！",
        "expired": "登录链接已失效，您正以访客身份聊天。请从店铺重新进入以登录。",
        "today": "今天", "choices": "快捷回复", "log": "聊天记录", "close": "关闭聊天窗口",
        "attach": "添加图片或文件", "remove": "移除 {name}", "drop": "松开即可添加", "open": "下载 {name}",
        "too_large": "{name} 太大，最多 {n} MB", "too_many": "一次最多 {n} 个文件", "nothing": "{name} 没有内容",
        "file_too_large": "文件太大", "file_kind": "不接受这种文件", "progress": "上传 {name}",
        "starters": ["我的订单到哪了？", "怎么退换货？", "我有多少积分？", "转人工客服"],
    },
    "en": {
        "switch": "中文", "placeholder": "Write a message…", "label": "Message", "send": "Send", "sending": "Sending…",
        "sent": "Sent", "failed": "Not sent", "retry": "Try again", "bot": "Assistant",
        "helped": "{name} is helping you", "joined": "{name} has joined", "queued": "Waiting for a person",
        "due": "A person will be with you by {time} · in",
        "late": "Sorry to keep you waiting. A person will answer as soon as possible.", "connecting": "Connecting…",
        "offline": "You are offline. Messages are sent when you are back.", "typing": "Someone is typing",
        "left": "{n} characters left", "full": "4,000 characters is the limit", "newer": "↓ New messages",
        "too_long": "Too long: 4,000 characters at most", "empty": "The message is empty",
        "rate_limited": "Too many messages; sent again in a moment",
        "hello": "I am the assistant of {shop}. I can look up orders, arrange returns and check your points, and fetch "
                 "a person whenever you want one.",
        "welcome": "Hello!", "welcome_name": "Hello {name}!",
        "expired": "That sign-in link is no longer valid, so you are chatting as a guest. Please come in from the shop "
                   "again to sign in.",
        "today": "Today", "choices": "Quick replies", "log": "Conversation", "close": "Close the chat",
        "attach": "Add a picture or a file", "remove": "Remove {name}", "drop": "Drop to add",
        "open": "Download {name}",
        "too_large": "{name} is too big: {n} MB at most", "too_many": "{n} files at a time at most",
        "nothing": "{name} is empty", "file_too_large": "The file is too big",
        "file_kind": "This kind of file is not accepted", "progress": "Uploading {name}",
        "starters": ["Where is my order?", "How do I return something?", "How many points do I have?",
                     "Talk to a person"],
    },
}
