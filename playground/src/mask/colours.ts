import type { Rgb } from "./png";

/** The angle between the hues of two neighbours: the golden one, so that no hue repeats soon. */
const STEP = 137.508;

/** Colours for `count` categories: those of the palette, and made ones behind it, as a 16-bit mask has no palette. */
export function colours(palette: readonly Rgb[], count: number): Rgb[] {
  return Array.from({ length: count }, (_, index) => palette[index] ?? made(index));
}

/** Writes a colour for CSS. */
export function css([red, green, blue]: Rgb): string {
  return `rgb(${red} ${green} ${blue})`;
}

function made(index: number): Rgb {
  const hue = (index * STEP) % 360;
  const channel = (shift: number) => {
    const at = (shift + hue / 30) % 12;
    return Math.round(255 * (0.6 - 0.3 * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}
