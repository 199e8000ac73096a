// Answers, converted into plain objects and typed arrays.

import { endianness } from "node:os";
import type { Duration } from "./generated/google/protobuf/duration";
import { type LatencyReport, type RejectionReport, Stage } from "./generated/sed/v1/report";
import type { BoundingBox, CategoryResult, SegmentResponse } from "./generated/sed/v1/segmentation_service";
import { type Warning, WarningReason } from "./generated/sed/v1/warning";

/** Milliseconds that one stage waited and took. */
export interface StageTime {
  stage: string;
  queueWaitMs: number;
  durationMs: number;
}

/** Times of the server's stages, and its cache hits. */
export interface Timings {
  totalMs: number;
  stages: StageTime[];
  textCacheHits: number;
  textCacheMisses: number;
  vocabularyCacheHit: boolean;
  imageCacheHit: boolean;
}

/** A warning about an accepted request. */
export interface InputWarning {
  /** Stable, for example `PHRASE_CUT`; proto/sed/v1/warning.proto explains each. */
  reason: string;
  /** Path in the request. */
  field: string;
  /** The finding, and its effect on the result. */
  message: string;
}

/** The result for one picture. */
export interface Segmentation {
  /** The index of a category for every pixel, row by row. */
  mask: Uint16Array;
  /** Width of the mask. */
  width: number;
  /** Height of the mask. */
  height: number;
  /** The value of pixels that belong to no category. */
  unlabelledIndex: number;
  unlabelledPixels: number;
  /** One for each category of the vocabulary, in its order, present or not. */
  categories: CategoryResult[];
  /** The report of category early rejection. */
  rejection: RejectionReport;
  timings: Timings;
  /** Size of the picture, after its EXIF orientation. */
  imageSize: { width: number; height: number };
  /** An id that replaces the picture in later requests; empty when the server stores no images. */
  imageId: string;
  requestId: string;
  modelName: string;
  modelDigest: string;
  /** About the words that the request has written out. */
  warnings: InputWarning[];
  /** The picture with the categories painted over it, a PNG file; empty unless it was asked for. */
  overlayPng: Uint8Array;
}

export type { BoundingBox, CategoryResult, RejectionReport };

/** Reads an answer. */
export function segmentation(answer: SegmentResponse): Segmentation {
  const mask = answer.masks[0];
  if (mask?.content?.$case !== "rawIndices") throw new TypeError("the answer has no mask; is it a sed.v1 server?");
  return {
    mask: indexMap(mask.content.value),
    width: answer.maskSize?.width ?? 0,
    height: answer.maskSize?.height ?? 0,
    unlabelledIndex: mask.unlabelledIndex,
    unlabelledPixels: answer.unlabelledPixels,
    categories: answer.categories,
    rejection: answer.rejection ?? { topK: 0, levels: [] },
    timings: timings(answer.latency),
    imageSize: answer.imageSize ?? { width: 0, height: 0 },
    imageId: answer.imageId,
    requestId: answer.requestId,
    modelName: answer.modelName,
    modelDigest: answer.modelDigest,
    warnings: warningsOf(answer.warnings),
    overlayPng: answer.overlayPng,
  };
}

/** Reads the warnings of an answer. One whose reason is newer than this client has its number for it. */
export function warningsOf(warnings: readonly Warning[]): InputWarning[] {
  return warnings.map(({ reason, field, message }) => {
    const name = WarningReason[reason] ?? String(reason);
    return { reason: name.replace("WARNING_REASON_", ""), field, message };
  });
}

/** The pixels of one category: 1 where the mask has its index, else 0. */
export function maskOf(found: Segmentation, name: string): Uint8Array {
  const category = found.categories.find((category) => category.name === name);
  if (category === undefined) throw new RangeError(`the vocabulary has no category ${name}`);
  return Uint8Array.from(found.mask, (index) => Number(index === category.index));
}

/** 16 bits a pixel, little endian; copied, because a message may lie at an odd address and is larger than its mask. */
function indexMap(raw: Uint8Array): Uint16Array {
  const copy = Buffer.from(Uint8Array.from(raw).buffer);
  if (endianness() === "BE") copy.swap16();
  return new Uint16Array(copy.buffer, copy.byteOffset, copy.byteLength / 2);
}

function milliseconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : duration.seconds * 1e3 + duration.nanos / 1e6;
}

function timings(report: LatencyReport | undefined): Timings {
  return {
    totalMs: milliseconds(report?.total),
    stages: (report?.stages ?? []).map(({ stage, queueWait, duration }) => ({
      stage: (Stage[stage] ?? "unknown").replace("STAGE_", "").toLowerCase(),
      queueWaitMs: milliseconds(queueWait),
      durationMs: milliseconds(duration),
    })),
    textCacheHits: report?.textCacheHits ?? 0,
    textCacheMisses: report?.textCacheMisses ?? 0,
    vocabularyCacheHit: report?.vocabularyCacheHit ?? false,
    imageCacheHit: report?.imageCacheHit ?? false,
  };
}
