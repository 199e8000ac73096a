import { fill, h, place } from "../dom";
import type { Store } from "../state";
import { join, readWords, split, type Word, writeWord } from "../words";

const CHIP = "application/x-sed-chip";

/** Shows the words as chips with a field for more, and joins chips that are dragged onto each other. */
export function wordsView(store: Store, ask: () => void): void {
  const list = h("ul", { class: "chips", "aria-label": "Words" });
  const field = h("input", {
    id: "word",
    type: "text",
    autocomplete: "off",
    placeholder: "cat | kitty, grass",
    "aria-describedby": "word-help",
  });
  const help = "Commas separate words, | joins synonyms. Drag a chip onto another to join them.";
  const form = h(
    "form",
    { class: "line" },
    h("label", { for: "word", class: "hidden" }, "Add words"),
    field,
    h("button", { type: "submit" }, "Add"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const added = readWords(field.value);
    field.value = "";
    if (added.length > 0) store.set({ words: [...store.now.words, ...added], vocabulary: "" });
    ask();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Backspace" && !field.value) store.set({ words: store.now.words.slice(0, -1) });
  });
  const clear = h("button", { type: "button", class: "quiet", onclick: () => store.set({ words: [] }) }, "Clear");
  fill(place("words"), list, form, h("p", { id: "word-help", class: "faint small" }, help, " ", clear));
  store.watch(["words", "vocabulary"], ({ words, vocabulary }) => {
    clear.hidden = words.length === 0;
    list.classList.toggle("unused", vocabulary !== "");
    fill(list, ...words.map((word, at) => chip(store, word, at)));
  });
}

function chip(store: Store, word: Word, at: number): HTMLElement {
  const set = (words: readonly Word[]) => store.set({ words, vocabulary: "" });
  const title = writeWord(word);
  const remove = () => set(store.now.words.filter((_, index) => index !== at));
  const parts = word.map((phrase, index) => h("span", { class: index === 0 ? "" : "synonym" }, phrase));
  const item = h(
    "li",
    { draggable: "true", tabindex: 0, "aria-label": `${title}. Delete removes, | joins with the word before` },
    ...parts,
    word.length > 1 && button("Split", `Split ${title}`, () => set(split(store.now.words, at)), "⑂"),
    button("Remove", `Remove ${title}`, remove, "×"),
  );
  item.addEventListener("keydown", (event) => {
    if (event.target !== item) return;
    if (event.key === "Delete" || event.key === "Backspace") remove();
    else if (event.key === "|" && at > 0) set(join(store.now.words, at - 1, at));
    else return;
    event.preventDefault();
    const chips = document.querySelectorAll<HTMLElement>(".chips > li");
    (chips[Math.max(0, at - 1)] ?? place("word")).focus();
  });
  item.addEventListener("dragstart", (event) => event.dataTransfer?.setData(CHIP, String(at)));
  item.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes(CHIP)) return;
    event.preventDefault();
    item.classList.add("target");
  });
  item.addEventListener("dragleave", () => item.classList.remove("target"));
  item.addEventListener("drop", (event) => {
    const from = event.dataTransfer?.getData(CHIP);
    if (!from) return;
    event.preventDefault();
    set(join(store.now.words, at, Number(from)));
  });
  return item;
}

function button(title: string, label: string, press: () => void, sign: string): HTMLElement {
  return h("button", { type: "button", title, "aria-label": label, onclick: press }, sign);
}
