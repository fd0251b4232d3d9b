// The queue: kept up to date, with what is new marked, counted in the title, announced, and heard if wanted.
import { adopt, parse, patchElement, patchList } from "./patch.js";
import { announce, fetchPart, place, say } from "./page.js";
import { chime } from "./sound.js";
import { tick } from "./ticking.js";

const title = document.title;
const unseen = new Set();
let known = read();
let asked = 0;

const get = (id) => document.getElementById(id);
const form = get("filter-form");
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
  const shown = new Map([...list().children].map((child) => [child.dataset.key, child]));
  for (const [key, text] of rows) {
    if (key === `c${place.conversation}`) continue;
    const row = shown.get(key);
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
  const { html } = await fetchPart(`/desk/parts/queue?${place.query()}`, how);
  if (html === null || mine !== asked) return;
  const fresh = parse(html);
  patchElement(document.getElementById("queue-tabs"), fresh.getElementById("queue-tabs"));
  patchElement(get("available"), fresh.getElementById("available"));
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

/** Show another view, or the same by another filter; the address remembers it. */
function go(query) {
  document.body.dataset.view = query.get("view");
  history.replaceState({}, "", `/desk?${query}`);
  get("queue-filter").classList.toggle("active", [...query.keys()].some((name) => form.elements[name]?.type !== "hidden"));
  refreshQueue("open", { quiet: true });
}

export function showView(view) {
  const query = place.query();
  query.set("view", view);
  go(query);
}

function filter() {
  const query = new URLSearchParams({ view: place.view });
  for (const field of form.querySelectorAll("select, input[type=checkbox]")) {
    if (field.type === "checkbox" ? field.checked : field.value) query.append(field.name, field.value);
  }
  if (place.conversation) query.append("conversation", place.conversation);
  go(query);
}

/** Open the filter and go into it, or close it. */
export function toggleFilter() {
  get("queue-filter").open = !get("queue-filter").open;
  (get("queue-filter").open ? form.querySelector("select") : get("filter-button")).focus();
}

form.addEventListener("change", filter);
get("queue").addEventListener("click", (event) => {
  if (!event.target.closest("a[data-clear]")) return;
  event.preventDefault();
  for (const field of form.querySelectorAll("select")) field.value = "";
  form.elements.unassigned.checked = false;
  filter();
  get("filter-button").focus();
});
get("queue-filter").addEventListener("keydown", (event) => {
  if (event.key === "Escape") toggleFilter();
});

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
adopt(get("availability"));
