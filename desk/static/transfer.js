// Asks whom a conversation is passed on to: teams and colleagues with what they have on their hands.
import { ask, fetchJson, say, toast } from "./page.js";

const get = (id) => document.getElementById(id);
const dialog = get("ask-transfer");
const find = get("transfer-find");

function row(value, name, about, load, free) {
  const line = get("transfer-target").content.firstElementChild.cloneNode(true);
  line.querySelector("input").value = value;
  line.querySelector("b").textContent = name;
  line.querySelector("small").textContent = about;
  line.querySelector(".load span").textContent = load;
  line.classList.toggle("free", free);
  return line;
}

const loadOf = (each) => {
  const load = say("load_of", { open: each.open_count, capacity: each.capacity });
  if (!each.available) return `${say("away")} · ${load}`;
  return each.open_count < each.capacity ? load : `${say("busy")} · ${load}`;
};

function fill(targets) {
  for (const line of dialog.querySelectorAll(".target")) line.remove();
  get("transfer-teams").append(...targets.teams.map((team) => row(
    `team:${team.id}`, team.name, "", say("free_count", { count: team.free_count }), team.free_count > 0)));
  get("transfer-people").append(...targets.agents.map((each) => row(
    `agent:${each.id}`, each.name, [each.team_name, ...each.languages.map((code) => say(`short_${code}`))].join(" · "),
    loadOf(each), each.free)));
}

function narrow() {
  const wanted = find.value.trim().toLowerCase();
  let shown = 0;
  for (const line of dialog.querySelectorAll(".target")) {
    line.hidden = !line.textContent.toLowerCase().includes(wanted);
    if (line.hidden) line.querySelector("input").checked = false;
    else shown += 1;
  }
  for (const group of dialog.querySelectorAll("fieldset")) group.hidden = !group.querySelector(".target:not([hidden])");
  get("transfer-none").hidden = shown > 0;
}

find.addEventListener("input", narrow);
find.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();  // it would press Cancel
  dialog.querySelector(".target:not([hidden]) input")?.focus();
});

/** What the API takes, or null when it was cancelled. */
export async function askTransfer(conversation) {
  const targets = await fetchJson(`/api/conversations/${conversation}/transfer`, "open");
  if (!targets) {
    toast(say("error_network"), "problem");
    return null;
  }
  dialog.querySelector("form").reset();
  fill(targets);
  narrow();
  const answer = await ask(dialog, find);
  if (!answer) return null;
  const [kind, id] = answer.get("target").split(":");
  return { [kind === "team" ? "to_team_id" : "to_agent_id"]: Number(id), note: answer.get("note").trim() };
}
