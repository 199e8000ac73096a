import { fill, h, place } from "../dom";
import { count } from "../format";
import type { LevelReport } from "../generated/sed/v1/report_pb";
import type { Answer } from "../mask/answer";
import type { Server } from "../rpc/server";
import type { Store } from "../state";
import type { Word } from "../words";
import { fold } from "./legend";

/** The list that makes few words many, and the number from which they are enough to be rejected. */
const OTHERS = "ade20k-150";
const MANY_WORDS = 60;

/** Shows the rejection as a funnel from level to level, with the rejected words to unfold. */
export function funnel(store: Store, server: Server, ask: () => void): void {
  const more = h("button", { type: "button" }, `Add words of ${OTHERS}`);
  more.addEventListener("click", async () => {
    const { words } = store.now;
    store.set({ words: [...words, ...(await otherWords(server, words))] });
    ask();
  });
  store.watch(["answer"], ({ answer, vocabulary }) => {
    const few = answer && !vocabulary && answer.response.categories.length < MANY_WORDS;
    const hint = h("p", { class: "small hint" }, "With few words there is little to reject. ", more);
    fill(place("funnel"), ...(answer ? steps(answer) : [h("p", { class: "faint" }, "No answer yet.")]), few && hint);
  });
}

function steps({ response }: Answer): HTMLElement[] {
  const { rejection, categories } = response;
  const all = categories.length;
  const rule = rejection?.topK
    ? `Before each level only words stay that are among the ${rejection.topK} best at some position.`
    : "Rejection is off: every word goes through every level.";
  return [
    h("p", { class: "faint small" }, rule),
    step("asked for", all, all),
    ...(rejection?.levels ?? []).flatMap((level) => [
      step(`level ${level.level}`, level.survivors.length, all, contrastOf(level)),
      ...rejectedOf(level, categories),
    ]),
  ];
}

function step(title: string, left: number, all: number, more = ""): HTMLElement {
  return h(
    "div",
    { class: "step" },
    h("span", { class: "faint" }, title),
    h("span", { class: "track" }, h("span", { class: "left", "--share": all ? left / all : 0 })),
    h("span", { class: "number" }, count(left, "word"), more && h("span", { class: "faint small" }, more)),
  );
}

function contrastOf({ contrastCandidates, contrastSurvivors }: LevelReport): string {
  return contrastCandidates > 0 ? ` + ${contrastSurvivors} contrast` : "";
}

function rejectedOf({ rejected }: LevelReport, categories: readonly { name: string }[]): HTMLElement[] {
  const names = rejected.map((index) => categories[index]?.name ?? "");
  return names.length > 0 ? [fold(`${names.length} rejected`, names)] : [];
}

/** The names of a published list, without those that share a word with one that is there. */
async function otherWords(server: Server, words: readonly Word[]): Promise<Word[]> {
  const { vocabulary } = await server.getVocabulary({ name: OTHERS });
  const parts = (phrase: string) => phrase.toLowerCase().split(/\s+/);
  const known = new Set(words.flat().flatMap(parts));
  const names = (vocabulary?.categories ?? []).map(({ name }) => name.trim());
  return names.filter((name) => !parts(name).some((part) => known.has(part))).map((name) => [name]);
}
