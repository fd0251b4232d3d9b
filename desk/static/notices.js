// What an agent must be told: shown until they have read it.
import { parse } from "./patch.js";
import { announce, fetchPart, place, post } from "./page.js";

const MOST = 3;
const box = document.getElementById("toasts");
const dismissed = new Set();

// They lie over the end of the queue, which leaves room to be scrolled out from under them.
new ResizeObserver(() => {
  document.documentElement.style.setProperty("--told", box.childElementCount ? `${box.offsetHeight + 24}px` : "0px");
}).observe(box);

/** Show what has not been read yet. */
export async function refreshNotices() {
  const { html } = await fetchPart("/desk/parts/notices", "live");
  if (html === null) return;
  document.dispatchEvent(new CustomEvent("warmline:notices", { detail: html }));
  const waiting = [...parse(html).querySelectorAll("[data-notice]")].filter((notice) => {
    const id = notice.dataset.notice;
    const about = notice.querySelector("a")?.dataset.conversation;
    if (dismissed.has(id) || !about || about !== place.conversation || document.visibilityState !== "visible") {
      return !dismissed.has(id);
    }
    dismissed.add(id);  // it stands in the thread that is being read
    post(`/desk/notices/${id}/seen`);
    return false;
  });
  show(waiting.slice(-MOST));
}

/** The newest are shown: a promise that broke does not wait behind the warnings. Older ones come back after them. */
function show(wanted) {
  const shown = new Map([...box.querySelectorAll("[data-notice]")].map((notice) => [notice.dataset.notice, notice]));
  const staying = new Set(wanted.map((notice) => notice.dataset.notice));
  for (const [id, notice] of shown) if (!staying.has(id)) notice.remove();
  let next = null;
  for (const notice of wanted.reverse()) {
    const had = shown.get(notice.dataset.notice);
    const element = had ?? document.adoptNode(notice);
    if (!had) {
      box.insertBefore(element, next);
      announce(element.querySelector("p").textContent);
    }
    next = element;
  }
}

/** What is told about a conversation stands in its thread: whoever reads that has been told. */
export function putAway(conversation) {
  for (const notice of box.querySelectorAll("[data-notice]")) {
    if (notice.querySelector("a")?.dataset.conversation !== conversation) continue;
    dismissed.add(notice.dataset.notice);
    notice.remove();
    post(`/desk/notices/${notice.dataset.notice}/seen`);
  }
}

box.addEventListener("click", (event) => {
  const notice = event.target.closest("[data-notice]");
  if (!notice || !event.target.closest("[data-dismiss], a")) return;
  dismissed.add(notice.dataset.notice);
  notice.remove();
  post(`/desk/notices/${notice.dataset.notice}/seen`).then(refreshNotices);
});
