// Brings parts of the page up to date with freshly rendered ones, touching only what changed: what somebody has
// focused, opened or scrolled stays as it is. Fresh parts are parsed, never run.

const sources = new WeakMap();

/** What an element was rendered from, without the countdowns, which change by themselves. */
function signature(element) {
  const copy = element.cloneNode(true);
  for (const due of copy.querySelectorAll("[data-due]")) {
    due.textContent = "";
    due.removeAttribute("class");
    due.removeAttribute("title");
  }
  return copy.outerHTML;
}

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

/** Bring a list up to date by the keys of its children. */
export function patchList(list, fresh) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const wanted = [...fresh.children].map((child) => {
    const existing = old.get(child.dataset.key);
    const mark = signature(child);
    if (existing && sources.get(existing) === mark) return existing;
    const element = document.adoptNode(child);
    sources.set(element, mark);
    if (existing) keepOpen(existing, element);
    return element;
  });
  keepingFocus(() => {
    wanted.forEach((element, index) => {
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
    while (list.children.length > wanted.length) list.lastElementChild.remove();
  });
}
