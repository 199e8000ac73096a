// Requests, from pictures and words as programs have them.

import { readFile } from "node:fs/promises";
import { Image } from "./generated/sed/v1/image";
import {
  MaskEncoding,
  OutputSizePreset,
  Overlay,
  Priority,
  ResizeMode,
  SegmentOptions,
} from "./generated/sed/v1/options";
import { SegmentRequest } from "./generated/sed/v1/segmentation_service";
import { CategoryList, type Vocabulary } from "./generated/sed/v1/vocabulary";

/** A path, the bytes of an image file, RGB pixels row by row (3 bytes each), or the id of an earlier picture. */
export type Picture = string | Uint8Array | { pixels: Uint8Array; width: number; height: number } | { imageId: string };

/** Categories, for each its name or a list of its name and synonyms; or the name of a vocabulary of the server. */
export type Words = readonly (string | readonly string[])[] | { vocabulary: string };

/** How to segment, and what to answer with; proto/sed/v1/options.proto says what each means. */
export interface Options {
  topK?: number;
  scoreThreshold?: number;
  /** Size of the mask; without it that of the picture. */
  size?: "model" | { width: number; height: number };
  resize?: "direct" | "two_step";
  minArea?: number;
  /** Have the server paint the categories over the picture: `Segmentation.overlayPng`. */
  overlay?: boolean;
  priority?: "low" | "normal" | "high";
  listRejected?: boolean;
}

const RESIZE = { direct: ResizeMode.RESIZE_MODE_DIRECT, two_step: ResizeMode.RESIZE_MODE_TWO_STEP };
const PRIORITY = { low: Priority.PRIORITY_LOW, normal: Priority.PRIORITY_NORMAL, high: Priority.PRIORITY_HIGH };

/** Makes the request for one picture. */
export async function segmentRequest(
  picture: Picture,
  words: Words,
  options: Options,
  requestId: string,
): Promise<SegmentRequest> {
  return SegmentRequest.fromPartial({
    image: await image(picture),
    vocabulary: vocabulary(words),
    options: segmentOptions(options),
    requestId,
  });
}

/** Brings categories into a message. */
export function categoryList(categories: readonly (string | readonly string[])[]): CategoryList {
  const made = categories.map((category) => {
    const [name = "", ...synonyms] = typeof category === "string" ? [category] : category;
    return { name, synonyms };
  });
  return CategoryList.fromPartial({ categories: made });
}

function vocabulary(words: Words): Vocabulary {
  if ("vocabulary" in words) return { source: { $case: "name", value: words.vocabulary } };
  return { source: { $case: "categories", value: categoryList(words) } };
}

async function image(picture: Picture): Promise<Image> {
  if (typeof picture === "string") return image(await readFile(picture));
  if (picture instanceof Uint8Array) {
    return Image.fromPartial({
      source: { $case: "encoded", value: Buffer.from(picture.buffer, picture.byteOffset, picture.byteLength) },
    });
  }
  if ("imageId" in picture) return Image.fromPartial({ source: { $case: "id", value: picture.imageId } });
  return Image.fromPartial({ source: { $case: "raw", value: { ...picture, pixels: Buffer.from(picture.pixels) } } });
}

function segmentOptions(options: Options): SegmentOptions {
  const made = SegmentOptions.fromPartial({
    resizeMode: RESIZE[options.resize ?? "direct"],
    maskEncodings: [MaskEncoding.MASK_ENCODING_RAW],
    minArea: options.minArea ?? 0,
    priority: PRIORITY[options.priority ?? "normal"],
    listRejected: options.listRejected ?? false,
    topK: options.topK,
    scoreThreshold: options.scoreThreshold,
    overlay: options.overlay ? Overlay.fromPartial({}) : undefined,
  });
  if (options.size === "model") {
    made.outputSize = { kind: { $case: "preset", value: OutputSizePreset.OUTPUT_SIZE_PRESET_MODEL } };
  } else if (options.size !== undefined) {
    made.outputSize = { kind: { $case: "exact", value: options.size } };
  }
  return made;
}
