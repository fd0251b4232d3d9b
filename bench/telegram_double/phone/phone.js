// The phone: shows a chat of the double and does what its person does.
"use strict";

const WORDS = {
  zh: {send: "发送", block: "停用", unblock: "启用", typing: "正在输入…", edited: "已修改", edit: "修改", waiting: "还没有机器人连接",
       write: "写点什么", ask: "改成："},
  en: {send: "Send", block: "Block", unblock: "Unblock", typing: "is typing…", edited: "edited", edit: "Edit",
       waiting: "no bot has connected yet", write: "Write something", ask: "Change it to:"},
};
const KINDS = ["photo", "document", "voice", "sticker", "location"];
const $ = (id) => document.getElementById(id);
let shown = "", state = {messages: [], bots: [], bot: 0, blocked: false};

const named = (kind) => document.querySelector(`[data-send=${kind}]`)?.textContent || kind;
const words = () => WORDS[$("language").value === "en" ? "en" : "zh"];

async function upload(file) {
  const asked = new URLSearchParams({bot: state.bot, chat: $("chat").value, language: $("language").value,
                                     name: file.name, caption: $("text").value.trim()});
  $("text").value = "";
  await fetch("/phone/upload?" + asked, {method: "POST", headers: {"Content-Type": "application/octet-stream"}, body: file});
  await look();
}

async function act(what) {
  const asked = {bot: state.bot, chat: $("chat").value, language: $("language").value, ...what};
  await fetch("/phone/do", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(asked)});
  await look();
}

function bubble(message) {
  const line = document.createElement("li");
  const mine = !message.from.is_bot;
  line.className = mine ? "mine" : "";
  const kind = KINDS.find((name) => message[name]);
  if (message.photo?.length) {
    const picture = document.createElement("img");
    picture.src = "/phone/file?id=" + encodeURIComponent(message.photo.at(-1).file_id);
    picture.alt = named("photo");
    line.append(picture);
  }
  const name = message.document?.file_name || "";
  line.append(message.text || `[${named(kind)}] ${name} ${message.caption || ""}`);
  const foot = document.createElement("small");
  foot.append(new Date(message.date * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"}));
  if (message.edit_date) foot.append(" · " + words().edited);
  if (mine && message.text) {
    const edit = document.createElement("button");
    edit.type = "button";
    edit.className = "edit";
    edit.textContent = words().edit;
    edit.addEventListener("click", () => {
      const text = window.prompt(words().ask, message.text);
      if (text && text !== message.text) act({do: "edit", message: message.message_id, text});
    });
    foot.append(edit);
  }
  line.append(foot);
  const rows = (message.reply_markup || {}).inline_keyboard || [];
  if (rows.length) {
    const buttons = document.createElement("div");
    buttons.className = "buttons";
    for (const offered of rows.flat()) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = offered.text;
      button.addEventListener("click", () => act({do: "press", message: message.message_id, data: offered.callback_data}));
      buttons.append(button);
    }
    line.append(buttons);
  }
  return line;
}

function label() {
  const language = $("language").value === "en" ? "en" : "zh";
  document.documentElement.lang = language;
  for (const each of document.querySelectorAll("[data-zh]")) each.textContent = each.dataset[language];
  $("send").textContent = words().send;
  $("text").placeholder = words().write;
  $("text").setAttribute("aria-label", words().write);
  $("block").textContent = state.blocked ? words().unblock : words().block;
  $("name").textContent = state.bot ? `@double_${state.bot}_bot` : words().waiting;
  $("state").textContent = state.typing ? words().typing : "";
}

async function look() {
  const asked = new URLSearchParams({chat: $("chat").value, bot: $("bot").value || ""});
  state = await (await fetch("/phone/chat?" + asked)).json();
  label();
  const bots = state.bots.join();
  if ($("bot").dataset.shown !== bots) {
    $("bot").dataset.shown = bots;
    $("bot").replaceChildren(...state.bots.map((id) => new Option(id, id, id === state.bot, id === state.bot)));
  }
  const now = JSON.stringify([state.messages, $("language").value]);
  if (now === shown) return;
  shown = now;
  $("messages").replaceChildren(...state.messages.map(bubble));
  $("messages").scrollTop = $("messages").scrollHeight;
}

function submit() {
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  act({do: "say", text});
}

$("write").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
});
$("more").addEventListener("click", (event) => {
  const {send, say} = event.target.dataset;
  if (send) act({do: "send", kind: send});
  if (say) act({do: "say", text: say});
});
$("file").addEventListener("change", () => {
  const file = $("file").files[0];
  if (file) upload(file);
  $("file").value = "";
});
$("block").addEventListener("click", () => act({do: "block", blocked: !state.blocked}));
for (const id of ["chat", "bot", "language"]) $(id).addEventListener("change", look);
setInterval(() => look().catch(() => {}), 600);
look();
