// Asks for the proposal to a customer who complained; what was written is kept until it is sent.
import { draftOf, forgetDraft, keepDraft, keyOf } from "./drafts.js";
import { ask, place, say } from "./page.js";

const dialog = document.getElementById("ask-propose");
const form = dialog.querySelector("form");
const nameOf = (ticket) => `${place.conversation}:proposal:${ticket}`;
let name = null;

/** What the API takes, or null when it was cancelled. */
export async function askProposal({ propose, number }) {
  name = nameOf(propose);
  form.elements.text.value = draftOf(name)?.text ?? "";
  dialog.querySelector("h2").textContent = say("propose_title", { number });
  const answer = await ask(dialog, form.elements.text);
  const text = answer?.get("text").trim();
  return text ? { text, idempotency_key: keyOf(name, text, "proposal") } : null;
}

export function forgetProposal({ propose }) {
  forgetDraft(nameOf(propose));
}

form.addEventListener("input", () => keepDraft(name, form.elements.text.value, "proposal"));
