import { fill, h, place } from "../dom";
import { css } from "../mask/colours";
import { HEAT } from "../paint/heat";
import { type Store, VIEWS, type View } from "../state";

const TITLES: Record<View, string> = {
  regions: "Regions",
  confidence: "Confidence",
  margin: "Margin",
  picture: "Picture",
};

/** Shows the switch of views, the opacity and the scale of values. */
export function viewBar(store: Store): void {
  const radios = VIEWS.map((view) => {
    const choose = () => store.set({ view });
    const input = h("input", { type: "radio", name: "view", value: view, id: `view-${view}`, onchange: choose });
    return { view, input, label: h("label", { for: `view-${view}` }, TITLES[view]) };
  });
  const opacity = h("input", { type: "range", id: "opacity", min: 0, max: 1, step: 0.05 });
  opacity.addEventListener("input", () => store.set({ opacity: opacity.valueAsNumber }));
  const scale = h("span", { class: "scale" }, "0", h("span", { class: "ramp", "--ramp": ramp() }), "1");
  fill(
    place("views"),
    h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: "hidden" }, "View"),
      ...radios.flatMap(({ input, label }) => [input, label]),
    ),
    h("span", { class: "slider" }, h("label", { for: "opacity" }, "Opacity"), opacity),
    scale,
  );
  store.watch(["view", "opacity"], (state) => {
    for (const { view, input } of radios) input.checked = view === state.view;
    opacity.valueAsNumber = state.opacity;
    scale.hidden = state.view !== "confidence" && state.view !== "margin";
  });
}

function ramp(): string {
  const stops = [0, 64, 128, 191, 255].map((value) => css(HEAT[value] ?? [0, 0, 0]));
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
