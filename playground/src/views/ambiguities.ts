import { fill, h, place } from "../dom";
import { percent } from "../format";
import type { Ambiguity } from "../generated/sed/v1/report_pb";
import type { Answer } from "../mask/answer";
import type { Store } from "../state";
import { join } from "../words";

/** Shows the pairs of categories between which the model could hardly choose, and offers to join them. */
export function ambiguities(store: Store, ask: () => void): void {
  const area = h("div", { id: "ambiguities" });
  place("legend").after(area);
  store.watch(["answer"], ({ answer, vocabulary }) => {
    const pairs = answer?.response.ambiguities ?? [];
    const joined = ({ firstIndex, secondIndex }: Ambiguity) => {
      store.set({ words: join(store.now.words, firstIndex, secondIndex) });
      ask();
    };
    fill(
      area,
      pairs.length > 0 && h("h3", {}, "Unsure"),
      ...pairs.map((pair) => answer && line(answer, pair, vocabulary ? null : () => joined(pair))),
    );
  });
}

function line({ response }: Answer, pair: Ambiguity, joined: (() => void) | null): HTMLElement {
  const [first, second] = [pair.firstIndex, pair.secondIndex].map((index) => response.categories[index]?.name ?? "");
  const alike = pair.textSimilarity === undefined ? "" : `, words alike by ${pair.textSimilarity.toFixed(2)}`;
  const facts = `${percent(pair.areaShare)} of the picture, margin ${pair.meanMargin.toFixed(2)}${alike}`;
  return h(
    "p",
    { class: "pair" },
    h("span", {}, h("strong", {}, first), " or ", h("strong", {}, second), h("span", { class: "faint small" }, facts)),
    joined && h("button", { type: "button", onclick: joined, "aria-label": `Join ${first} and ${second}` }, "Join"),
  );
}
