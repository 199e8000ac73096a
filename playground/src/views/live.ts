import { fill, place } from "../dom";
import { count, milliseconds, percent, time } from "../format";
import type { Answer } from "../mask/answer";
import type { State, Store } from "../state";

/** Says the progress and the result for screen readers. */
export function live(store: Store): void {
  store.watch(["phase", "answer"], (state) => fill(place("status"), sentence(state)));
  store.watch(["isolated"], ({ isolated, answer }) => {
    const name = isolated === null ? "all categories" : answer?.response.categories[isolated]?.name;
    if (answer) fill(place("read"), `${name} shown`);
  });
}

function sentence({ phase, answer }: Readonly<State>): string {
  if (phase.kind === "asking") return "segmenting";
  if (phase.kind === "waiting") return "the server asks to wait";
  return phase.kind === "idle" && answer ? summary(answer) : "";
}

function summary({ response }: Answer): string {
  const present = response.categories.filter(({ pixels }) => pixels > 0n);
  const largest = present.sort((one, two) => Number(two.pixels - one.pixels)).slice(0, 3);
  const areas = largest.map(({ name, areaShare }) => `${name} ${percent(areaShare)}`).join(", ");
  const found = `${count(present.length, "word")} found in ${time(milliseconds(response.latency?.total))}`;
  return areas ? `${found}: ${areas}` : found;
}
