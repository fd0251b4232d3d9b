// The queue: kept up to date, with what is new marked, counted in the title, announced, and heard if wanted.
import { adopt, parse, patchElement, patchList } from "./patch.js";
import { announce, fetchPart, place, say } from "./page.js";
import { chime } from "./sound.js";
import { tick } from "./ticking.js";

const title = document.title;
const unseen = new Set();
let known = read();
let asked = 0;

const list = () => document.getElementById("queue-list");

function read() {
  const rows = new Map();
  for (const row of document.querySelectorAll("#queue-list > li[data-name]")) {
    rows.set(row.dataset.key, row.querySelector(".last").textContent);
  }
  return rows;
}

function showUnseen() {
  for (const row of list().children) row.classList.toggle("new", unseen.has(row.dataset.key));
  for (const key of unseen) if (!known.has(key)) unseen.delete(key);
  document.title = (unseen.size ? `(${unseen.size}) ` : "") + title;
}

export function seen(conversation) {
  unseen.delete(`c${conversation}`);
  showUnseen();
}

function mark(rows) {
  const news = [];
  for (const [key, text] of rows) {
    if (key === `c${place.conversation}`) continue;
    const row = [...list().children].find((child) => child.dataset.key === key);
    if (!known.has(key)) news.push(say("new_arrival", row.dataset));
    else if ("mine" in row.dataset && known.get(key) !== text) news.push(say("new_message_from", row.dataset));
    else continue;
    unseen.add(key);
  }
  if (news.length) {
    announce(news.join("\n"));
    chime();
  }
}

/** Look at the queue again. What appears because another view was chosen is not new. */
export async function refreshQueue(how = "live", { quiet = false } = {}) {
  const mine = ++asked;
  const query = new URLSearchParams({ view: place.view, conversation: place.conversation ?? "" });
  const html = await fetchPart(`/desk/parts/queue?${query}`, how).catch(() => null);
  if (html === null || mine !== asked) return;
  const fresh = parse(html);
  patchElement(document.getElementById("queue-tabs"), fresh.getElementById("queue-tabs"));
  patchList(list(), fresh.getElementById("queue-list"));
  tick(list());
  const rows = read();
  if (!quiet) mark(rows);
  known = rows;
  showUnseen();
}

/** Show which conversation is open without asking the server. */
export function markOpen() {
  for (const link of document.querySelectorAll("#queue-list a.item")) {
    if (link.dataset.conversation === place.conversation) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

export function move(step) {
  const items = [...document.querySelectorAll("#queue-list a.item")];
  if (!items.length) return;
  const focused = items.indexOf(document.activeElement);
  const open = items.findIndex((item) => item.hasAttribute("aria-current"));
  const from = focused >= 0 ? focused : open;
  const next = from < 0 ? (step > 0 ? 0 : items.length - 1) : Math.min(items.length - 1, Math.max(0, from + step));
  items[next].focus();
}

adopt(document.getElementById("queue"));
