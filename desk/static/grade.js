// Asks for another grade of a complaint, and why.
import { ask, say } from "./page.js";

const dialog = document.getElementById("ask-grade");
const form = dialog.querySelector("form");

/** What the API takes, or null when it was cancelled. */
export async function askGrade({ number, grade }) {
  form.reset();
  dialog.querySelector("h2").textContent = say("grade_title", { number });
  form.elements.grade.value = grade;
  const answer = await ask(dialog, form.querySelector("input:checked") ?? form.querySelector("input"));
  return answer && { grade: answer.get("grade"), reason: answer.get("reason").trim() };
}
