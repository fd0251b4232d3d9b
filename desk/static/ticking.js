// Deadlines count down by themselves, by the server's clock.
import { now, say } from "./page.js";

const SOON = 15 * 60;
const two = (number) => String(number).padStart(2, "0");

function span(seconds) {
  const left = Math.abs(seconds);
  const hours = Math.floor(left / 3600);
  const minutes = Math.floor(left / 60);
  if (hours < 1) return `${two(minutes)}:${two(left % 60)}`;
  if (hours < 24) return say("hours", { h: hours, m: two(minutes % 60) });
  return say("days", { d: Math.floor(hours / 24), h: hours % 24 });
}

export function tick(root = document) {
  const time = now();
  for (const due of root.querySelectorAll("[data-due]")) {
    const left = (Date.parse(due.dataset.due) - time) / 1000;
    const late = left <= 0;
    const state = late ? "late" : left <= SOON ? "soon" : "ok";
    const text = (late ? "\u2212" : "") + span(Math.trunc(left));
    if (due.textContent !== text) due.textContent = text;
    if (!due.classList.contains(state)) {
      due.classList.remove("ok", "soon", "late");
      due.classList.add(state);
      due.title = say(late ? "overdue_since" : "due_at", { at: due.dataset.at });
      const item = due.closest(".item");
      item?.classList.remove("ok", "soon", "late");
      item?.classList.add(state);
      if (late) due.closest(".promises")?.classList.add("late");
    }
  }
}

export function startTicking() {
  tick();
  setInterval(tick, 1000);
}
