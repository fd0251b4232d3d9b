// The chat page: shows the conversation as the service tells it, sends what the customer writes, loses nothing.
"use strict";
(() => {
  const WORDS = {
    zh: {
      switch: "English", placeholder: "输入消息…", label: "消息", send: "发送", sending: "发送中…", sent: "已发送",
      failed: "发送失败", retry: "重试", bot: "智能助手", helped: "{name} 正在为您服务", joined: "{name} 加入了会话",
      queued: "正在为您转接人工客服", due: "客服将在 {time} 前答复您 · 还有", late: "抱歉让您久等了，客服会尽快答复您。",
      connecting: "正在连接…", offline: "网络已断开。恢复后会自动发送。", typing: "对方正在输入", left: "还可输入 {n} 字", full: "已达 4000 字上限",
      newer: "↓ 新消息", too_long: "消息太长，最多 4000 字", empty: "消息没有内容", rate_limited: "发送太频繁，稍后自动重试",
      hello: "我是{shop}的智能助手，可以帮您查订单、办退换、看积分；需要时随时为您转人工客服。", welcome: "您好！", welcome_name: "{name}，您好！",
      expired: "登录链接已失效，您正以访客身份聊天。请从店铺重新进入以登录。", today: "今天", choices: "快捷回复",
      starters: ["我的订单到哪了？", "怎么退换货？", "我有多少积分？", "转人工客服"], log: "聊天记录",
    },
    en: {
      switch: "中文", placeholder: "Write a message…", label: "Message", send: "Send", sending: "Sending…", sent: "Sent",
      failed: "Not sent", retry: "Try again", bot: "Assistant", helped: "{name} is helping you", joined: "{name} has joined",
      queued: "Waiting for a person", due: "A person will be with you by {time} · in", late: "Sorry to keep you waiting. A person will answer as soon as possible.",
      connecting: "Connecting…", offline: "You are offline. Messages are sent when you are back.", typing: "Someone is typing", left: "{n} characters left", full: "4,000 characters is the limit",
      newer: "↓ New messages", too_long: "Too long: 4,000 characters at most", empty: "The message is empty", rate_limited: "Too many messages; sent again in a moment",
      hello: "I am the assistant of {shop}. I can look up orders, arrange returns and check your points, and fetch a person whenever you want one.", welcome: "Hello!", welcome_name: "Hello {name}!",
      expired: "That sign-in link is no longer valid, so you are chatting as a guest. Please come in from the shop again to sign in.", today: "Today", choices: "Quick replies",
      starters: ["Where is my order?", "How do I return something?", "How many points do I have?", "Talk to a person"], log: "Conversation",
    },
  };
  const LIMIT = 4000, HINT_FROM = 200, TRIES = 4, TYPING_MS = 20000;
  const at = (id) => document.getElementById(id);
  const page = at("chat"), log = at("log"), scroll = at("scroll"), box = at("text");

  const remembered = (storage, key) => { try { return storage.getItem(key); } catch { return null; } };
  const remember = (storage, key, value) => { try { storage.setItem(key, value); } catch { /* private window */ } };

  let language = remembered(localStorage, "warmline.language");
  if (!WORDS[language]) {
    language = (navigator.languages || [navigator.language]).map((l) => l.slice(0, 2).toLowerCase()).find((l) => WORDS[l])
      || document.documentElement.dataset.language;
  }
  const say = (key, values = {}) =>
    Object.entries(values).reduce((text, [name, value]) => text.replace(`{${name}}`, () => value), WORDS[language][key]);

  // What is known: messages of the service by id, and the outbox of those it has not confirmed.
  const messages = new Map();
  let outbox = [];
  let state = { owner: "bot", assignee: null, due_at: null, ticket: null };
  let last = 0, customer = null, known = false, loaded = false, live = false, expired = false;
  let stream = null, reconnect = 0, reconnecting = 0, typingUntil = 0, sending = false;

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function randomId() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  }

  const time = (when) => new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(when);
  const sameDay = (a, b) => a.toDateString() === b.toDateString();
  const dayOf = (when) => (sameDay(when, new Date()) ? say("today")
    : new Intl.DateTimeFormat(language, { month: "long", day: "numeric", weekday: "short" }).format(when));

  // Text with its http(s) addresses as links; everything else stays text.
  function linked(into, text) {
    let from = 0;
    for (const match of text.matchAll(/https?:\/\/[^\s<>"'`，。；：！？、（）《》「」【】]+/gi)) {
      const address = match[0].replace(/[.,;:!?)\]}]+$/, "");
      let url;
      try { url = new URL(address); } catch { continue; }
      into.append(text.slice(from, match.index));
      const link = element("a", "", address);
      link.href = url.href;
      link.target = "_blank";
      link.rel = "noopener noreferrer nofollow";
      into.append(link);
      from = match.index + address.length;
    }
    into.append(text.slice(from));
    return into;
  }

  const isMine = (message) => message.author === "customer";
  const lastMine = () => [...messages.values()].reduce((id, m) => (isMine(m) ? Math.max(id, m.id) : id), 0);

  function optionsOf(message, usable, chosen) {
    const options = element("div", "options");
    options.setAttribute("role", "group");
    options.setAttribute("aria-label", say("choices"));
    for (const button of message.buttons) {
      const made = element("button", button.title === chosen ? "chosen" : "", button.title);
      made.type = "button";
      made.disabled = !usable;
      made.addEventListener("click", () => send(button.title, button.payload));
      options.append(made);
    }
    return options;
  }

  function shown(message, before, usable, chosen) {
    const when = new Date(message.at);
    if (message.author === "system") {
      const notice = linked(element("div", "notice"), message.text);
      if (message.buttons.length) notice.append(optionsOf(message, usable, chosen));
      return notice;
    }
    const row = element("article", "message " + (isMine(message) ? "mine" : message.author));
    if (!isMine(message) && (!before || before.author !== message.author || before.agent !== message.agent)) {
      row.append(element("span", "name", message.author === "agent" ? message.agent : say("bot")));
    }
    row.append(linked(element("div", "bubble"), message.text));
    const meta = element("span", "meta", time(when) + (isMine(message) ? " · " + say("sent") : ""));
    row.append(meta);
    if (message.buttons.length) row.append(optionsOf(message, usable, chosen));
    return row;
  }

  function shownPending(item) {
    const row = element("article", "message mine " + (item.failed ? "failed" : "pending"));
    row.append(linked(element("div", "bubble"), item.text));
    const meta = element("span", "meta", say(item.failed ? "failed" : "sending"));
    if (item.why) meta.textContent += " · " + say(item.why);
    if (item.failed && item.again) {
      const retry = element("button", "", say("retry"));
      retry.type = "button";
      retry.addEventListener("click", () => { Object.assign(item, { failed: false, tries: 0, why: "" }); render(); flush(); });
      meta.append(" · ", retry);
    }
    row.append(meta);
    return row;
  }

  // The log is kept as a list of keyed rows, so that what has not changed is not announced again.
  const rows = new Map();
  function render() {
    const stick = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
    const mine = lastMine(), wanted = [];
    const put = (key, mark, make) => {
      const have = rows.get(key);
      wanted.push([key, have && have.mark === mark ? have : { mark, node: make() }]);
    };
    let before = null, agent = null;
    const ordered = [...messages.values()].sort((a, b) => a.id - b.id);
    ordered.forEach((message, index) => {
      const when = new Date(message.at);
      if (!before || !sameDay(new Date(before.at), when)) {
        put("day" + message.id, language, () => element("p", "day", dayOf(when)));
      }
      if (message.author === "bot") agent = null;
      if (message.author === "agent" && message.agent !== agent) {
        agent = message.agent;
        put("joined" + message.id, language, () => element("p", "notice", say("joined", { name: message.agent })));
      }
      const usable = message.id > mine && !outbox.some((item) => !item.failed);
      const next = message.buttons.length && ordered.slice(index).find(isMine);
      const chosen = next ? next.text : (outbox[0] || {}).text;
      const previous = before;
      put("m" + message.id, [language, usable, message.buttons.length && chosen, previous && previous.author + previous.agent].join(), () =>
        shown(message, previous, usable, chosen));
      before = message;
    });
    for (const item of outbox) {
      put("o" + item.message_id, [language, item.failed, item.why].join(), () => shownPending(item));
    }
    if (expired) put("expired", language, () => element("p", "notice", say("expired")));
    const keys = new Set(wanted.map(([key]) => key));
    for (const [key, row] of rows) if (!keys.has(key)) { row.node.remove(); rows.delete(key); }
    let place = log.firstChild;
    for (const [key, row] of wanted) {
      const had = rows.get(key);
      if (had && had !== row) { if (place === had.node) place = place.nextSibling; had.node.remove(); }
      if (place === row.node) place = place.nextSibling; else log.insertBefore(row.node, place);
      rows.set(key, row);
    }
    at("welcome").hidden = !loaded || ordered.length + outbox.length > 0;
    status();
    if (stick) toEnd(); else at("newer").hidden = false;
  }

  function toEnd() {
    scroll.scrollTop = scroll.scrollHeight;
    at("newer").hidden = true;
  }

  function status() {
    const human = state.owner === "human", waiting = human && state.due_at;
    at("status").textContent = !live && known ? say("connecting")
      : !human ? say("bot")
        : !waiting && state.assignee ? say("helped", { name: state.assignee }) : say("queued");
    at("typing").hidden = Date.now() > typingUntil;
    at("offline").hidden = navigator.onLine;
    countDown();
  }

  // The promised time as the shop's own sentences say it, on the shop's clock; named where the customer's is another.
  function promised(due) {
    const zone = page.dataset.timeZone, now = new Date();
    const told = (when, options) => new Intl.DateTimeFormat(language, { timeZone: zone, hourCycle: "h23", ...options }).format(when);
    const clock = { hour: "2-digit", minute: "2-digit" }, day = { month: "long", day: "numeric" };
    const by = told(due, { ...(told(due, day) === told(now, day) ? {} : day), ...clock });
    if (told(now, clock) === time(now)) return by;
    const parts = new Intl.DateTimeFormat(language, { timeZone: zone, timeZoneName: "short" }).formatToParts(due);
    return by + " " + parts.find((part) => part.type === "timeZoneName").value;
  }

  function countDown() {
    const waiting = at("waiting"), due = state.due_at && new Date(state.due_at);
    waiting.hidden = !(state.owner === "human" && due);
    if (waiting.hidden) return;
    const left = Math.floor((due - Date.now()) / 1000), late = left < 0;
    waiting.classList.toggle("late", late);
    const by = promised(due);
    const words = late ? say("late") : say("due", { time: by });
    if (at("waiting-words").textContent !== words) at("waiting-words").textContent = words;
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(left / 3600);
    at("countdown").textContent = late ? ""
      : (hours ? hours + ":" : "") + two(Math.floor(left / 60) % 60) + ":" + two(left % 60);
  }

  function take(message) {
    messages.set(message.id, message);
    last = Math.max(last, message.id);
    if (isMine(message)) settle(message.message_id); else typingUntil = 0;
  }

  // Sending: one after the other, so that the order stays; again and again with the same id, so that nothing doubles.
  const keep = () => remember(sessionStorage, "warmline.outbox", JSON.stringify(outbox));
  function settle(id) {
    outbox = outbox.filter((item) => item.message_id !== id);
    keep();
  }

  function send(text, payload) {
    if (!text.trim()) return;
    outbox.push({ message_id: randomId(), text, payload: payload || null, at: new Date().toISOString(), tries: 0 });
    keep();
    render();
    toEnd();
    flush();
  }

  async function flush() {
    const item = outbox.find((each) => !each.failed);
    if (sending || !item || !navigator.onLine) return;
    sending = true;
    let pause = 0;
    try {
      const answer = await fetch("/api/chat/messages", {
        method: "POST", headers: { "Content-Type": "application/json" }, signal: AbortSignal.timeout(20000),
        body: JSON.stringify({ message_id: item.message_id, text: item.text, payload: item.payload, language }),
      });
      if (answer.status === 202) {
        const stored = await answer.json();
        if (!messages.has(stored.id)) {
          take({ id: stored.id, author: "customer", text: item.text, buttons: [], at: item.at, message_id: item.message_id });
          // The stream goes on after the last message it brought, not after this one: what was said before it must not be missed.
          if (state.owner === "bot" && !stored.duplicate) typingUntil = Date.now() + TYPING_MS;
        }
        settle(item.message_id);
        if (!known) { known = true; load(); }
      } else if (answer.status === 429) {
        item.why = "rate_limited";
        pause = 1000 * Math.max(1, Number(answer.headers.get("Retry-After")) || 5);
      } else if (answer.status < 500) {
        const { error } = await answer.json().catch(() => ({}));
        Object.assign(item, { failed: true, again: false, why: WORDS[language][error] ? error : "" });
      } else throw new Error(answer.status);
    } catch {
      if (navigator.onLine && ++item.tries >= TRIES) Object.assign(item, { failed: true, again: true });
      else pause = 1000 * 2 ** item.tries;
    }
    sending = false;
    keep();
    render();
    if (pause) setTimeout(flush, pause); else flush();
  }

  // Listening: a stream that goes on after the last message, however often it breaks.
  async function load() {
    try {
      const answer = await fetch("/api/chat/messages");
      if (!answer.ok) throw new Error(answer.status);
      const told = await answer.json();
      loaded = true;
      known = told.known;
      customer = told.customer;
      Object.assign(state, { owner: told.owner, assignee: told.assignee, due_at: told.due_at, ticket: told.ticket });
      told.messages.forEach(take);
      greet();
      render();
      if (known) listen(); else live = true;
      flush();
    } catch {
      later(load);
    }
  }

  function later(what) {
    live = false;
    clearTimeout(reconnecting);
    reconnecting = setTimeout(what, Math.min(10000, 500 * 2 ** reconnect++));
    status();
  }

  let heard = 0;
  function listen() {
    if (stream) stream.close();
    heard = Math.max(heard, ...[...messages.values()].filter((m) => m.in_reply_to !== undefined).map((m) => m.id));
    stream = new EventSource("/api/chat/stream?after=" + heard);
    stream.onopen = () => { live = true; reconnect = 0; status(); flush(); };
    stream.onerror = () => {
      live = false;
      if (stream.readyState === EventSource.CLOSED) later(load); else status();
    };
    stream.addEventListener("message", (event) => {
      const message = JSON.parse(event.data);
      heard = Math.max(heard, message.id);
      take(message);
      render();
    });
    stream.addEventListener("state", (event) => { state = JSON.parse(event.data); render(); });
    stream.addEventListener("typing", () => { typingUntil = Date.now() + TYPING_MS; render(); });
  }

  function greet() {
    at("hello").textContent = (customer ? say("welcome_name", { name: customer }) : say("welcome")) + "\n" + say("hello", { shop: shopName() });
    at("starters").replaceChildren(...WORDS[language].starters.map((text) => {
      const button = element("button", "", text);
      button.type = "button";
      button.addEventListener("click", () => send(text));
      return button;
    }));
  }

  const shopName = () => page.dataset[language === "zh" ? "nameZh" : "nameEn"];
  function speak() {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = at("shop").textContent = shopName();
    at("language").textContent = WORDS[language].switch;
    at("language").lang = language === "zh" ? "en" : "zh-CN";
    box.placeholder = say("placeholder");
    box.setAttribute("aria-label", say("label"));
    log.setAttribute("aria-label", say("log"));
    at("send").textContent = say("send");
    at("typing-words").textContent = say("typing");
    at("offline").textContent = say("offline");
    at("newer").textContent = say("newer");
    greet();
    grow();
    render();
  }

  function grow() {
    box.style.height = "auto";
    box.style.height = box.scrollHeight + 2 + "px";
    const left = LIMIT - box.value.length, hint = at("hint");
    hint.textContent = left > HINT_FROM ? "" : left > 0 ? say("left", { n: left }) : say("full");
    hint.classList.toggle("full", left <= 0);
    at("send").disabled = !box.value.trim();
  }

  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = box.value;
    if (!text.trim()) return;
    box.value = "";
    grow();
    send(text.trim());
    box.focus();
  });
  box.addEventListener("input", grow);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    at("form").requestSubmit();
  });
  at("language").addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    remember(localStorage, "warmline.language", language);
    speak();
  });
  at("newer").addEventListener("click", toEnd);
  scroll.addEventListener("scroll", () => {
    if (scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80) at("newer").hidden = true;
  });
  addEventListener("online", () => { status(); reconnect = 0; if (known) load(); flush(); });
  addEventListener("offline", status);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !(live && known)) { reconnect = 0; load(); }
  });
  setInterval(() => {
    countDown();
    if (!at("typing").hidden && Date.now() > typingUntil) status();
  }, 1000);

  try {
    outbox = (JSON.parse(remembered(sessionStorage, "warmline.outbox")) || []).filter((item) => !item.failed || item.again);
    outbox.forEach((item) => Object.assign(item, { tries: 0, failed: false, why: "" }));
  } catch { outbox = []; }
  const query = new URLSearchParams(location.search);
  if (query.get("link") === "expired") {
    expired = true;
    history.replaceState(null, "", location.pathname);
  }
  speak();
  load();
})();
