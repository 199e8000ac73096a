import { type Call, callOf } from "../code/call";
import { node } from "../code/node";
import { python } from "../code/python";
import { commandLine, grpcurl } from "../code/shell";
import { fill, h, place } from "../dom";
import { token } from "../rpc/token";
import type { Store } from "../state";

const LANGUAGES: readonly (readonly [string, string, (call: Call) => string])[] = [
  ["python", "Python", python],
  ["node", "Node", node],
  ["grpcurl", "grpcurl", grpcurl],
  ["cli", "sed-serve", commandLine],
];

/** Shows the request as code that runs unchanged beside the picture's file. */
export function code(store: Store): void {
  const shown = h("pre", { id: "snippet", tabindex: 0, "aria-label": "Code" });
  let chosen = LANGUAGES[0];
  const write = () => {
    const { picture } = store.now;
    const call = callOf(store.now, picture?.name ?? "", token() !== "");
    fill(shown, chosen?.[2](call) ?? "");
  };
  const radios = LANGUAGES.flatMap((language, at) => {
    const id = `language-${language[0]}`;
    const choose = () => {
      chosen = language;
      write();
    };
    const input = h("input", { type: "radio", name: "language", id, checked: at === 0, onchange: choose });
    return [input, h("label", { for: id }, language[1])];
  });
  const copy = h("button", { type: "button", id: "copy" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(shown.textContent ?? "");
    fill(copy, "Copied");
    setTimeout(() => fill(copy, "Copy"), 1500);
  });
  const tabs = h("fieldset", { class: "segments" }, h("legend", { class: "hidden" }, "Language"), ...radios);
  fill(place("code"), h("div", { class: "line" }, tabs, copy), shown);
  store.watch(["picture", "words", "vocabulary", "contrast", "synonyms", "topK", "threshold", "offline"], write);
}
