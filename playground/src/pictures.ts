import { exampleOf, fetchExample } from "./picture/examples";
import { load } from "./picture/load";
import type { PictureLimits } from "./picture/picture";
import { ownProblem } from "./rpc/problem";
import type { Store } from "./state";

/** Limits of a server that has not answered yet: those of a usual one. */
const USUAL: PictureLimits = { bytes: 32 << 20, pixels: 64e6, side: 16384 };

/** Shows a file and asks about it. */
export async function open(store: Store, file: Blob, name: string, ask: () => void): Promise<void> {
  try {
    const picture = await load(file, name, limitsOf(store));
    store.set({ picture, answer: null, isolated: null, example: "", phase: { kind: "idle" } });
    ask();
  } catch (error) {
    fail(store, error);
  }
}

/** Shows an example and asks about it, with its own words unless `words` says to keep those that are there. */
export async function openExample(store: Store, name: string, words: "own" | "kept", ask: () => void): Promise<void> {
  const example = exampleOf(name);
  if (!example) return;
  try {
    const picture = await load(await fetchExample(example), example.file, limitsOf(store));
    const question = words === "own" ? { words: example.words, vocabulary: "" } : {};
    store.set({ picture, answer: null, isolated: null, example: name, phase: { kind: "idle" }, ...question });
    ask();
  } catch (error) {
    fail(store, error);
  }
}

function limitsOf(store: Store): PictureLimits {
  const limits = store.now.info?.limits;
  if (!limits) return USUAL;
  return {
    bytes: Math.min(Number(limits.maxImageBytes), Number(limits.maxMessageBytes) - (1 << 16)),
    pixels: Number(limits.maxImagePixels),
    side: limits.maxImageSide,
  };
}

function fail(store: Store, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  store.set({ phase: { kind: "failed", problem: ownProblem(message) } });
}
