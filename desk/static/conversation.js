// The open conversation and its customer: opened, kept up to date, answered.
import { adopt, parse, patchElement, patchList } from "./patch.js";
import { announce, ask, fetchPart, place, post, say, toast } from "./page.js";
import { markOpen, refreshQueue, seen } from "./queue.js";
import { tick } from "./ticking.js";

const DONE = { claim: "claimed", takeover: "taken_over", resolve: "resolved", handback: "handed_back", snooze: "snoozed" };
const NEAR_THE_END = 80;
const drafts = new Map();
const changed = [];
let asked = 0;
let busy = false;

const get = (id) => document.getElementById(id);

/** Call `listener` whenever another conversation is open. */
export function onOpen(listener) {
  changed.push(listener);
}

const toEnd = () => {
  const scroll = get("scroll");
  if (scroll) scroll.scrollTop = scroll.scrollHeight;
};

function atEnd() {
  const scroll = get("scroll");
  return !scroll || scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_THE_END;
}

function keepDraft() {
  const text = get("text");
  if (text) drafts.set(text.dataset.for, { text: text.value, kind: get("compose-form").dataset.kind });
}

function restoreDraft() {
  const text = get("text");
  const draft = text && drafts.get(text.dataset.for);
  if (!draft) return;
  text.value = draft.text;
  if (get("compose-form").querySelector(`.kind[data-kind="${draft.kind}"]`)) write(draft.kind, { focus: false });
  grow();
}

function grow() {
  const text = get("text");
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

function load(how) {
  const query = new URLSearchParams({ view: place.view });
  return fetchPart(`/desk/parts/conversations/${place.conversation}?${query}`, how).catch(() => null);
}

/** Open a conversation in the middle and its customer on the right. */
export async function open(conversation, { push = true } = {}) {
  keepDraft();
  const mine = ++asked;
  document.body.dataset.conversation = conversation;
  markOpen();
  const html = await load("open");
  if (mine !== asked) return;
  if (html === null) {
    location.assign(`/desk?view=${place.view}`);
    return;
  }
  const fresh = parse(html);
  get("conversation").replaceChildren(...fresh.getElementById("conversation").childNodes);
  get("customer").replaceChildren(...fresh.getElementById("customer").childNodes);
  place.pane = "conversation";  // shown before it is scrolled to its end
  settle();
  if (document.activeElement?.offsetParent === null) get("scroll").focus();  // panes stack: the queue is hidden now
  if (push) history.pushState({}, "", `/desk?view=${place.view}&conversation=${conversation}`);
  seen(conversation);
  changed.forEach((listener) => listener());
}

function settle() {
  adoptRegions();
  restoreDraft();
  tick(get("conversation"));
  toEnd();
}

function adoptRegions() {
  for (const id of ["conversation-head", "promises"]) get(id)?.setAttribute("data-region", "");
  adopt(get("conversation"));
}

/** Look at the open conversation again. */
export async function refreshConversation(how = "live") {
  if (!place.conversation) return;
  const mine = ++asked;
  const html = await load(how);
  if (html === null || mine !== asked) return;
  const fresh = parse(html);
  if (!get("thread") || !fresh.getElementById("thread")) {
    open(place.conversation, { push: false });
    return;
  }
  const stay = atEnd();
  for (const id of ["conversation-head", "promises"]) {
    const part = fresh.getElementById(id);
    part.setAttribute("data-region", "");
    patchElement(get(id), part);
  }
  const before = get("thread").lastElementChild?.dataset.key;
  patchList(get("thread"), fresh.getElementById("thread"));
  const newest = get("thread").lastElementChild;
  if (newest?.dataset.key !== before && newest?.matches(".m.in")) {
    announce(say("new_message_from", { name: get("conversation").querySelector("h1").textContent }));
  }
  const compose = fresh.getElementById("compose");
  if (get("compose").dataset.state !== compose.dataset.state) {
    keepDraft();
    const writing = document.activeElement?.id === "text";
    get("compose").replaceWith(document.adoptNode(compose));
    restoreDraft();
    if (writing) get("text").focus();
  }
  get("customer").replaceChildren(...fresh.getElementById("customer").childNodes);
  tick(get("conversation"));
  if (stay) toEnd();
  else if (get("thread").lastElementChild?.dataset.key !== before) get("new-below").hidden = false;
}

/** Whether something on the page still waits to be delivered. */
export const isWaiting = () => Boolean(document.querySelector("#thread .state.queued"));

async function act(action, body) {
  if (busy || !place.conversation) return;
  busy = true;
  const { ok } = await post(`/api/conversations/${place.conversation}/${action}`, body);
  busy = false;
  if (ok) toast(say(DONE[action]));
  await Promise.all([refreshConversation("open"), refreshQueue("open", { quiet: true })]);
  if (ok && (action === "claim" || action === "takeover")) write("reply");
}

/** Ask first, then act. */
export async function askAndAct(action) {
  const answer = await ask(get(`ask-${action}`));
  if (answer) await act(action, action === "resolve" ? { cause: answer.get("cause") } : undefined);
}

/** Say what a message is; only what was changed is sent, so that a colleague's word on the rest stays. */
async function correct(button) {
  const dialog = get("ask-correct");
  const { correct: message, angry, intent } = button.dataset;
  const conversation = place.conversation;
  const form = dialog.querySelector("form");
  form.elements.angry.value = angry;
  form.elements.intent.value = intent;
  const answer = await ask(dialog);
  if (!answer) return;
  const said = {};
  if (answer.get("angry") !== angry) said.angry = { yes: true, no: false }[answer.get("angry")] ?? null;
  if (answer.get("intent") !== intent) said.intent = answer.get("intent") || null;
  if (!Object.keys(said).length) return;
  const { ok } = await post(`/api/conversations/${conversation}/messages/${message}/correction`, said);
  if (ok) toast(say("corrected"));
  await refreshConversation("open");
}

/** Begin to write a reply or a note. */
export function write(kind, { focus = true } = {}) {
  const form = get("compose-form");
  const button = form?.querySelector(`.kind[data-kind="${kind}"]`);
  if (!button) return;
  form.dataset.kind = kind;
  for (const each of form.querySelectorAll(".kind")) each.setAttribute("aria-pressed", String(each === button));
  get("text").placeholder = say(kind === "note" ? "note_placeholder" : "reply_placeholder");
  get("send").textContent = say(kind === "note" ? "save_note" : "send");
  if (focus) get("text").focus();
}

async function send() {
  const text = get("text");
  const kind = get("compose-form").dataset.kind;
  const written = text.value.trim();
  if (busy || !written) return;
  busy = true;
  get("send").disabled = true;
  const conversation = text.dataset.for;
  const { ok } = await post(`/api/conversations/${conversation}/${kind}`, { text: written });
  busy = false;
  if (get("send")) get("send").disabled = false;
  if (ok) {
    drafts.delete(conversation);
    if (get("text")?.dataset.for === conversation) {
      get("text").value = "";
      grow();
      write(get("compose-form").querySelector('[data-kind="reply"]') ? "reply" : "note");
    }
    toast(say(kind === "note" ? "note_saved" : "sent"));
  }
  await Promise.all([refreshConversation("open"), refreshQueue("open", { quiet: true })]);
  if (ok) toEnd();
}

function insert(phrase) {
  write("reply");
  const text = get("text");
  const at = text.selectionStart ?? text.value.length;
  const before = text.value.slice(0, at);
  const gap = before && !/\s$/.test(before) ? "\n" : "";
  text.setRangeText(gap + phrase, at, text.selectionEnd ?? at, "end");
  get("phrases")?.removeAttribute("open");
  grow();
}

get("conversation").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.action) act(button.dataset.action);
  else if (button.dataset.ask) askAndAct(button.dataset.ask);
  else if (button.dataset.correct) correct(button);
  else if (button.dataset.insert) insert(button.dataset.insert);
  else if (button.classList.contains("kind")) write(button.dataset.kind);
  else if (button.id === "new-below") toEnd();
});
get("customer").addEventListener("click", (event) => {
  const button = event.target.closest("button[data-insert]");
  if (!button) return;
  place.pane = "conversation";  // panes stack on a phone
  insert(button.dataset.insert);
});
get("conversation").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
get("conversation").addEventListener("input", (event) => {
  if (event.target.id === "text") grow();
});
get("conversation").addEventListener("keydown", (event) => {
  if (event.target.id !== "text" || event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    send();
  } else if (event.key === "Escape") {
    get("scroll").focus();
  }
});
get("conversation").addEventListener("scroll", () => {
  if (get("new-below") && atEnd()) get("new-below").hidden = true;
}, true);

if (place.conversation) settle();
