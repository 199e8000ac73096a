// The check of every timeout that a caller gives.

/** The longest timeout in milliseconds, some 24 days: timers of Node and of gRPC hold no more. */
const LONGEST = 2 ** 31 - 1;

/**
 * Returns a timeout in milliseconds, `otherwise` where it is left out, and Infinity for one without a limit: Infinity, and
 * whatever is longer than timers hold. Throws a TypeError for what is not a number, and a RangeError for NaN and below 0.
 */
export function timeout(option: string, value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (typeof value !== "number") {
    const found = typeof value === "string" ? JSON.stringify(value) : String(value);
    throw new TypeError(`${option} is ${found}, and must be a number of milliseconds`);
  }
  if (!(value >= 0)) throw new RangeError(`${option} is ${value}, and must be 0 or more milliseconds, or Infinity`);
  return value > LONGEST ? Number.POSITIVE_INFINITY : value;
}
