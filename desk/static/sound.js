// A short chime for what is new; off until somebody turns it on.
import { say } from "./page.js";

const KEY = "warmline-sound";
const button = document.getElementById("sound");
let context = null;

const isOn = () => localStorage.getItem(KEY) === "on";

function show() {
  button.setAttribute("aria-pressed", String(isOn()));
  button.title = say(isOn() ? "sound_on" : "sound_off");
  button.querySelector("use").setAttribute("href", `/desk/static/icons.svg#${isOn() ? "sound" : "mute"}`);
}

export function chime() {
  if (!isOn()) return;
  context ??= new AudioContext();
  [660, 880].forEach((pitch, index) => {
    const start = context.currentTime + index * 0.14;
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.0001, start);
    volume.gain.exponentialRampToValueAtTime(0.15, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.3);
    tone.connect(volume).connect(context.destination);
    tone.start(start);
    tone.stop(start + 0.32);
  });
}

button.addEventListener("click", () => {
  localStorage.setItem(KEY, isOn() ? "off" : "on");
  show();
  chime();
});
show();
