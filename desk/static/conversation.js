// The open conversation and its customer: opened, kept up to date, answered.
import { draftOf, forgetDraft, keepDraft, keyOf } from "./drafts.js";
import { askGrade } from "./grade.js";
import { adopt, parse, patchElement, patchList } from "./patch.js";
import { announce, ask, fetchPart, place, post, say, toast } from "./page.js";
import { draw, stopTyping } from "./presence.js";
import { askProposal, forgetProposal } from "./propose.js";
import { markOpen, refreshQueue, seen } from "./queue.js";
import { askSnooze } from "./snooze.js";
import { tick } from "./ticking.js";
import { askTransfer } from "./transfer.js";

const DONE = {
  claim: "claimed", takeover: "taken_over", resolve: "resolved", handback: "handed_back", snooze: "snoozed_done",
  wake: "woken", transfer: "transferred",
};
const NEAR_THE_END = 80;
const NEAR_THE_TOP = 40;
const changed = [];
let asked = 0;
let opening = false;
let taken = {};  // the conversation that a colleague has, and who, as the server said it last
const underWay = new Set();  // what was asked of the server and is not answered yet: a second click asks nothing

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

function restoreDraft() {
  const text = get("text");
  const draft = text && draftOf(text.dataset.for);
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

const load = (how) => fetchPart(`/desk/parts/conversations/${place.conversation}?${place.query(null)}`, how);

/** Open a conversation in the middle and its customer on the right. */
export async function open(conversation, { push = true } = {}) {
  const mine = ++asked;
  opening = true;
  document.body.dataset.conversation = conversation;
  markOpen();
  const { html, status } = await load("open");
  if (mine !== asked) return;
  opening = false;
  if (html === null) {
    if (status) close();
    else toast(say("error_network"), "problem");
    return;
  }
  const fresh = parse(html);
  get("conversation").replaceChildren(...fresh.getElementById("conversation").childNodes);
  get("customer").replaceChildren(...fresh.getElementById("customer").childNodes);
  place.pane = "conversation";  // shown before it is scrolled to its end
  settle();
  if (document.activeElement?.offsetParent === null) get("scroll").focus();  // panes stack: the queue is hidden now
  if (push) history.pushState({}, "", place.address());
  seen(conversation);
  changed.forEach((listener) => listener());
}

/** Show that the conversation is out of sight now, and who has it where that is known. */
function close(owner) {
  const told = document.createElement("div");
  told.className = "nothing";
  told.tabIndex = -1;
  for (const [words, name] of [[owner ? say("gone_to", { name: owner }) : say("gone"), ""], [say("gone_hint"), "muted"]]) {
    const line = document.createElement("p");
    line.textContent = words;
    line.className = name;
    told.append(line);
  }
  get("conversation").replaceChildren(told);
  get("customer").replaceChildren();
  delete document.body.dataset.conversation;
  history.replaceState({}, "", place.address(null));
  markOpen();
  if (document.activeElement === document.body) told.focus();
  announce(told.textContent);
  changed.forEach((listener) => listener());
}

function settle() {
  adoptRegions();
  restoreDraft();
  tick(document);
  toEnd();
}

function adoptRegions() {
  for (const id of ["conversation-head", "promises"]) get(id)?.setAttribute("data-region", "");
  adopt(get("conversation"));
}

/** Look at the open conversation again; `owner` is who has it, where the server has just said so. */
export async function refreshConversation(how = "live", owner = null) {
  if (!place.conversation) {
    if (owner) close(owner);  // it went out of sight before the server had answered who has it
    return;
  }
  if (opening) return;  // it comes fresh, and must not be taken for what was open before
  if (owner) taken = { conversation: place.conversation, owner };
  const mine = ++asked;
  const { html, status } = await load(how);
  if (mine !== asked) return;  // a later look is under way, and shall know the owner too
  if (status === 404) close(taken.conversation === place.conversation ? taken.owner : null);
  if (html === null) return;
  taken = {};
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
  draw();
  const before = get("thread").lastElementChild?.dataset.key;
  const oldest = fresh.getElementById("thread").firstElementChild?.dataset.key;
  const follows = [...get("thread").children].some((line) => line.dataset.key === oldest);
  patchList(get("thread"), fresh.getElementById("thread"), { keepBefore: true });
  if (!follows) replaceEarlier(fresh);
  const newest = get("thread").lastElementChild;
  if (newest?.dataset.key !== before && newest?.matches(".m.in")) {
    announce(say("new_message_from", { name: get("conversation").querySelector("h1").textContent }));
  }
  const compose = fresh.getElementById("compose");
  if (get("compose").dataset.state !== compose.dataset.state) {
    const writing = document.activeElement?.id === "text";
    get("compose").replaceWith(document.adoptNode(compose));
    restoreDraft();
    if (writing) get("text").focus();
  }
  get("customer").replaceChildren(...fresh.getElementById("customer").childNodes);
  tick(document);
  if (stay) toEnd();
  else if (get("thread").lastElementChild?.dataset.key !== before) get("new-below").hidden = false;
}

function replaceEarlier(fresh) {
  const had = document.activeElement?.id === "earlier";
  const button = fresh.getElementById("earlier");
  get("earlier")?.remove();
  if (button) get("scroll").prepend(document.adoptNode(button));
  if (had) (button ?? get("scroll")).focus();
}

/** Show what was said before the oldest line that is shown; what is being read stays where it is. */
export async function showEarlier() {
  const button = get("earlier");
  if (!button || button.disabled) return;
  button.disabled = true;
  const conversation = place.conversation;
  const { html } = await fetchPart(`/desk/parts/conversations/${conversation}/earlier?before=${button.dataset.before}`, "open");
  if (conversation !== place.conversation) return;
  button.disabled = false;
  if (html === null) return;
  const fresh = parse(html);
  const scroll = get("scroll");
  const below = scroll.scrollHeight - scroll.scrollTop;
  const lines = [...fresh.getElementById("thread").children];
  get("thread").prepend(...lines);
  adopt(get("thread"));
  replaceEarlier(fresh);
  scroll.scrollTop = scroll.scrollHeight - below;
}

/** Open what the bot understood in the customer's last message. */
export function explain() {
  const last = [...document.querySelectorAll("#thread .understood")].at(-1);
  if (!last) return;
  last.open = !last.open;
  last.querySelector("summary").focus();
  last.scrollIntoView({ block: "nearest" });
}

/** Whether something on the page still waits to be delivered. */
export const isWaiting = () => Boolean(document.querySelector("#thread .state.queued"));

async function act(action, body) {
  if (underWay.has(action) || !place.conversation) return;
  underWay.add(action);
  const { ok, body: told } = await post(`/api/conversations/${place.conversation}/${action}`, body);
  underWay.delete(action);
  if (ok) toast(say(DONE[action]));
  await Promise.all([refreshConversation("open", told.owner), refreshQueue("open", { quiet: true })]);
  if (ok && (action === "claim" || action === "takeover")) write("reply");
}

const QUESTIONS = {
  snooze: askSnooze,
  transfer: () => askTransfer(place.conversation),
  resolve: async () => {
    const answer = await ask(get("ask-resolve"), get("ask-resolve").querySelector("input:checked"));
    return answer && { cause: answer.get("cause") };
  },
};

/** Ask first, then act. */
export async function askAndAct(action) {
  const conversation = place.conversation;
  const question = QUESTIONS[action];
  const body = question ? await question() : await ask(get(`ask-${action}`));
  if (body && conversation === place.conversation) await act(action, question ? body : undefined);
}

async function changeGrade({ ticket, number, grade }) {
  const conversation = place.conversation;
  const body = await askGrade({ number, grade });
  if (!body) return;
  const { ok } = await post(`/api/conversations/${conversation}/tickets/${ticket}/grade`, body);
  if (ok) toast(say("graded"));
  await Promise.all([refreshConversation("open"), refreshQueue("open", { quiet: true })]);
}

/** Write a proposal; what was sent twice for want of an answer is stored once. */
async function propose(button) {
  const conversation = place.conversation;
  const body = await askProposal(button);
  if (!body || conversation !== place.conversation || underWay.has("propose")) return;
  underWay.add("propose");
  const { ok, body: told } = await post(`/api/conversations/${conversation}/tickets/${button.propose}/proposal`, body);
  underWay.delete("propose");
  if (ok) {
    forgetProposal(button);
    toast(say("proposed"));
  }
  await Promise.all([refreshConversation("open", told.owner), refreshQueue("open", { quiet: true })]);
  if (ok) toEnd();
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
  if (!focus) return;
  get("text").focus();
  remember();
}

async function send() {
  const text = get("text");
  const kind = get("compose-form").dataset.kind;
  const written = text.value.trim();
  if (underWay.has("send") || !written) return;
  underWay.add("send");
  get("send").disabled = true;
  const conversation = text.dataset.for;
  const { ok, body: told } = await post(
    `/api/conversations/${conversation}/${kind}`, { text: written, idempotency_key: keyOf(conversation, written, kind) });
  underWay.delete("send");
  if (get("send")) get("send").disabled = false;
  if (ok) {
    forgetDraft(conversation);
    stopTyping();
    if (get("text")?.dataset.for === conversation) {
      get("text").value = "";
      grow();
      write(get("compose-form").querySelector('[data-kind="reply"]') ? "reply" : "note");
    }
    toast(say(kind === "note" ? "note_saved" : "sent"));
  }
  await Promise.all([refreshConversation("open", told.owner), refreshQueue("open", { quiet: true })]);
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
  remember();
}

function remember() {
  const text = get("text");
  keepDraft(text.dataset.for, text.value, get("compose-form").dataset.kind);
}

get("conversation").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.action) act(button.dataset.action);
  else if (button.dataset.ask) askAndAct(button.dataset.ask);
  else if (button.dataset.correct) correct(button);
  else if (button.dataset.ticket) changeGrade(button.dataset);
  else if (button.dataset.propose) propose({ ...button.dataset });
  else if (button.dataset.insert) insert(button.dataset.insert);
  else if (button.classList.contains("kind")) write(button.dataset.kind);
  else if (button.id === "new-below") toEnd();
  else if (button.id === "earlier") showEarlier();
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
  if (event.target.id !== "text") return;
  grow();
  remember();
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
get("conversation").addEventListener("scroll", (event) => {
  if (event.target.id === "scroll" && event.target.scrollTop < NEAR_THE_TOP) showEarlier();
  if (get("new-below") && atEnd()) get("new-below").hidden = true;
}, true);

if (place.conversation) settle();
