import { fill, h } from "../dom";
import type { Answer, Reading } from "../mask/answer";
import { css } from "../mask/colours";

/** Fills the tip with the values at a pixel: category, score, runner-up and margin. */
export function tooltip(tip: HTMLElement, answer: Answer, { index, score, runnerUp, margin }: Reading): void {
  const name = index === null ? "unlabelled" : nameOf(answer, index);
  const colour = index === null ? undefined : css(answer.palette[index] ?? [128, 128, 128]);
  fill(
    tip,
    h("strong", {}, h("span", { class: "swatch", "--colour": colour }), name),
    score !== null && row("score", score.toFixed(2)),
    runnerUp !== null && row("runner-up", nameOf(answer, runnerUp)),
    margin !== null && row("margin", margin.toFixed(2)),
  );
}

function row(label: string, value: string): HTMLElement {
  return h("span", { class: "row" }, h("span", { class: "faint" }, label), h("span", {}, value));
}

function nameOf(answer: Answer, index: number): string {
  return answer.response.categories[index]?.name ?? `category ${index}`;
}
