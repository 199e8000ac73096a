import type { Rgb } from "../mask/png";

/** The colours of low to high values: from a deep blue over teal to a light yellow, rising in lightness. */
const STOPS: readonly Rgb[] = [
  [44, 30, 94],
  [49, 89, 148],
  [38, 145, 142],
  [104, 196, 106],
  [250, 231, 92],
];

/** A colour for each of 256 values. */
export const HEAT: readonly Rgb[] = Array.from({ length: 256 }, (_, value) => {
  const at = (value / 255) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  const [from, to] = [STOPS[low] as Rgb, STOPS[low + 1] as Rgb];
  const mix = (channel: 0 | 1 | 2) => Math.round(from[channel] + (to[channel] - from[channel]) * (at - low));
  return [mix(0), mix(1), mix(2)];
});
