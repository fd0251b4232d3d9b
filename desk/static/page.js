// What every part of the desk's page needs: its words, its place, its requests and its messages to the reader.

export const words = JSON.parse(document.body.dataset.words);

export function say(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The server's time in milliseconds, whatever this machine's clock says. */
const ahead = Date.parse(document.body.dataset.now) - Date.now();
export const now = () => Date.now() + ahead;

export const place = {
  get view() { return document.body.dataset.view; },
  get conversation() { return document.body.dataset.conversation ?? null; },
  get pane() { return document.body.dataset.pane; },
  set pane(name) { document.body.dataset.pane = name; },
  /** The query of this place: the view, what the address filters by, and the conversation. */
  query(conversation = place.conversation) {
    const query = new URLSearchParams({ view: place.view });
    for (const [name, value] of new URLSearchParams(location.search)) {
      if (value && !["view", "conversation"].includes(name)) query.append(name, value);
    }
    if (conversation) query.append("conversation", conversation);
    return query;
  },
  address: (conversation = place.conversation) => `/desk?${place.query(conversation)}`,
};

function toLogin() {
  const here = location.pathname + location.search;
  location.assign(`/desk/login?next=${encodeURIComponent(here)}`);
}

/**
 * Fetch a part of the page; `how` is "open" when somebody asked for it and "live" when the page did by itself.
 * Gives {status, html}: html is null where there is none, status 0 where the server was not reached.
 */
export async function fetchPart(path, how) {
  try {
    const answer = await fetch(path, { headers: { "X-Part": how }, credentials: "same-origin" });
    if (answer.status === 401) toLogin();
    return { status: answer.status, html: answer.ok ? await answer.text() : null };
  } catch {
    return { status: 0, html: null };
  }
}

/** Ask the API by the page itself; gives its answer, or null. */
export async function fetchJson(path, how = "live", options = {}) {
  const headers = { "X-Part": how, ...(options.body ? { "Content-Type": "application/json" } : {}) };
  const answer = await fetch(path, { credentials: "same-origin", ...options, headers }).catch(() => null);
  return answer?.ok ? answer.json().catch(() => null) : null;
}

/** Post to the API. Gives {ok, body}; refusals are shown to the reader in the server's words. */
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST", credentials: "same-origin",
      headers: { "X-Part": "open", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    toast(say("error_network"), "problem");
    return { ok: false, body: {} };
  }
  if (answer.status === 401) toLogin();
  const told = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (!answer.ok && answer.status !== 401) toast(told.message ?? say("error_network"), "problem");
  return { ok: answer.ok, body: told };
}

export function announce(text) {
  document.getElementById("announce").textContent = text;
}

export function toast(text, kind = "plain") {
  const box = document.createElement("div");
  box.className = `toast plain ${kind}`;
  const line = document.createElement("p");
  line.textContent = text;
  box.append(line);
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), kind === "problem" ? 8000 : 2500);
}

/** Ask by a dialog of the page; gives its form's data, or null when it was cancelled. */
export function ask(dialog, first = dialog.querySelector(".primary")) {
  const asker = document.activeElement?.id;
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue ? new FormData(dialog.querySelector("form")) : null);
      if (document.activeElement !== document.body) return;  // what asked was replaced meanwhile
      (document.getElementById(asker) ?? document.getElementById("scroll"))?.focus();
    }, { once: true });
    dialog.showModal();
    first.focus();
  });
}
