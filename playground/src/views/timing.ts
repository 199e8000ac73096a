import { fill, h, place } from "../dom";
import { count, milliseconds, time } from "../format";
import { type Batch, Stage, type StageLatency } from "../generated/sed/v1/report_pb";
import type { Answer } from "../mask/answer";
import type { Store } from "../state";

const TITLES: Record<number, string> = {
  [Stage.IMAGE_DECODE]: "image decode",
  [Stage.TEXT_EMBEDDING]: "text embedding",
  [Stage.ENCODE]: "encode",
  [Stage.COST_MAP]: "cost map",
  [Stage.DECODE_LEVEL_1]: "decode level 1",
  [Stage.DECODE_LEVEL_2]: "decode level 2",
  [Stage.DECODE_LEVEL_3]: "decode level 3",
  [Stage.FINISH]: "finish",
  [Stage.MASK_ENCODING]: "mask encoding",
};

/** A wait that is worth a word, in milliseconds. */
const WORTH_SAYING_MS = 0.5;

/** Shows the report of times as bars by stage, with waiting and batches. */
export function timing(store: Store): void {
  store.watch(["answer"], ({ answer }) => {
    fill(place("time"), ...(answer ? rows(answer) : [h("p", { class: "faint" }, "No answer yet.")]));
  });
}

function rows({ response, roundTripMs, byId }: Answer): HTMLElement[] {
  const { latency } = response;
  const total = milliseconds(latency?.total);
  let begun = 0;
  const bars = (latency?.stages ?? []).map((stage) => {
    const bar = stageBar(stage, begun, total);
    begun += milliseconds(stage.queueWait) + milliseconds(stage.duration);
    return bar;
  });
  const facts = [
    byId && "the picture went by its id",
    latency?.imageCacheHit && "encoder skipped: the server had its features",
    latency?.vocabularyCacheHit && "vocabulary cached",
    latency && !latency.vocabularyCacheHit && `${latency.textCacheHits} phrases cached, ${latency.textCacheMisses} new`,
  ].filter((fact) => typeof fact === "string");
  return [
    h(
      "p",
      { class: "total" },
      h("strong", {}, time(total)),
      h("span", { class: "faint" }, `on the server, ${time(roundTripMs)} in the browser`),
    ),
    h("p", { class: "badges" }, ...facts.map((fact) => h("span", { class: "badge" }, fact))),
    h("ol", { class: "stages" }, ...bars),
    h("p", { class: "faint small key" }, h("i", { class: "wait" }), "waiting", h("i", { class: "work" }), "working"),
  ];
}

function stageBar({ stage, queueWait, duration, batches }: StageLatency, begun: number, total: number): HTMLElement {
  const [wait, work] = [milliseconds(queueWait), milliseconds(duration)];
  const share = (ms: number) => (total > 0 ? ms / total : 0);
  const facts = batches.map((batch) => `batch of ${sizeOf(batch, stage)}`);
  if (wait >= WORTH_SAYING_MS) facts.push(`waited ${time(wait)}`);
  return h(
    "li",
    {},
    h("span", { class: "stage" }, TITLES[stage] ?? `stage ${stage}`),
    h(
      "span",
      { class: "track", "--begun": share(begun), "--waited": share(wait), "--worked": share(work) },
      h("span", { class: "wait" }),
      h("span", { class: "work" }),
    ),
    h("span", { class: "number" }, time(work)),
    h("span", { class: "faint small batches" }, facts.join(", ")),
  );
}

function sizeOf({ images, pairs }: Batch, stage: Stage): string {
  const parts = [images > 0 && count(images, "picture"), pairs > 0 && count(pairs, pairNoun(stage))];
  return parts.filter(Boolean).join(" and ");
}

function pairNoun(stage: Stage): string {
  return stage === Stage.TEXT_EMBEDDING ? "phrase" : "pair";
}
