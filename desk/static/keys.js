// Every action by keyboard.
import { askAndAct, write } from "./conversation.js";
import { move } from "./queue.js";

const help = document.getElementById("help");
const press = (selector) => document.querySelector(`#conversation ${selector}`)?.click();

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  c: () => press('[data-action="claim"]'),
  r: () => write("reply"),
  n: () => write("note"),
  p: () => document.querySelector("#phrases summary")?.click(),
  e: () => document.querySelector('#conversation [data-ask="resolve"]') && askAndAct("resolve"),
  "?": () => help.showModal(),
};

export function listenForKeys() {
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input, textarea, select, dialog, [contenteditable]");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") document.querySelectorAll("details.phrases[open], details.menu[open]").forEach((d) => { d.open = false; });
    const run = KEYS[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  });
  document.getElementById("help-button").addEventListener("click", () => help.showModal());
}
