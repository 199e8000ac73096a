import { fill, h, place } from "../dom";
import { EXAMPLES } from "../picture/examples";
import type { Store } from "../state";

/** The ways in which a picture comes to the page. */
export interface Openers {
  file: (file: Blob, name: string) => void;
  example: (name: string) => void;
}

/** Offers examples, a file, the camera's photograph, drop and paste. */
export function sources(store: Store, open: Openers): void {
  const thumbs = EXAMPLES.map(({ name, file }) => {
    const picture = h("img", { src: file, alt: "", width: 400, height: 300 });
    const title = name.replace("-", " ");
    return h("button", { type: "button", "data-name": name, onclick: () => open.example(name) }, picture, title);
  });
  const pick = (event: Event) => {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    if (file) open.file(file, file.name);
    input.value = "";
  };
  const input = h("input", { id: "file", type: "file", accept: "image/*", class: "hidden", onchange: pick });
  const photo = h("input", { id: "photo", type: "file", accept: "image/*", capture: "environment", onchange: pick });
  photo.className = "hidden";
  const own = h(
    "div",
    { class: "own" },
    h("label", { for: "file", class: "button" }, "Open a picture"),
    input,
    h("span", { class: "touch" }, h("label", { for: "photo", class: "button" }, "Photograph"), photo),
    h("button", { type: "button", id: "camera" }, "Camera"),
    h("span", { class: "faint" }, "or drop or paste one"),
  );
  fill(place("sources"), h("div", { class: "thumbs", role: "group", "aria-label": "Examples" }, ...thumbs), own);
  store.watch(["example"], ({ example }) => {
    for (const thumb of thumbs) thumb.setAttribute("aria-pressed", String(thumb.dataset.name === example));
  });
  drops(open);
  pastes(open);
}

function drops(open: Openers): void {
  const hint = place("drop");
  const holdsFile = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragover", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    hint.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hint.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    hint.hidden = true;
    const file = event.dataTransfer?.files[0];
    if (file) open.file(file, file.name);
  });
}

function pastes(open: Openers): void {
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    open.file(file, file.name || "pasted.png");
  });
}
