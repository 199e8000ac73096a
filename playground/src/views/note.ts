import { fill, h, place } from "../dom";
import { time } from "../format";
import type { Store } from "../state";

/** Shows what happened to the picture before it was sent, or the pace of the camera. */
export function note(store: Store): void {
  store.watch(["picture", "pace"], ({ picture, pace }) => {
    const text = pace
      ? `${pace.framesPerSecond.toFixed(1)} frames a second, ${time(pace.latencyMs)} each, ${pace.skipped} skipped`
      : (picture?.note ?? "");
    fill(place("note"), text && h("p", { class: "faint small" }, text));
  });
}
