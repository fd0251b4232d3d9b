// Every action by keyboard. Single keys can be switched off, for whoever speaks to their machine.
import { askAndAct, explain, showEarlier, write } from "./conversation.js";
import { move, toggleFilter } from "./queue.js";

const STORED = "warmline-keys";
const help = document.getElementById("help");
const single = document.getElementById("single-keys");
const press = (selector) => document.querySelector(`#conversation ${selector}`)?.click();
const view = (name) => document.getElementById(`tab-${name}`).click();

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  1: () => view("mine"),
  2: () => view("all"),
  3: () => view("due"),
  4: () => view("snoozed"),
  f: toggleFilter,
  c: () => press('[data-action="claim"]'),
  w: () => press('[data-action="wake"]'),
  o: () => askIfOffered("takeover"),
  t: () => askIfOffered("transfer"),
  s: () => askIfOffered("snooze"),
  b: () => askIfOffered("handback"),
  e: () => askIfOffered("resolve"),
  g: () => press("[data-ticket]"),
  a: () => press("[data-propose]"),
  u: explain,
  h: showEarlier,
  r: () => write("reply"),
  n: () => write("note"),
  p: () => document.querySelector("#phrases summary")?.click(),
  "?": () => help.showModal(),
};

function askIfOffered(action) {
  if (document.querySelector(`#conversation [data-ask="${action}"]`)) askAndAct(action);
}

function closeMenus() {
  const open = document.querySelectorAll("details.phrases[open], details.menu[open], details.filter[open]");
  for (const details of open) {
    const inside = details.contains(document.activeElement);
    details.open = false;
    if (inside) details.querySelector("summary").focus();
  }
}

export function listenForKeys() {
  single.checked = localStorage.getItem(STORED) !== "off";
  single.addEventListener("change", () => localStorage.setItem(STORED, single.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input, textarea, select, dialog, [contenteditable]");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") closeMenus();
    const run = single.checked ? KEYS[event.key] : null;
    if (!run) return;
    event.preventDefault();
    run();
  });
  document.getElementById("help-button").addEventListener("click", () => help.showModal());
}
