// The checks of options, whose errors name the option and the value.

/** The largest uint32, as which the protocol sends whole numbers. */
const LARGEST = 2 ** 32 - 1;

/** The names of a type's options; a name that is missing is an error of the compiler. */
export type Names<Of> = Readonly<Record<keyof Required<Of>, true>>;

/** Throws a TypeError for options that are not an object, and for those whose names are not known. */
export function checkKnown(options: unknown, known: Readonly<Record<string, true>>): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`options are an object, not ${described(options)}`);
  }
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(known, name));
  if (unknown.length > 0) {
    throw new TypeError(`unknown options: ${unknown.sort().join(", ")}; known are ${Object.keys(known).join(", ")}`);
  }
}

/** Returns the value that stands for a name; TypeError for names that are not in the table. */
export function chosen<Value>(option: string, values: Readonly<Record<string, Value>>, name: unknown): Value {
  if (typeof name === "string" && Object.hasOwn(values, name)) return values[name] as Value;
  const names = Object.keys(values).map((name) => JSON.stringify(name));
  throw new TypeError(`${option} is ${names.join(" or ")}, not ${described(name)}`);
}

/** Returns a boolean, false where it is left out; TypeError for all else. */
export function flag(option: string, value: unknown): boolean {
  if (value === undefined || typeof value === "boolean") return value ?? false;
  throw new TypeError(`${option} is true or false, not ${described(value)}`);
}

/** Returns an integer of 0 or more; TypeError for what is not a number, RangeError for other numbers. */
export function whole(option: string, value: unknown): number {
  const found = number(option, value);
  if (Number.isInteger(found) && found >= 0 && found <= LARGEST) return found;
  throw new RangeError(`${option} is ${found}, and must be an integer from 0 to ${LARGEST}`);
}

/** Returns a score; TypeError for what is not a number, RangeError for other numbers. */
export function score(option: string, value: unknown): number {
  const found = number(option, value);
  if (found >= 0 && found <= 1) return found;
  throw new RangeError(`${option} is ${found}, and must be a number from 0 to 1`);
}

/** Returns a text; TypeError for all else. */
export function text(option: string, value: unknown): string {
  if (typeof value === "string") return value;
  throw new TypeError(`${option} is a text, not ${described(value)}`);
}

/** Describes a wrong argument in few words. */
export function described(value: unknown): string {
  if (typeof value === "string") return `the text ${JSON.stringify(value)}`;
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : `[${value.map(described).join(", ")}]`;
  if (typeof value === "number" || typeof value === "boolean") return `the ${typeof value} ${value}`;
  return value === null || value === undefined ? String(value) : `a ${value.constructor?.name ?? typeof value}`;
}

function number(option: string, value: unknown): number {
  if (typeof value === "number") return value;
  throw new TypeError(`${option} is a number, not ${described(value)}`);
}
