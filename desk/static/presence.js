// Who else looks at the open conversation and who types there, and telling them the same of oneself.
import { onOpen } from "./conversation.js";
import { fetchJson, now, place, say } from "./page.js";

const RENEW_MS = 20_000;
const TYPING_MS = 4_000;
const STOPPED_MS = 5_000;
let here = null;  // the conversation that colleagues know one has open
let others = [];
let toldTyping = -Infinity;
let stopped = null;
let expiring = null;

const path = (conversation) => `/api/conversations/${conversation}/presence`;

async function tell(typing = false) {
  const conversation = here;
  const answer = await fetchJson(path(conversation), "live", { method: "POST", body: JSON.stringify({ typing }) });
  if (answer && conversation === here) show(answer.others);
}

function leave() {
  if (here) fetch(path(here), { method: "DELETE", headers: { "X-Part": "live" }, keepalive: true }).catch(() => {});
  here = null;
  toldTyping = -Infinity;
  clearTimeout(stopped);
  show([]);
}

function enter() {
  if (place.conversation === here) return;
  leave();
  if (!place.conversation || document.visibilityState !== "visible") return;
  here = place.conversation;
  tell();
}

/** Look again who is there. */
export async function lookForOthers() {
  const conversation = here;
  if (!conversation) return;
  const answer = await fetchJson(path(conversation));
  if (answer && conversation === here) show(answer.others);
}

function show(found) {
  others = found;
  draw();
}

/** Say who is there; whoever has not been heard of for a while is not any more. */
export function draw() {
  const sign = document.getElementById("presence");
  clearTimeout(expiring);
  if (!sign) return;
  const time = now();
  const ahead = (moment) => moment !== null && Date.parse(moment) > time;
  const present = others.filter((each) => ahead(each.until));
  const typing = present.filter((each) => ahead(each.typing_until));
  const looking = present.filter((each) => !ahead(each.typing_until));
  const names = (list) => list.map((each) => each.name).join(say("and"));
  const words = [typing.length && say("typing", { names: names(typing) }),
    looking.length && say("looking", { names: names(looking) })].filter(Boolean).join(" · ");
  sign.textContent = words;
  sign.title = words;
  sign.hidden = !words;
  sign.classList.toggle("typing", typing.length > 0);
  const next = Math.min(...present.flatMap((each) => [each.until, each.typing_until]).filter(ahead).map(Date.parse));
  if (Number.isFinite(next)) expiring = setTimeout(draw, next - time + 50);
}

function write(text) {
  clearTimeout(stopped);
  if (!here) return;
  if (!text) {
    stopTyping();
    return;
  }
  stopped = setTimeout(stopTyping, STOPPED_MS);
  if (performance.now() - toldTyping < TYPING_MS) return;
  toldTyping = performance.now();
  tell(true);
}

/** What was written was sent or thrown away. */
export function stopTyping() {
  if (!here || toldTyping === -Infinity) return;
  toldTyping = -Infinity;
  tell();
}

export function bePresent() {
  enter();
  onOpen(enter);
  setInterval(() => here && tell(toldTyping !== -Infinity), RENEW_MS);
  document.getElementById("conversation").addEventListener("input", (event) => {
    if (event.target.id === "text") write(event.target.value.trim());
  });
  document.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? enter() : leave()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && enter());
}
