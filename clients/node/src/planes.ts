// Values for every pixel, read from the masks of an answer.

import { endianness } from "node:os";
import type { Mask } from "./generated/sed/v1/mask";
import { decodeIndexPng } from "./png";

/** Reads 16 bits a pixel, little endian; copied, because a message may lie at an odd address and is larger than its mask. */
export function indexMap(raw: Uint8Array): Uint16Array {
  const copy = Buffer.from(Uint8Array.from(raw).buffer);
  if (endianness() === "BE") copy.swap16();
  return new Uint16Array(copy.buffer, copy.byteOffset, copy.byteLength / 2);
}

/** Reads the indices of the second best categories, with the unlabelled index of the best ones. */
export function runnerUpMap(mask: Mask, png: Uint8Array, unlabelledIndex: number): Uint16Array {
  return decodeIndexPng(png).map((index) => (index === mask.unlabelledIndex ? unlabelledIndex : index));
}

/** Reads 16 bit floats, little endian. */
export function scoreMap(raw: Uint8Array): Float32Array {
  HALVES ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => half(bits));
  const halves = HALVES;
  return Float32Array.from(indexMap(raw), (bits) => halves[bits] ?? Number.NaN);
}

/** The values of all 16 bit floats, which JavaScript has no type for yet; made when they are needed first. */
let HALVES: Float32Array | undefined;

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
