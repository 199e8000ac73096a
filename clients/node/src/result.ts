// Answers, converted into plain objects and typed arrays.

import type { Duration } from "./generated/google/protobuf/duration";
import type { Mask } from "./generated/sed/v1/mask";
import {
  type Ambiguity as AmbiguityReport,
  type ContrastReport,
  type LatencyReport,
  type RejectionReport,
  Stage,
} from "./generated/sed/v1/report";
import type { BoundingBox, CategoryResult, SegmentResponse } from "./generated/sed/v1/segmentation_service";
import { type Warning, WarningReason } from "./generated/sed/v1/warning";
import { indexMap, runnerUpMap, scoreMap } from "./planes";

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
  /** Values of the message for programs, for example `tokens` and `room`. */
  metadata: Record<string, string>;
}

/** Two categories between which the model could hardly choose in a noticeable part of the picture. */
export interface Ambiguity {
  /** Names of the two, by rising index. */
  names: [string, string];
  /** Indices of the two, rising. */
  indices: [number, number];
  /** Pixels at which one of them is best and the other second best, by a small margin. */
  pixels: number;
  /** The pixels as a share of the mask, 0 to 1. */
  areaShare: number;
  /** Mean margin over these pixels, 0 to 1. */
  meanMargin: number;
  /** Cosine of the categories' text embeddings, -1 to 1; undefined if it could not be had in time. */
  textSimilarity: number | undefined;
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
  /**
   * The score of the best category of every pixel, before thresholds and `minArea`, 0 to 1, row by row; undefined unless it
   * was asked for, as the two that follow.
   */
  confidence: Float32Array | undefined;
  /** The index of the second best category; `unlabelledIndex` where none is left, or where it is a contrast word. */
  runnerUp: Uint16Array | undefined;
  /** The score of the best category less that of the second best; the score itself where `runnerUp` has none. */
  margin: Float32Array | undefined;
  /** The pairs between which the model could hardly choose, the largest first; empty unless they were asked for. */
  ambiguities: Ambiguity[];
  /** The contrast words, and the pixels at which one of them is best, before `minArea`; undefined if there are none. */
  contrast: ContrastReport | undefined;
  /** The picture with the categories painted over it, a PNG file; empty unless it was asked for. */
  overlayPng: Uint8Array;
}

export type { BoundingBox, CategoryResult, ContrastReport, RejectionReport };

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
    ...planes(answer.masks, mask.unlabelledIndex),
    ambiguities: answer.ambiguities.map((found) => ambiguity(found, answer.categories)),
    contrast: answer.contrast,
    overlayPng: answer.overlayPng,
  };
}

function planes(
  masks: readonly Mask[],
  unlabelledIndex: number,
): Pick<Segmentation, "confidence" | "runnerUp" | "margin"> {
  const found: ReturnType<typeof planes> = { confidence: undefined, runnerUp: undefined, margin: undefined };
  for (const mask of masks) {
    const { content } = mask;
    if (content?.$case === "rawScores") found.confidence = scoreMap(content.value);
    if (content?.$case === "runnerUpPng") found.runnerUp = runnerUpMap(mask, content.value, unlabelledIndex);
    if (content?.$case === "rawMargins") found.margin = scoreMap(content.value);
  }
  return found;
}

function ambiguity(found: AmbiguityReport, categories: readonly CategoryResult[]): Ambiguity {
  const { firstIndex, secondIndex, pixels, areaShare, meanMargin, textSimilarity } = found;
  const name = (index: number) => categories[index]?.name ?? "";
  return {
    names: [name(firstIndex), name(secondIndex)],
    indices: [firstIndex, secondIndex],
    pixels,
    areaShare,
    meanMargin,
    textSimilarity,
  };
}

/** Reads the warnings of an answer. One whose reason is newer than this client has its number for it. */
export function warningsOf(warnings: readonly Warning[]): InputWarning[] {
  return warnings.map(({ reason, field, message, metadata }) => {
    const name = WarningReason[reason] ?? String(reason);
    return { reason: name.replace("WARNING_REASON_", ""), field, message, metadata };
  });
}

/** The pixels of one category: 1 where the mask has its index, else 0. */
export function maskOf(found: Segmentation, name: string): Uint8Array {
  const category = categoryOf(found, name);
  return Uint8Array.from(found.mask, (index) => Number(index === category.index));
}

/** Returns the category of a name; RangeError if the vocabulary has none. */
export function categoryOf(found: Segmentation, name: string): CategoryResult {
  const category = found.categories.find((category) => category.name === name);
  if (category === undefined) throw new RangeError(`the vocabulary has no category ${name}`);
  return category;
}

/** Reads a duration. */
export function milliseconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : duration.seconds * 1e3 + duration.nanos / 1e6;
}

/** Makes a duration; undefined for Infinity, which is no limit. */
export function duration(milliseconds: number): Duration | undefined {
  if (milliseconds === Number.POSITIVE_INFINITY) return undefined;
  const nanos = Math.round(milliseconds * 1e6);
  return { seconds: Math.floor(nanos / 1e9), nanos: nanos % 1e9 };
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
