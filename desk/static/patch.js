// Brings parts of the page up to date with freshly rendered ones, touching only what changed: what somebody has
// focused, opened or scrolled stays as it is. Fresh parts are parsed, never run.

const sources = new WeakMap();

const COUNTDOWN = /<time class="due[^"]*"([^>]*) title="[^"]*">[^<]*/g;

/** What an element was rendered from, without the countdowns, which change by themselves. */
const signature = (element) => element.outerHTML.replace(COUNTDOWN, "<time$1>");

/** Remember what the elements under `root` look like as the server rendered them. */
export function adopt(root) {
  for (const element of root.querySelectorAll("[data-key], [data-region]")) sources.set(element, signature(element));
  if (root.matches?.("[data-key], [data-region]")) sources.set(root, signature(root));
}

export function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

function keepingFocus(change) {
  const id = document.activeElement?.id;
  change();
  if (id && document.activeElement?.id !== id) document.getElementById(id)?.focus({ preventScroll: true });
}

function keepOpen(old, fresh) {
  for (const details of old.querySelectorAll("details[open][id]")) {
    const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
    if (same) same.open = true;
  }
}

/** Replace `old` by `fresh` unless they were rendered alike. Returns the element that is now on the page. */
export function patchElement(old, fresh) {
  const mark = signature(fresh);
  if (sources.get(old) === mark) return old;
  const element = document.adoptNode(fresh);
  adopt(element);
  sources.set(element, mark);
  keepOpen(old, element);
  keepingFocus(() => old.replaceWith(element));
  return element;
}

/** Bring a list up to date by the keys of its children; what stands before its first fresh child stays if wanted. */
export function patchList(list, fresh, { keepBefore = false } = {}) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const first = keepBefore ? old.get(fresh.firstElementChild?.dataset.key) : null;
  const before = first ? [...list.children].slice(0, [...list.children].indexOf(first)) : [];
  const brought = [...fresh.children].map((child) => {
    const existing = old.get(child.dataset.key);
    const mark = signature(child);
    if (existing && sources.get(existing) === mark) return existing;
    const element = document.adoptNode(child);
    sources.set(element, mark);
    if (existing) keepOpen(existing, element);
    return element;
  });
  const wanted = [...before, ...brought];
  const staying = new Set(wanted);
  keepingFocus(() => {
    for (const child of old.values()) if (!staying.has(child)) child.remove();
    let next = list.firstElementChild;
    for (const element of wanted) {
      if (element === next) next = next.nextElementSibling;
      else list.insertBefore(element, next);
    }
  });
}
