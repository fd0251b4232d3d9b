// What an agent does with a customer's record: make good, take an order back, serve a code, unlink a channel.
import { refreshConversation } from "./conversation.js";
import { forgetDraft, keyOf } from "./drafts.js";
import { ask, place, post, say, toast } from "./page.js";

const grant = document.getElementById("ask-grant");
const back = document.getElementById("ask-return");
const code = document.getElementById("ask-code");
const form = (dialog) => dialog.querySelector("form");
const part = form(back).elements.part;
let underWay = false;

/** Send it to the open conversation, once at a time, and look at what came of it. */
async function send(path, body, done) {
  if (underWay) return;
  underWay = true;
  const { ok, body: told } = await post(`/api/conversations/${place.conversation}/${path}`, body);
  underWay = false;
  if (ok) toast(done(told));
  await refreshConversation("open", told.owner);
}

async function makeGood({ grant: ticket, number }) {
  form(grant).reset();
  grant.querySelector("h2").textContent = say("grant_title", { number });
  const conversation = place.conversation;
  const answer = await ask(grant, form(grant).elements.points);
  if (!answer || conversation !== place.conversation) return;
  const [points, reason] = [Number(answer.get("points")), answer.get("reason").trim()];
  const name = `${conversation}:grant:${ticket}`;  // what was sent twice for want of an answer is given once
  await send(`tickets/${ticket}/grant`, { points, reason, idempotency_key: keyOf(name, `${points}:${reason}`, "grant") },
    () => {
      forgetDraft(name);
      return say("points_given", { points: points.toLocaleString() });
    });
}

async function takeBack({ cameBack: number, total }) {
  form(back).reset();
  choose();
  part.max = (Number(total) / 100).toFixed(2);
  back.querySelector("h2").textContent = say("came_back_title", { number });
  const conversation = place.conversation;
  const answer = await ask(back, form(back).querySelector("input"));
  if (!answer || conversation !== place.conversation) return;
  const refunded = answer.get("much") === "part" ? { refunded_fen: Math.round(Number(answer.get("part")) * 100) } : {};
  await send("returns", { number, ...refunded }, () => say("order_came_back"));
}

async function serve() {
  form(code).reset();
  const conversation = place.conversation;
  const answer = await ask(code, form(code).elements.code);
  if (!answer || conversation !== place.conversation) return;
  const act = code.returnValue;
  await send("codes", { code: answer.get("code"), act }, ({ reward }) => (
    act === "cancel" ? say("code_done_cancel", { reward }) : say("code_done_use", { reward })));
}

async function unlink(identity) {
  const conversation = place.conversation;
  if (!await ask(document.getElementById("ask-unlink")) || conversation !== place.conversation) return;
  await send(`identities/${identity}/unlink`, undefined, () => say("unlinked"));
}

function choose() {
  part.disabled = form(back).elements.much.value !== "part";
  part.required = !part.disabled;
}

for (const dialog of [grant, back, code]) {
  form(dialog).addEventListener("keydown", (event) => {  // the first button, which Enter would press, is the way out
    if (event.key !== "Enter" || event.target.tagName !== "INPUT" || event.isComposing) return;
    event.preventDefault();
    form(dialog).requestSubmit(form(dialog).querySelector(".primary"));
  });
}
form(back).addEventListener("change", choose);
document.getElementById("customer").addEventListener("click", (event) => {
  const { dataset } = event.target.closest("button") ?? {};
  if (dataset?.grant) makeGood({ ...dataset });
  else if (dataset?.cameBack) takeBack({ ...dataset });
  else if (dataset?.serve) serve();
  else if (dataset?.unlink) unlink(dataset.unlink);
});
