// What an agent must be told: shown until they have read it.
import { parse } from "./patch.js";
import { announce, fetchPart, place, post } from "./page.js";

const MOST = 3;
const box = document.getElementById("toasts");
const dismissed = new Set();

/** Show what has not been read yet. */
export async function refreshNotices() {
  const html = await fetchPart("/desk/parts/notices", "live").catch(() => null);
  if (html === null) return;
  const shown = new Set([...box.querySelectorAll("[data-notice]")].map((notice) => notice.dataset.notice));
  for (const notice of parse(html).querySelectorAll("[data-notice]")) {
    const id = notice.dataset.notice;
    if (shown.has(id) || dismissed.has(id) || box.querySelectorAll("[data-notice]").length >= MOST) continue;
    const about = notice.querySelector("a")?.dataset.conversation;
    if (about && about === place.conversation && document.visibilityState === "visible") {
      dismissed.add(id);  // it stands in the thread that is being read
      post(`/desk/notices/${id}/seen`);
      continue;
    }
    box.append(document.adoptNode(notice));
    announce(notice.querySelector("p").textContent);
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
