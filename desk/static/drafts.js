// What somebody is writing to each customer: kept while they look elsewhere and when the page is loaded again.
import { place } from "./page.js";

const kept = new Map();  // where the browser keeps nothing
const nameOf = (conversation) => `warmline-draft:${document.body.dataset.agent}:${conversation}`;

function read(conversation) {
  try {
    return JSON.parse(sessionStorage.getItem(nameOf(conversation)));
  } catch {
    return kept.get(conversation) ?? null;
  }
}

function write(conversation, draft) {
  kept.set(conversation, draft);
  try {
    if (draft) sessionStorage.setItem(nameOf(conversation), JSON.stringify(draft));
    else sessionStorage.removeItem(nameOf(conversation));
  } catch {
    // it is kept until the page is left
  }
}

/** The draft of a conversation as {text, kind}, or null. */
export const draftOf = (conversation = place.conversation) => read(conversation);

export function keepDraft(conversation, text, kind) {
  const draft = read(conversation);
  write(conversation, text ? { ...draft, text, kind } : null);
}

export function forgetDraft(conversation) {
  write(conversation, null);
}

/** A name for the writing of this text: the same while it is the same, so that sending it twice writes it once. */
export function keyOf(conversation, text, kind) {
  const draft = read(conversation);
  if (draft?.key && draft.keyed === `${kind}:${text}`) return draft.key;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const key = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  write(conversation, { text, kind, key, keyed: `${kind}:${text}` });
  return key;
}
