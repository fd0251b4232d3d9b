// Asks until when a conversation is put away; times are the shop's, wherever the agent sits.
import { ask, now, say } from "./page.js";

const HOUR_MS = 3_600_000;
const zone = document.body.dataset.zone;
const dialog = document.getElementById("ask-snooze");
const form = dialog.querySelector("form");
const wrong = document.getElementById("snooze-wrong");

/** A moment as [year, month, day, hour, minute] in the shop's zone. */
function shopTime(moment) {
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric",
    minute: "numeric",
  }).formatToParts(moment);
  return ["year", "month", "day", "hour", "minute"].map((name) => Number(parts.find((p) => p.type === name).value));
}

/** The moment at which the shop's clocks show this. */
function momentOf(year, month, day, hour, minute) {
  const wanted = Date.UTC(year, month - 1, day, hour, minute);
  const ahead = (moment) => {
    const [y, mo, d, h, mi] = shopTime(moment);
    return Date.UTC(y, mo - 1, d, h, mi) - Math.floor(moment / 60_000) * 60_000;
  };
  return wanted - ahead(wanted - ahead(wanted));
}

function chosen(answer) {
  const [year, month, day] = shopTime(now());
  switch (answer.get("until")) {
    case "hour": return now() + HOUR_MS;
    case "hours": return now() + 4 * HOUR_MS;
    case "tomorrow": return momentOf(year, month, day + 1, 9, 0);
    case "at": return answer.get("at") ? momentOf(...answer.get("at").split(/\D/).map(Number)) : NaN;
    default: return null;  // until the customer writes
  }
}

form.addEventListener("submit", (event) => {
  const until = chosen(new FormData(form));
  wrong.textContent = "";
  if (!event.submitter?.value || until === null || until > now()) return;
  event.preventDefault();
  wrong.textContent = say("snooze_needs_time");
  form.elements.at.focus();
});
form.elements.at.addEventListener("input", () => {
  form.elements.until.value = "at";
});

/** What the API takes, or null when it was cancelled. */
export async function askSnooze() {
  form.reset();
  wrong.textContent = "";
  const answer = await ask(dialog, form.querySelector("input:checked"));
  const until = answer && chosen(answer);
  return answer && { until: until === null ? null : new Date(until).toISOString() };
}
