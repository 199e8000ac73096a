/** A child of an element; `null`, `undefined` and `false` are skipped. Strings become text, never markup. */
export type Child = Node | string | number | null | undefined | false;

type Listener = (event: never) => void;
type Value = string | number | boolean | undefined | Listener;
type Attributes = Record<string, Value>;

/** Creates an element: a key `onNAME` adds a listener, a key `--NAME` sets a CSS variable, `true` an empty attribute. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  fill(element, ...children);
  return element;
}

function set(element: HTMLElement, name: string, value: Value): void {
  if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
  else if (name.startsWith("--")) {
    if (value !== undefined) element.style.setProperty(name, String(value));
  } else if (value === true) element.setAttribute(name, "");
  else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
}

/** Replaces the children of an element. */
export function fill(element: Element, ...children: Child[]): void {
  const kept = children.filter((child) => child !== null && child !== undefined && child !== false);
  element.replaceChildren(...kept.map((child) => (child instanceof Node ? child : String(child))));
}

/** Returns the element of an id of index.html. */
export function place(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element ${id}`);
  return element;
}
