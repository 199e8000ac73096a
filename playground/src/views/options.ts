import { fill, h, place } from "../dom";
import { CONTRASTS, type Contrast, type Store, SYNONYMS, type Synonyms } from "../state";

/** Time without a change after which a slider asks again, in milliseconds. */
const SETTLED_MS = 200;

const CONTRAST_TITLES: Record<Contrast, string> = {
  needed: "with few words",
  automatic: "always",
  off: "off",
};
const SYNONYM_TITLES: Record<Synonyms, string> = { mean: "their mean", best: "the best" };

/** Shows `top_k`, threshold, contrast words and the counting of synonyms. A change asks again. */
export function optionsView(store: Store, ask: () => void): void {
  const settle = settled(ask);
  const topK = slider("top-k", 0, 32, 1);
  const threshold = slider("threshold", 0, 1, 0.01);
  topK.input.addEventListener("input", () => store.set({ topK: topK.input.valueAsNumber }));
  threshold.input.addEventListener("input", () => store.set({ threshold: threshold.input.valueAsNumber }));
  for (const { input } of [topK, threshold]) input.addEventListener("input", settle);
  const contrast = choice("contrast", CONTRASTS, CONTRAST_TITLES, (value) => store.set({ contrast: value }), ask);
  const synonyms = choice("synonyms", SYNONYMS, SYNONYM_TITLES, (value) => store.set({ synonyms: value }), ask);
  fill(
    place("options"),
    h("label", { for: "top-k" }, "top_k"),
    topK.input,
    topK.output,
    h("label", { for: "threshold" }, "Threshold"),
    threshold.input,
    threshold.output,
    h("label", { for: "contrast" }, "Contrast words"),
    contrast,
    h("label", { for: "synonyms" }, "Synonyms by"),
    synonyms,
  );
  store.watch(["topK", "threshold", "contrast", "synonyms", "info"], (state) => {
    const usual = state.info?.defaults?.topK ?? 8;
    topK.input.max = String(Math.min(64, state.info?.limits?.maxTopK ?? 32));
    topK.input.valueAsNumber = state.topK ?? usual;
    const chosen = state.topK ?? usual;
    fill(topK.output, chosen === 0 ? "off" : String(chosen));
    threshold.input.valueAsNumber = state.threshold;
    fill(threshold.output, state.threshold === 0 ? "off" : state.threshold.toFixed(2));
    contrast.value = state.contrast;
    synonyms.value = state.synonyms;
  });
}

function slider(id: string, min: number, max: number, step: number) {
  const input = h("input", { type: "range", id, min, max, step });
  return { input, output: h("output", { for: id }) };
}

function choice<T extends string>(
  id: string,
  values: readonly T[],
  titles: Record<T, string>,
  set: (value: T) => void,
  ask: () => void,
): HTMLSelectElement {
  const select = h("select", { id }, ...values.map((value) => h("option", { value }, titles[value])));
  select.addEventListener("change", () => {
    const value = values.find((one) => one === select.value);
    if (value) set(value);
    ask();
  });
  return select;
}

/** Delays calls until none has come for a while. */
function settled(run: () => void): () => void {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(run, SETTLED_MS);
  };
}
