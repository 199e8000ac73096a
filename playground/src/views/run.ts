import type { Asking } from "../asking";
import { fill, h, place } from "../dom";
import type { Store } from "../state";

/** Shows the button that asks, or ends the question that runs. */
export function run(store: Store, asking: Asking): void {
  const button = h("button", { type: "button", class: "primary", id: "segment" });
  button.addEventListener("click", () => {
    const { kind } = store.now.phase;
    if (kind === "asking" || kind === "waiting") asking.stop();
    else void asking.ask();
  });
  fill(place("run"), button);
  store.watch(["phase", "picture"], ({ phase, picture }) => {
    const busy = phase.kind === "asking" || phase.kind === "waiting";
    button.disabled = !picture;
    button.setAttribute("aria-busy", String(busy));
    fill(button, busy ? "Stop" : "Segment");
    place("stage").classList.toggle("busy", phase.kind === "asking");
  });
}
