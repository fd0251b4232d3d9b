// Puts the chat on a shop's page: a button, and the chat in a frame. Styles get neither in nor out; what the visitor is
// remembered by stays with the page, because browsers let a frame of another site remember nothing.
"use strict";
(() => {
  const script = document.currentScript;
  if (!script || window.Warmline) return;
  const desk = new URL(script.src).origin, given = { ...script.dataset }, KEY = "warmline";
  const WORDS = {
    zh: { title: "在线客服", open: "联系客服", close: "关闭客服窗口", unread: "{n} 条新消息" },
    en: { title: "Customer service chat", open: "Chat with us", close: "Close the chat", unread: "{n} new messages" },
  };
  const STYLE = `
    :host { all: initial !important; display: block !important; position: fixed !important; z-index: 2147483000 !important;
      bottom: 0 !important; SIDE: 0 !important; color-scheme: light dark !important }
    button { position: fixed; bottom: calc(20px + env(safe-area-inset-bottom)); SIDE: 20px; width: 56px; height: 56px; padding: 0;
      border: 0; border-radius: 50%; background: FILL; color: INK; box-shadow: 0 4px 16px rgb(0 0 0 / 25%); cursor: pointer }
    button:focus-visible { outline: 3px solid FILL; outline-offset: 3px }
    button:hover { filter: brightness(1.1) }
    svg { display: block; margin: auto; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round }
    b { position: absolute; top: -4px; right: -4px; min-width: 22px; height: 22px; padding: 0 6px; box-sizing: border-box;
      border-radius: 11px; background: #b3261e; color: #fff; font: 700 12px/22px system-ui, sans-serif }
    p { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%) }
    [hidden] { display: none !important }
    dialog { position: fixed; inset: auto; SIDE: 20px; bottom: calc(88px + env(safe-area-inset-bottom)); width: 400px; max-width: calc(100vw - 40px);
      height: 640px; max-height: calc(100dvh - 108px); margin: 0; padding: 0; border: 0; border-radius: 16px; overflow: hidden;
      background: Canvas; box-shadow: 0 12px 40px rgb(0 0 0 / 30%) }
    dialog.full { inset: 0; width: 100%; height: 100%; max-width: none; max-height: none; border-radius: 0 }
    iframe { display: block; width: 100%; height: 100%; border: 0 }
    @media print { :host { display: none !important } }
    @media (forced-colors: active) { button, dialog { border: 1px solid } }
    @media (prefers-reduced-motion: no-preference) { dialog[open] { animation: rise .16s ease-out } @keyframes rise { from { opacity: 0; transform: translateY(8px) } } }`;

  // What is remembered: the visitor for good, what is not sent yet for this tab.
  const read = (storage) => { try { return JSON.parse(window[storage].getItem(KEY)) || {}; } catch { return {}; } };
  const write = (storage, what) => { try { window[storage].setItem(KEY, JSON.stringify(what)); } catch { /* in this page only */ } };
  let kept = read("localStorage"), tab = read("sessionStorage"), customer = given.customer || null;
  // Whom the shop signed in before and signs in no longer has left: the next person is a stranger.
  if (kept.customer && !customer) forget();
  function forget() {
    kept = kept.language ? { language: kept.language } : {};
    tab = {};
    write("localStorage", kept);
    write("sessionStorage", tab);
  }

  const fill = /^#[0-9a-f]{6}$/i.test(given.accent) ? given.accent : "";
  const light = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) =>
    sum + weight * (parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16) / 255) ** 2.2, 0);
  const ink = light(fill || "#0f6b63") > 0.18 ? "#000" : "#fff";
  const language = () => [kept.language, given.language, document.documentElement.lang.slice(0, 2), navigator.language.slice(0, 2), "zh"].find((each) => WORDS[each]);

  const make = (tag, more, ...inside) => {
    const made = document.createElement(tag);
    Object.entries(more).forEach(([name, value]) => made.setAttribute(name, value));
    made.append(...inside);
    return made;
  };
  const host = document.createElement("warmline-chat"), root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE.replaceAll("SIDE", given.position === "left" ? "left" : "right").replaceAll("FILL", fill || "#0f6b63").replaceAll("INK", ink));
  root.adoptedStyleSheets = [sheet];
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS(icon.namespaceURI, "path");
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("width", 28);
  icon.setAttribute("aria-hidden", "true");
  icon.append(path);
  const badge = make("b", { hidden: "", "aria-hidden": "true" }), news = make("p", { role: "status" });
  const button = make("button", { type: "button", "aria-expanded": "false" }, icon, badge), dialog = make("dialog", {});
  root.append(dialog, button, news);

  let frame = null, port = null, unread = 0;
  const phone = matchMedia("(max-width: 480px), (max-height: 480px)");

  function load() {
    if (frame) return;
    frame = make("iframe", { title: WORDS[language()].title, allow: "clipboard-write", src: desk + "/widget",
      sandbox: "allow-scripts allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads" });
    frame.addEventListener("load", hello);
    dialog.append(frame);
  }

  // The page speaks first and to the chat's origin alone; from then on both use a channel that nobody else has.
  function hello() {
    const channel = new MessageChannel();
    port = null;
    channel.port1.onmessage = ({ data }) => {
      port = channel.port1;
      if (data.ready) tell();
      if (data.keep) write("localStorage", Object.assign(kept, data.keep));
      if (data.tab) write("sessionStorage", tab = { outbox: data.tab });
      if (data.keep || data.unread !== undefined) show(data.unread ?? unread);
      if (data.close) close();
    };
    const { visitor, seen } = kept;
    frame.contentWindow.postMessage({ warmline: 1, visitor, seen, customer, known: kept.customer, outbox: tab.outbox,
      language: language(), theme: given.theme, fill, ink }, desk, [channel.port2]);
  }

  const tell = () => port && port.postMessage({ open: dialog.open });

  function show(count) {
    const words = WORDS[language()], told = count ? words.unread.replace("{n}", count) : "";
    path.setAttribute("d", dialog.open ? "M6 6 18 18M18 6 6 18" : "M4 5h16v11H10l-5 4v-4H4z");
    badge.hidden = !count || dialog.open;
    badge.textContent = count > 99 ? "99+" : count;
    button.setAttribute("aria-expanded", dialog.open);
    button.setAttribute("aria-label", dialog.open ? words.close : words.open + (told && " · " + told));
    dialog.setAttribute("aria-label", words.title);
    if (frame) frame.title = words.title;
    if (news.textContent !== told) news.textContent = told;
    if (count !== unread) dispatchEvent(new CustomEvent("warmline:unread", { detail: count }));
    unread = count;
  }

  // Over the whole screen of a phone the page behind is out of reach; beside the page both are in use.
  function open() {
    if (dialog.open) return;
    if (frame && !port) frame.src = desk + "/widget";
    load();
    dialog.classList.toggle("full", phone.matches);
    if (phone.matches) dialog.showModal(); else dialog.show();
    frame.focus();
    show(unread);
    tell();
  }

  function close() {
    if (!dialog.open) return;
    dialog.close();
    button.focus();
  }

  dialog.addEventListener("close", () => { show(unread); tell(); });
  button.addEventListener("click", () => (dialog.open ? close() : open()));
  root.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  phone.addEventListener("change", () => { if (dialog.open) { dialog.close(); open(); } });
  addEventListener("online", () => { if (frame && !port) frame.src = desk + "/widget"; });

  window.Warmline = {
    open, close,
    get unread() { return unread; },
    // Another customer, or null for nobody: what was shown before is gone.
    customer(token) {
      customer = token || null;
      if (!customer) forget();
      if (frame) frame.src = desk + "/widget"; else if (customer) load();
      show(0);
    },
  };
  document.documentElement.append(host);
  show(0);
  if (customer || kept.visitor) load();
  dispatchEvent(new CustomEvent("warmline:ready"));
})();
