import type { Answer } from "../mask/answer";
import type { Rgb } from "../mask/png";
import type { View } from "../state";
import { HEAT } from "./heat";

/** The look of a layer. */
export interface Look {
  view: View;
  /** 0 to 1. */
  opacity: number;
  /** The category that is shown alone; `null` shows all. */
  isolated: number | null;
}

/** The colour over everything that is not the isolated category. */
const VEIL: readonly [number, number, number, number] = [18, 20, 24, 190];

/** Paints what lies over the picture. */
export function layer(answer: Answer, look: Look): ImageData {
  const image = new ImageData(answer.width, answer.height);
  const plane = look.view === "confidence" ? answer.scores : look.view === "margin" ? answer.margins : null;
  if (plane) paintValues(image, answer, look, plane);
  else if (look.view === "regions") paintRegions(image, answer, look);
  return image;
}

function paintRegions(image: ImageData, answer: Answer, { opacity, isolated }: Look): void {
  const { indices, palette, unlabelled, width } = answer;
  const alpha = Math.round(255 * opacity);
  for (let at = 0; at < indices.length; at++) {
    const index = indices[at] ?? unlabelled;
    if (isolated !== null && index !== isolated) put(image, at, VEIL, VEIL[3]);
    else if (index !== unlabelled) {
      const colour = palette[index] ?? [128, 128, 128];
      if (onBorder(indices, at, width)) put(image, at, darker(colour), Math.max(alpha, 190));
      else put(image, at, colour, alpha);
    }
  }
}

function paintValues(image: ImageData, answer: Answer, look: Look, plane: Uint8Array | Uint16Array): void {
  // Values hide the picture unless it is asked to shine through: at the usual opacity they are easy to read.
  const alpha = Math.round(255 * Math.sqrt(look.opacity));
  for (let at = 0; at < plane.length; at++) {
    if (look.isolated !== null && answer.indices[at] !== look.isolated) put(image, at, VEIL, VEIL[3]);
    else put(image, at, HEAT[plane[at] ?? 0] ?? [0, 0, 0], alpha);
  }
}

/** Reports whether the right or lower neighbour of a pixel is of another category. */
function onBorder(indices: Uint8Array | Uint16Array, at: number, width: number): boolean {
  const right = (at + 1) % width === 0 ? at : at + 1;
  const below = at + width < indices.length ? at + width : at;
  return indices[at] !== indices[right] || indices[at] !== indices[below];
}

function darker([red, green, blue]: Rgb): Rgb {
  return [red * 0.55, green * 0.55, blue * 0.55];
}

function put(image: ImageData, at: number, colour: readonly number[], alpha: number): void {
  image.data[4 * at] = colour[0] ?? 0;
  image.data[4 * at + 1] = colour[1] ?? 0;
  image.data[4 * at + 2] = colour[2] ?? 0;
  image.data[4 * at + 3] = alpha;
}
