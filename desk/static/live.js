// What happens elsewhere shows here within a second: the stream says where to look again.
import { isWaiting, onOpen, refreshConversation } from "./conversation.js";
import { putAway, refreshNotices } from "./notices.js";
import { place, say } from "./page.js";
import { lookForOthers } from "./presence.js";
import { refreshQueue } from "./queue.js";

const TOGETHER_MS = 120;
const APART_MS = 600;
const ANYWAY_MS = 60_000;
const WAITING_MS = 4_000;
const sign = document.getElementById("live");
let source = null;

function show(state) {
  const text = { on: "live", off: "offline", connecting: "connecting" }[state];
  if (sign.classList.contains(state)) return;
  sign.className = `live ${state}`;
  sign.querySelector("span").textContent = say(text);
}

/** Run `look` once for several events that come together, and not again right after. */
function soon(look) {
  let planned = null;
  let last = -APART_MS;
  return () => {
    planned ??= setTimeout(() => {
      planned = null;
      last = performance.now();
      look();
    }, Math.max(TOGETHER_MS, last + APART_MS - performance.now()));
  };
}

const notices = soon(refreshNotices);
const queue = soon(() => {
  refreshQueue();
  refreshNotices();
});
const conversation = soon(() => refreshConversation());
const others = soon(lookForOthers);

function connect() {
  source?.close();
  const query = place.conversation ? `?conversation=${place.conversation}` : "";
  source = new EventSource(`/desk/stream${query}`);
  source.addEventListener("ready", () => {
    show("on");
    queue();
    conversation();
  });
  source.addEventListener("queue", queue);
  source.addEventListener("conversation", conversation);
  source.addEventListener("presence", others);
  source.addEventListener("notice", notices);
  source.addEventListener("ended", () => {
    source.close();
    refreshQueue();
  });
  source.addEventListener("error", () => {
    show("off");
    if (source.readyState === EventSource.CLOSED) {
      const closed = source;
      setTimeout(() => {
        if (source !== closed) return;
        refreshQueue();
        connect();
      }, 3000);
    }
  });
}

export function goLive() {
  connect();
  onOpen(() => {
    putAway(place.conversation);
    connect();
  });
  setInterval(queue, ANYWAY_MS);
  setInterval(() => isWaiting() && conversation(), WAITING_MS);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
}
