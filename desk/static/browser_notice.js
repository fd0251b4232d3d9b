// What is new while nobody looks at the page: shown by the browser itself, once it was asked for and allowed.
import { parse } from "./patch.js";
import { say } from "./page.js";

const KEY = "warmline-browser-notices";
const button = document.getElementById("browser-notice");
const can = "Notification" in window;
let newest = null;  // of the notices there were when the page was opened

const isOn = () => can && Notification.permission === "granted" && localStorage.getItem(KEY) === "on";

function show() {
  const blocked = can && Notification.permission === "denied";
  button.hidden = !can;
  button.setAttribute("aria-pressed", String(isOn()));
  button.setAttribute("aria-disabled", String(blocked));
  button.title = say(blocked ? "browser_blocked" : isOn() ? "browser_on" : "browser_off");
  button.querySelector("use").setAttribute("href", `/desk/static/icons.svg#${isOn() ? "bell" : "bell-off"}`);
}

function tell(notice) {
  const line = notice.querySelector("p").cloneNode(true);
  line.querySelector("b")?.remove();  // no customer's name on a locked screen
  const conversation = notice.querySelector("a")?.dataset.conversation;
  let shown;
  try {
    shown = new Notification(document.querySelector(".brand").textContent, {
      body: line.textContent.trim(), tag: `notice-${notice.dataset.notice}`, icon: "/desk/static/icon.svg",
    });
  } catch {
    return;  // some phones let only service workers do this
  }
  shown.addEventListener("click", () => {
    window.focus();
    shown.close();
    const link = document.querySelector(`#toasts [data-notice="${notice.dataset.notice}"] a`);
    if (link) link.click();
    else if (conversation) location.assign(`/desk?conversation=${conversation}`);
  });
}

/** Of the notices there are, tell those that came since the page was opened. Several pages share one by its tag. */
function hear(html) {
  const notices = [...parse(html).querySelectorAll("[data-notice]")];
  const ids = notices.map((notice) => Number(notice.dataset.notice));
  const last = newest;
  newest = Math.max(newest ?? 0, ...ids);
  if (last === null || !document.hidden || !isOn()) return;
  notices.filter((notice) => Number(notice.dataset.notice) > last).forEach(tell);
}

button.addEventListener("click", async () => {
  if (Notification.permission === "denied") return;
  const turnOn = !isOn();
  if (turnOn && Notification.permission !== "granted") await Notification.requestPermission();
  localStorage.setItem(KEY, turnOn && Notification.permission === "granted" ? "on" : "off");
  show();
});
document.addEventListener("warmline:notices", (event) => hear(event.detail));
show();
