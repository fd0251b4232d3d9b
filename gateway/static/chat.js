// The chat: shows the conversation as the service tells it, sends what the customer writes, loses nothing.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const page = at("chat"), log = at("log"), scroll = at("scroll"), box = at("text"), told = page.dataset, root = document.documentElement;
  const WORDS = JSON.parse(told.words), framed = told.origins !== undefined;
  const LIMIT = 4000, HINT_FROM = 200, TRIES = 4, TYPING_MS = 20000, SILENT_MS = 45000, FILES = 5;

  const remembered = (storage, key) => { try { return window[storage].getItem(key); } catch { return null; } };
  const remember = (storage, key, value) => { try { window[storage].setItem(key, value); } catch { /* private window */ } };

  let language = told.language;
  const say = (key, values = {}) =>
    Object.entries(values).reduce((text, [name, value]) => text.replace(`{${name}}`, () => value), WORDS[language][key]);

  // What is known: messages of the service by id, and the outbox of those it has not confirmed.
  const messages = new Map(), pictures = new Map();
  let outbox = [], staged = [];
  let state = { owner: "bot", assignee: null, due_at: null };
  let customer = null, who = null, known = false, loaded = false, live = false, expired = false;
  let heard = 0, heardAt = 0, streams = 0, stop = null, reconnect = 0, reconnecting = 0, typingUntil = 0, sending = false;

  // In a frame: a line to the page around it, and the visitor that page remembers.
  let port = null, visitor = "", seen, open = !framed;
  const tell = (what) => port && port.postMessage(what);
  const call = (path, options = {}) =>
    fetch("/api/chat/" + path, { ...options, headers: { ...options.headers, ...(visitor && { "Warmline-Visitor": visitor }) } });
  const post = (path, body) => call(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, signal: AbortSignal.timeout(20000), body: JSON.stringify(body),
  });

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function button(className, text, pressed) {
    const made = element("button", className, text);
    made.type = "button";
    made.addEventListener("click", pressed);
    return made;
  }

  const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  const format = (options, when) => new Intl.DateTimeFormat(language, { hourCycle: "h23", ...options }).format(when);
  const CLOCK = { hour: "2-digit", minute: "2-digit" }, DAY = { month: "long", day: "numeric" };
  const time = (when) => format(CLOCK, when);
  const sameDay = (a, b) => a.toDateString() === b.toDateString();
  const dayOf = (when) => (sameDay(when, new Date()) ? say("today") : format({ ...DAY, weekday: "short" }, when));
  const size = (bytes) => (bytes < 1e6 ? Math.ceil(bytes / 1e3) + " kB" : (bytes / 1e6).toFixed(1) + " MB");

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
  const newest = (wanted) => [...messages.values()].reduce((id, m) => (wanted(m) ? Math.max(id, m.id) : id), 0);

  function optionsOf(message, usable, chosen) {
    const options = element("div", "options");
    options.setAttribute("role", "group");
    options.setAttribute("aria-label", say("choices"));
    for (const each of message.buttons) {
      const made = button(each.title === chosen ? "chosen" : "", each.title, () => send(each.title, each.payload));
      made.disabled = !usable;
      options.append(made);
    }
    return options;
  }

  // A file is fetched like everything else, so that a frame without cookies gets it too.
  async function save(file) {
    const link = element("a");
    link.href = await blobOf(file);
    link.download = file.name;
    link.click();
  }

  function blobOf(file) {
    if (!pictures.has(file.token)) {
      pictures.set(file.token, call("attachments/" + file.token).then((answer) => {
        if (!answer.ok) throw new Error(answer.status);
        return answer.blob();
      }).then((blob) => URL.createObjectURL(blob)).catch(() => pictures.delete(file.token) && ""));
    }
    return pictures.get(file.token);
  }

  function filesOf(row, message) {
    for (const file of message.attachments || []) {
      const made = button("file", "", () => save(file));
      made.setAttribute("aria-label", say("open", { name: file.name }));
      made.append(element("span", "", file.name), element("small", "", size(file.size || 0)));
      made.disabled = !file.url;
      row.append(made);
      if (file.image) {
        const picture = element("img");
        picture.alt = file.name;
        picture.addEventListener("load", () => { made.replaceChildren(picture); if (atEnd(400)) toEnd(); });
        blobOf(file).then((address) => { if (address) picture.src = address; });
      }
    }
  }

  function shown(message, before, usable, chosen) {
    if (message.author === "system") {
      const notice = linked(element("div", "notice"), message.text);
      if (message.buttons.length) notice.append(optionsOf(message, usable, chosen));
      return notice;
    }
    const row = element("article", "message " + (isMine(message) ? "mine" : message.author));
    if (!isMine(message) && (!before || before.author !== message.author || before.agent !== message.agent)) {
      row.append(element("span", "name", message.author === "agent" ? message.agent : say("bot")));
    }
    filesOf(row, message);
    // Where a file came without words, the service writes its kind in brackets for those who cannot see it.
    const words = (message.attachments || []).length && /^\[[^\]]*\]$/.test(message.text) ? "" : message.text;
    if (words) row.append(linked(element("div", "bubble"), words));
    row.append(element("span", "meta", time(new Date(message.at)) + (isMine(message) ? " · " + say("sent") : "")));
    if (message.buttons.length) row.append(optionsOf(message, usable, chosen));
    return row;
  }

  function shownPending(item) {
    const row = element("article", "message mine " + (item.failed ? "failed" : "pending"));
    if (item.file) {
      const chip = element("div", "file"), bar = item.bar = element("progress");
      chip.append(element("span", "", item.file.name), element("small", "", size(item.file.size)));
      bar.setAttribute("aria-label", say("progress", { name: item.file.name }));
      if (!item.failed) chip.append(bar);
      row.append(chip);
    }
    if (item.text) row.append(linked(element("div", "bubble"), item.text));
    const meta = element("span", "meta", say(item.failed ? "failed" : "sending") + (item.why ? " · " + say(item.why) : ""));
    if (item.failed && item.again) {
      meta.append(" · ", button("", say("retry"), () => { Object.assign(item, { failed: false, tries: 0, why: "" }); render(); flush(); }));
    }
    row.append(meta);
    return row;
  }

  // The log is kept as a list of keyed rows, so that what has not changed is not announced again.
  const rows = new Map();
  function render() {
    const stick = atEnd(80), mine = newest(isMine), wanted = [];
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
      const chosen = next ? next.text : (outbox[0] || {}).text, previous = before;
      const files = (message.attachments || []).map((file) => file.url);
      put("m" + message.id, [language, usable, message.buttons.length && chosen, previous && previous.author + previous.agent, files].join(), () =>
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
    count();
    if (stick) toEnd(); else at("newer").hidden = false;
  }

  const atEnd = (within) => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < within;
  function toEnd() {
    scroll.scrollTop = scroll.scrollHeight;
    at("newer").hidden = true;
  }

  // What the page around the frame shows on its button.
  function count() {
    if (!port || !loaded) return;
    const last = newest(() => true);
    if (seen === undefined || (open && !document.hidden)) {
      if (seen !== last) tell({ keep: { seen: last } });
      seen = last;
    }
    tell({ unread: [...messages.values()].filter((m) => m.id > seen && !isMine(m)).length });
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
    const now = new Date(), zone = { timeZone: told.timeZone };
    const day = format({ ...DAY, ...zone }, due) === format({ ...DAY, ...zone }, now) ? {} : DAY;
    const by = format({ ...day, ...CLOCK, ...zone }, due);
    if (format({ ...CLOCK, ...zone }, now) === time(now)) return by;
    const parts = new Intl.DateTimeFormat(language, { ...zone, timeZoneName: "short" }).formatToParts(due);
    return by + " " + parts.find((part) => part.type === "timeZoneName").value;
  }

  function countDown() {
    const waiting = at("waiting"), due = state.due_at && new Date(state.due_at);
    waiting.hidden = !(state.owner === "human" && due);
    if (waiting.hidden) return;
    const left = Math.floor((due - Date.now()) / 1000), late = left < 0, hours = Math.floor(left / 3600);
    waiting.classList.toggle("late", late);
    const words = late ? say("late") : say("due", { time: promised(due) });
    if (at("waiting-words").textContent !== words) at("waiting-words").textContent = words;
    const two = (n) => String(n).padStart(2, "0");
    at("countdown").textContent = late ? "" : (hours ? hours + ":" : "") + two(Math.floor(left / 60) % 60) + ":" + two(left % 60);
  }

  function take(message) {
    messages.set(message.id, message);
    if (isMine(message)) settle(message.message_id); else typingUntil = 0;
  }

  // Sending: one after the other, so that the order stays; again and again with the same id, so that nothing doubles.
  function keep() {
    const texts = outbox.filter((item) => !item.file);
    if (framed) tell({ tab: texts }); else remember("sessionStorage", "warmline.outbox", JSON.stringify(texts));
  }

  function settle(id) {
    outbox = outbox.filter((item) => item.message_id !== id);
    keep();
  }

  function send(text, payload = null, file) {
    outbox.push({ message_id: randomId(), text, payload, file, who, at: new Date().toISOString(), tries: 0 });
    keep();
    render();
    toEnd();
    flush();
  }

  // Files go by the older way of asking, the only one that tells how far it is.
  const upload = (item) => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(), form = new FormData();
    Object.entries({ message_id: item.message_id, text: item.text, language, file: item.file }).forEach(([name, value]) => form.append(name, value));
    request.open("POST", "/api/chat/attachments");
    if (visitor) request.setRequestHeader("Warmline-Visitor", visitor);
    request.upload.onprogress = (event) => { item.bar.value = event.loaded / event.total; };
    request.onload = () => resolve(new Response(request.response, {
      status: request.status, headers: { "Retry-After": request.getResponseHeader("Retry-After") || "" } }));
    request.onerror = request.ontimeout = reject;
    request.timeout = 300000;
    request.send(form);
  });

  async function flush() {
    const item = outbox.find((each) => !each.failed);
    if (sending || !item || !navigator.onLine || !loaded) return;
    sending = true;
    let pause = 0;
    const { message_id, text, payload } = item;
    try {
      const answer = await (item.file ? upload(item) : post("messages", { message_id, text, payload, language }));
      if (answer.status === 202) {
        const stored = await answer.json();
        if (!messages.has(stored.id)) {
          take({ id: stored.id, author: "customer", text, buttons: [], at: item.at, message_id,
            attachments: item.file && [{ name: item.file.name, size: item.file.size }] });
          // The stream goes on after the last message it brought, not after this one: what was said before it must not be missed.
          if (state.owner === "bot" && !stored.duplicate) typingUntil = Date.now() + TYPING_MS;
        }
        settle(message_id);
        if (!known) load();
      } else if (answer.status === 429) {
        item.why = "rate_limited";
        pause = 1000 * Math.max(1, Number(answer.headers.get("Retry-After")) || 5);
      } else if (answer.status < 500) {
        const { error } = await answer.json().catch(() => ({}));
        const why = item.file && { 413: "file_too_large", 415: "file_kind" }[answer.status] || error;
        Object.assign(item, { failed: true, again: false, why: WORDS[language][why] ? why : "" });
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

  // Listening: after every break, however long, everything after the last message that was heard.
  async function load() {
    clearTimeout(reconnecting);
    try {
      let answer;
      do {
        const response = await call("messages?after=" + heard);
        if (!response.ok) throw new Error(response.status);
        answer = await response.json();
        if (who !== null && answer.who !== who) {
          // Somebody else came in from another window: nothing of the one before stays.
          messages.clear();
          outbox = outbox.filter((item) => item.who !== who);
          heard = 0;
          who = seen = null;
          return load();
        }
        ({ known, customer, who } = answer);
        answer.messages.forEach((message) => { take(message); heard = Math.max(heard, message.id); });
      } while (answer.more);
      state = answer;
      if (!loaded) outbox = outbox.filter((item) => item.who === null || item.who === who);
      loaded = true;
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
    reconnecting = setTimeout(what, Math.min(10000, 500 * 2 ** reconnect++) * (0.5 + Math.random()));
    status();
  }

  async function listen() {
    const mine = ++streams;
    if (stop) stop.abort();
    stop = new AbortController();
    heardAt = Date.now();
    try {
      const answer = await call("stream?after=" + heard, { signal: stop.signal });
      if (answer.status !== 200) throw new Error(answer.status);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      live = true;
      reconnect = 0;
      status();
      flush();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done || mine !== streams) break;
        heardAt = Date.now();
        const blocks = (rest + value.replaceAll("\r", "")).split("\n\n");
        rest = blocks.pop();
        blocks.forEach(hear);
      }
    } catch { /* it broke, or was let go */ }
    if (mine === streams) later(load);
  }

  function hear(block) {
    const fields = Object.fromEntries(block.split("\n").map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trim()]));
    if (!fields.data) return;
    const data = JSON.parse(fields.data);
    if (fields.event === "message") {
      heard = Math.max(heard, data.id);
      take(data);
    } else if (fields.event === "state") state = data;
    else typingUntil = Date.now() + TYPING_MS;
    render();
  }

  function back() {
    reconnect = 0;
    if (loaded) load();
  }

  function greet() {
    at("hello").textContent = (customer ? say("welcome_name", { name: customer }) : say("welcome")) + "\n" + say("hello", { shop: shopName() });
    at("starters").replaceChildren(...WORDS[language].starters.map((text) => button("", text, () => send(text))));
  }

  const shopName = () => told[language === "zh" ? "nameZh" : "nameEn"];
  function speak() {
    root.lang = language === "zh" ? "zh-CN" : "en";
    document.title = at("shop").textContent = shopName();
    at("language").textContent = say("switch");
    at("language").lang = language === "zh" ? "en" : "zh-CN";
    box.placeholder = say("placeholder");
    for (const [id, key] of Object.entries({ text: "label", log: "log", scroll: "log", attach: "attach", close: "close" })) {
      at(id).setAttribute("aria-label", say(key));
    }
    for (const [id, key] of Object.entries({ send: "send", "typing-words": "typing", offline: "offline", newer: "newer", drop: "drop" })) {
      at(id).textContent = say(key);
    }
    greet();
    grow();
    stage([]);
    render();
  }

  function grow() {
    box.style.height = "auto";
    box.style.height = box.scrollHeight + 2 + "px";
    const left = LIMIT - box.value.length, hint = at("hint");
    hint.textContent = left > HINT_FROM ? "" : left > 0 ? say("left", { n: left }) : say("full");
    hint.classList.toggle("full", left <= 0);
    at("send").disabled = !box.value.trim() && !staged.length;
  }

  // Files wait beside the text until it is sent: one that was dropped by mistake can be taken away.
  function stage(files) {
    const most = Number(told.fileLimit), refused = [];
    for (const file of files) {
      const values = { name: file.name, n: Math.floor(most / 1048576) };
      if (!file.size) refused.push(say("nothing", values));
      else if (file.size > most) refused.push(say("too_large", values));
      else if (staged.length === FILES) refused.push(say("too_many", { n: FILES }));
      else staged.push(file);
    }
    at("refused").textContent = refused.join(" ");
    at("refused").hidden = !refused.length;
    at("staged").replaceChildren(...staged.map((file) => {
      const chip = element("li", "file"), remove = button("", "×", () => {
        staged = staged.filter((each) => each !== file);
        stage([]);
        box.focus();
      });
      remove.setAttribute("aria-label", say("remove", { name: file.name }));
      chip.append(element("span", "", file.name), element("small", "", size(file.size)), remove);
      return chip;
    }));
    grow();
  }

  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    let text = box.value.trim();
    const files = staged;
    if (!text && !files.length) return;
    box.value = "";
    staged = [];
    stage([]);
    for (const file of files) { send(text, null, file); text = ""; }
    if (text) send(text);
    box.focus();
  });
  box.addEventListener("input", grow);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    at("form").requestSubmit();
  });
  box.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) { event.preventDefault(); stage(event.clipboardData.files); }
  });
  at("attach").addEventListener("click", () => at("files").click());
  at("files").addEventListener("change", () => { stage(at("files").files); at("files").value = ""; box.focus(); });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    page.addEventListener(kind, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      at("drop").hidden = kind !== "dragover";
      if (kind === "drop") stage(event.dataTransfer.files);
    });
  }
  at("language").addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    if (framed) tell({ keep: { language } }); else remember("localStorage", "warmline.language", language);
    speak();
  });
  at("newer").addEventListener("click", toEnd);
  scroll.addEventListener("scroll", () => { if (atEnd(80)) at("newer").hidden = true; });
  addEventListener("online", () => { status(); back(); });
  addEventListener("offline", status);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { count(); if (!(live && known)) back(); } });
  setInterval(() => {
    countDown();
    if (!at("typing").hidden && Date.now() > typingUntil) status();
    // After sleep a stream may be dead without anybody having said so: the service says something every 15 seconds.
    if (live && known && Date.now() - heardAt > SILENT_MS) back();
  }, 1000);

  function begin(kept, wanted) {
    outbox = (kept || []).filter((item) => !item.failed || item.again)
      .map((item) => ({ ...item, tries: 0, failed: false, why: "" }));
    language = wanted.find((each) => WORDS[each]);
    speak();
  }

  // In a frame: who the visitor is comes from the page around it, which must be one of those that are allowed.
  function meet({ data, source, origin, ports }) {
    if (source !== parent || !data.warmline || ![location.origin, ...told.origins.split(" ")].includes(origin)) return;
    removeEventListener("message", meet);
    port = ports[0];
    port.onmessage = (event) => {
      open = event.data.open;
      count();
      if (!open) return;
      toEnd();
      (matchMedia("(pointer: fine)").matches ? box : at("close")).focus();
    };
    visitor = data.visitor || "";
    seen = data.seen;
    if (data.theme === "dark" || data.theme === "light") {
      at("dark").media = data.theme === "dark" ? "all" : "not all";
      root.style.colorScheme = data.theme;
    }
    if (data.fill) {
      root.style.setProperty("--fill", data.fill);
      root.style.setProperty("--fill-ink", data.ink);
    }
    begin(data.outbox, [data.language, language]);
    comeIn(data);
  }

  async function comeIn(data) {
    try {
      const answer = await post("visitor", { customer: data.customer });
      if (answer.status === 401) {
        // The token has run out: whom the shop had signed in is a stranger now, a guest stays who they are.
        if (data.customer) expired = true;
        if (data.known || !data.customer) { visitor = ""; outbox = []; }
        return comeIn({});
      }
      if (!answer.ok) throw new Error(answer.status);
      const found = await answer.json();
      if (found.visitor !== visitor) {
        seen = undefined;
        if (data.known) outbox = [];
      }
      ({ visitor } = found);
      tell({ ready: true, keep: { visitor, customer: Boolean(data.customer) } });
      load();
    } catch {
      later(() => comeIn(data));
    }
  }

  if (framed) {
    if (parent === window) location.replace("/");
    addEventListener("message", meet);
    at("close").addEventListener("click", () => tell({ close: true }));
    addEventListener("keydown", (event) => { if (event.key === "Escape" && !event.isComposing) tell({ close: true }); });
  } else {
    let kept = [];
    try { kept = JSON.parse(remembered("sessionStorage", "warmline.outbox")); } catch { /* not ours */ }
    expired = new URLSearchParams(location.search).get("link") === "expired";
    if (expired) history.replaceState(null, "", location.pathname);
    begin(kept, [remembered("localStorage", "warmline.language"),
      ...(navigator.languages || [navigator.language]).map((l) => l.slice(0, 2).toLowerCase()), language]);
    load();
  }
})();
