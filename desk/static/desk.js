// The desk's page: ties its parts together.
import { open } from "./conversation.js";
import { listenForKeys } from "./keys.js";
import { goLive } from "./live.js";
import { place } from "./page.js";
import { bePresent } from "./presence.js";
import { showView } from "./queue.js";
import { startTicking } from "./ticking.js";

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open], details.phrases[open], details.filter[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest("a[data-conversation], a[data-view]");
  const pane = event.target.closest(".panes button");
  if (pane) {
    place.pane = pane.dataset.pane;
  } else if (link?.dataset.conversation) {
    event.preventDefault();
    open(link.dataset.conversation);
  } else if (link?.dataset.view) {
    event.preventDefault();
    showView(link.dataset.view);
  } else if (event.target.closest("a.back")) {
    event.preventDefault();
    place.pane = "queue";
  }
});

document.addEventListener("submit", (event) => {
  const back = event.target.elements.namedItem("back");
  if (back) back.value = location.pathname + location.search;  // what is open now, not when the page was loaded
});

addEventListener("popstate", () => {
  const conversation = new URLSearchParams(location.search).get("conversation");
  if (conversation) open(conversation, { push: false });
  else location.reload();
});

startTicking();
listenForKeys();
goLive();
bePresent();
