// The learning queue without leaving the page: a label is sent, what is left is shown, and the next text has the focus.
import { adopt, parse, patchElement, patchList } from "./patch.js";

const REGIONS = ["learning-tally", "learning-said"];
const MOODS = { a: "angry", c: "calm" };
const get = (id) => document.getElementById(id);
const looks = () => [...get("looks").children];

let busy = false;

/** Send a form as the browser would, and show the page that comes back in place of this one. */
async function send(form, button) {
  const said = new FormData(form);
  if (button?.name) said.set(button.name, button.value);
  if (button?.name === "pick") said.delete("intent");
  const at = looks().findIndex((look) => look.contains(form));
  busy = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(said), credentials: "same-origin" });
    const page = parse(await answer.text());
    if (new URL(answer.url).pathname === "/desk/login" || !page.getElementById("looks")) return refused(page);
    show(page);
    history.replaceState(null, "", new URL(answer.url).pathname + new URL(answer.url).search.replace(/&done=\d+/, ""));
    focusOn(looks()[Math.min(Math.max(at, 0), looks().length - 1)]);
  } catch {
    form.submit();  // the browser says what is wrong better than a script that cannot reach the server
  } finally {
    busy = false;
  }
}

function refused(page) {
  const told = page.querySelector(".problem h1");
  if (!told) return location.reload();
  get("learning-status").textContent = told.textContent;
}

function show(page) {
  for (const id of REGIONS) patchElement(get(id), page.getElementById(id));
  patchList(get("looks"), page.getElementById("looks"));
  if (!looks().length) location.reload();  // another page of the queue, or the end of it
}

function focusOn(look) {
  const target = look?.querySelector("button, input") ?? get("learning-status");
  target.focus();
  look?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-label]");
  if (!form || !get("looks")) return;
  event.preventDefault();
  if (!busy) send(form, event.submitter?.name === "pick" && form.elements.intent?.value
    && document.activeElement === form.elements.intent ? form.querySelector("[value=learn]") : event.submitter);
});

// Single keys act inside a text's card only, and never while somebody types.
document.addEventListener("keydown", (event) => {
  const look = event.target.closest?.(".look");
  if (!look || event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input:not([type="radio"])')) return;
  const form = look.querySelector("form");
  const act = keyAct(event.key, look, form);
  if (!act) return;
  event.preventDefault();
  act();
});

function keyAct(key, look, form) {
  const pick = /^[1-4]$/.test(key) && form.querySelector(`[data-number="${key}"]`);
  if (pick) return () => pick.click();
  if (key in MOODS) return () => { form.querySelector(`[name="mood"][value="${MOODS[key]}"]`).checked = true; };
  if (key === "x") return () => form.querySelector('[value="dismiss"]').click();
  if (key === "/") return () => form.elements.intent.focus();
  const next = { j: look.nextElementSibling, k: look.previousElementSibling }[key];
  return next ? () => focusOn(next) : null;
}

if (get("looks")) {
  adopt(document.body);
}
