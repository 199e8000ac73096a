import { fill, h, place } from "../dom";
import { count } from "../format";
import type { LevelReport } from "../generated/sed/v1/report_pb";
import type { Answer } from "../mask/answer";
import type { Store } from "../state";
import { fold } from "./legend";

/** Shows the rejection as a funnel from level to level, with the rejected words to unfold. */
export function funnel(store: Store): void {
  store.watch(["answer"], ({ answer }) => {
    fill(place("funnel"), ...(answer ? steps(answer) : [h("p", { class: "faint" }, "No answer yet.")]));
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
