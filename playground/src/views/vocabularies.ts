import { fill, h, place } from "../dom";
import { count } from "../format";
import type { NamedVocabulary } from "../generated/sed/v1/vocabulary_pb";
import { problemOf } from "../rpc/problem";
import type { Server } from "../rpc/server";
import type { Store } from "../state";

/** Shows the server's vocabularies, how much of each is prepared, and prepares them. */
export function vocabularies(store: Store, server: Server, ask: () => void): void {
  const body = h("ul", { class: "vocabularies" });
  const title = h("summary", {});
  const details = h("details", { class: "fold" }, title, body);
  details.addEventListener("toggle", () => {
    if (details.open) void list(store, server);
  });
  place("words").append(details);
  const use = (name: string) => {
    store.set({ vocabulary: store.now.vocabulary === name ? "" : name });
    ask();
  };
  store.watch(["vocabularies", "vocabulary"], (state) => {
    const chosen = state.vocabulary ? `: ${state.vocabulary}` : "";
    fill(title, `Vocabularies of the server${chosen}`);
    fill(body, ...state.vocabularies.map((one) => row(store, server, one, one.name === state.vocabulary, use)));
  });
}

function row(
  store: Store,
  server: Server,
  vocabulary: NamedVocabulary,
  used: boolean,
  use: (name: string) => void,
): HTMLElement {
  const { name, size, phrases, embeddedPhrases } = vocabulary;
  const bar = h("progress", { max: phrases, value: embeddedPhrases, "aria-label": `${name} prepared` });
  const state = h("span", { class: "faint small" }, ready(embeddedPhrases, phrases));
  const prepare = h("button", { type: "button", "aria-label": `Prepare ${name}` }, "Prepare");
  prepare.hidden = embeddedPhrases >= phrases;
  prepare.addEventListener("click", async () => {
    prepare.disabled = true;
    try {
      const progress = server.prepareVocabulary({ vocabulary: { source: { case: "name", value: name } } });
      for await (const now of progress) {
        bar.value = now.embedded;
        bar.max = now.phrases;
        fill(state, ready(now.embedded, now.phrases));
      }
      await list(store, server);
    } catch (error) {
      fill(state, problemOf(error).message);
      prepare.disabled = false;
    }
  });
  const label = used ? `Use the own words instead of ${name}` : `Use ${name}`;
  const choose = h("button", { type: "button", "aria-label": label, "aria-pressed": used, onclick: () => use(name) });
  fill(choose, used ? "Used" : "Use");
  const head = h("span", {}, h("strong", {}, name), h("span", { class: "faint small" }, ` ${count(size, "word")}`));
  return h("li", {}, head, choose, prepare, bar, state);
}

/** Reads what the server knows and how much of it is prepared. */
async function list(store: Store, server: Server): Promise<void> {
  try {
    const { vocabularies } = await server.listVocabularies({});
    store.set({ vocabularies });
  } catch (error) {
    store.set({ offline: problemOf(error) });
  }
}

function ready(embedded: number, phrases: number): string {
  return embedded >= phrases ? "all phrases ready" : `${embedded} of ${count(phrases, "phrase")} ready`;
}
