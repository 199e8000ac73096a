import type { Duration } from "@bufbuild/protobuf/wkt";

/** Converts a duration to milliseconds; an absent one is 0. */
export function milliseconds(duration: Duration | undefined): number {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0;
}

/** Formats milliseconds with three digits or fewer: `0.42 ms`, `18.3 ms`, `240 ms`, `1.42 s`. */
export function time(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms >= 10_000 ? 1 : 2)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 1 ? 1 : 2)} ms`;
}

/** Formats a share of 0 to 1 as a percentage. */
export function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value >= 10 || value === 0 ? 0 : 1)} %`;
}

/** Formats a count with its noun: `1 word`, `3 words`. */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Formats bytes in MiB or KiB. */
export function bytes(size: number): string {
  return size >= 1 << 20 ? `${(size / (1 << 20)).toFixed(1)} MiB` : `${Math.max(1, Math.round(size / 1024))} KiB`;
}
