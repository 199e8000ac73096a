import { h, place } from "../dom";
import type { Answer } from "../mask/answer";
import type { Picture } from "../picture/picture";
import type { Store } from "../state";
import { layer } from "./layer";
import { Pointer } from "./pointer";

/** The longer side of the canvas, in pixels. */
const SIDE = 1280;

/** Draws picture and answer on the canvas, and follows the pointer over it. */
export function stage(store: Store): void {
  const canvas = h("canvas", { id: "canvas", role: "img", tabindex: 0, "aria-describedby": "canvas-help" });
  const over = document.createElement("canvas");
  place("stage").prepend(canvas);
  new Pointer(canvas, store).follow();

  store.watch(["answer", "view", "opacity", "isolated", "picture"], ({ answer, ...look }) => {
    const size = canvasSize(look.picture?.width ? look.picture : answer);
    canvas.width = size.width;
    canvas.height = size.height;
    const context = canvas.getContext("2d");
    if (!context) return;
    if (look.picture?.bitmap) context.drawImage(look.picture.bitmap, 0, 0, canvas.width, canvas.height);
    if (answer) {
      over.width = answer.width;
      over.height = answer.height;
      over.getContext("2d")?.putImageData(layer(answer, look), 0, 0);
      context.drawImage(over, 0, 0, canvas.width, canvas.height);
    }
    canvas.setAttribute("aria-label", description(look.picture, answer));
  });
}

function canvasSize(shown: { width: number; height: number } | null): { width: number; height: number } {
  if (!shown) return { width: SIDE, height: (SIDE * 3) / 4 };
  const scale = SIDE / Math.max(shown.width, shown.height);
  return { width: Math.round(shown.width * scale), height: Math.round(shown.height * scale) };
}

function description(picture: Picture | null, answer: Answer | null): string {
  if (!picture) return "no picture yet";
  if (!answer) return `the picture ${picture.name}, not segmented yet`;
  const present = answer.response.categories.filter((category) => category.pixels > 0n);
  const largest = present.sort((one, other) => Number(other.pixels - one.pixels)).slice(0, 5);
  return `the picture ${picture.name} with its regions: ${largest.map(({ name }) => name).join(", ")}`;
}
