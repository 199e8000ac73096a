import type { Mask } from "../generated/sed/v1/mask_pb";
import type { SegmentResponse } from "../generated/sed/v1/segmentation_service_pb";
import { colours } from "./colours";
import { decodePlane, type Plane, type Rgb } from "./png";

/** An answer with its planes decoded. */
export interface Answer {
  response: SegmentResponse;
  width: number;
  height: number;
  /** The index of the best category at each pixel, row by row, or `unlabelled`. */
  indices: Uint8Array | Uint16Array;
  /** The score of the best category, 0 to 255 for 0 to 1; `null` where it was not asked for. */
  scores: Uint8Array | Uint16Array | null;
  /** The index of the second best category, or `runnerUnlabelled`; `null` where it was not asked for. */
  runnerUps: Uint8Array | Uint16Array | null;
  /** The first score less the second, 0 to 255 for 0 to 1; `null` where it was not asked for. */
  margins: Uint8Array | Uint16Array | null;
  unlabelled: number;
  runnerUnlabelled: number;
  /** A colour for each category: those of the mask's palette. */
  palette: readonly Rgb[];
  /** Time from the call to the whole answer, in milliseconds. */
  roundTripMs: number;
  /** The picture was asked about by its id, without its bytes. */
  byId: boolean;
}

/** Values at one pixel. */
export interface Reading {
  /** Index of the category; `null` at an unlabelled pixel. */
  index: number | null;
  score: number | null;
  runnerUp: number | null;
  margin: number | null;
}

/** Decodes the planes of an answer. */
export async function decodeAnswer(response: SegmentResponse, roundTripMs: number, byId: boolean): Promise<Answer> {
  const contents = ["indexPng", "scorePng", "runnerUpPng", "marginPng"] as const;
  const masks = contents.map((content) => response.masks.find((mask) => mask.content.case === content));
  const planes = await Promise.all(masks.map(decoded));
  const [index, score, runnerUp, margin] = planes;
  if (!index) throw new Error("the answer holds no index map");
  return {
    response,
    width: index.width,
    height: index.height,
    indices: index.values,
    scores: score?.values ?? null,
    runnerUps: runnerUp?.values ?? null,
    margins: margin?.values ?? null,
    unlabelled: masks[0]?.unlabelledIndex ?? 255,
    runnerUnlabelled: masks[2]?.unlabelledIndex ?? 255,
    palette: colours(index.palette, response.categories.length),
    roundTripMs,
    byId,
  };
}

/** Reads the values at a pixel. */
export function read(answer: Answer, x: number, y: number): Reading {
  const at = y * answer.width + x;
  const index = answer.indices[at] ?? answer.unlabelled;
  const second = answer.runnerUps?.[at] ?? answer.runnerUnlabelled;
  return {
    index: index === answer.unlabelled ? null : index,
    score: answer.scores ? (answer.scores[at] ?? 0) / 255 : null,
    runnerUp: second === answer.runnerUnlabelled ? null : second,
    margin: answer.margins ? (answer.margins[at] ?? 0) / 255 : null,
  };
}

async function decoded(mask: Mask | undefined): Promise<Plane | null> {
  return mask?.content.value instanceof Uint8Array ? decodePlane(mask.content.value) : null;
}
