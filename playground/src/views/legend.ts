import { fill, h, place } from "../dom";
import { count, percent } from "../format";
import type { CategoryResult } from "../generated/sed/v1/segmentation_service_pb";
import type { Answer } from "../mask/answer";
import { css } from "../mask/colours";
import type { Store } from "../state";

/** Shows the categories with their areas and scores. A category is shown alone when it is pressed. */
export function legend(store: Store): void {
  store.watch(["answer"], ({ answer }) => {
    fill(place("legend"), ...(answer ? entries(store, answer) : [h("p", { class: "faint" }, "No answer yet.")]));
  });
  store.watch(["isolated"], ({ isolated }) => {
    for (const button of place("legend").querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(button.dataset.index === String(isolated)));
  });
}

function entries(store: Store, answer: Answer): HTMLElement[] {
  const { categories, unlabelledPixels, contrast, warnings } = answer.response;
  const present = categories.filter(({ pixels }) => pixels > 0n).sort((one, two) => Number(two.pixels - one.pixels));
  const absent = categories.filter(({ pixels }) => pixels === 0n);
  const largest = present[0]?.areaShare ?? 1;
  const found: HTMLElement[] = [
    h("ul", { class: "legend" }, ...present.map((one) => entry(store, answer, one, largest))),
  ];
  if (unlabelledPixels > 0n) {
    const share = Number(unlabelledPixels) / (answer.width * answer.height);
    const why = contrast?.names.length ? ", contrast words among them" : "";
    found.push(h("p", { class: "faint small" }, `${percent(share)} unlabelled${why}`));
  }
  if (contrast?.names.length) found.push(fold(count(contrast.names.length, "contrast word"), contrast.names));
  const names = absent.map(({ name }) => name);
  if (names.length > 0) found.push(fold(`${count(names.length, "word")} absent`, names));
  found.push(...warnings.map(({ message }) => h("p", { class: "remark" }, message)));
  return found;
}

function entry(store: Store, answer: Answer, category: CategoryResult, largest: number): HTMLElement {
  const { index, name, areaShare, meanScore } = category;
  const press = () => store.set({ isolated: store.now.isolated === index ? null : index });
  const colour = css(answer.palette[index] ?? [128, 128, 128]);
  return h(
    "li",
    {},
    h(
      "button",
      { type: "button", "data-index": index, "aria-pressed": "false", "--colour": colour, onclick: press },
      h("span", { class: "swatch", "--colour": colour }),
      h("span", { class: "name" }, name),
      h("span", { class: "share" }, percent(areaShare)),
      h("span", { class: "score", title: "mean score" }, meanScore.toFixed(2)),
      h("span", { class: "bar", "--share": areaShare / largest }),
    ),
  );
}

/** A list that unfolds. */
export function fold(title: string, names: readonly string[]): HTMLElement {
  const items = names.map((name) => h("li", {}, name));
  return h("details", { class: "fold" }, h("summary", {}, title), h("ul", { class: "names" }, ...items));
}
