// Requests, made from pictures and words.

import { readFile } from "node:fs/promises";
import { types } from "node:util";
import { checkKnown, chosen, described, flag, type Names, score, text, whole } from "./checks";
import { unreadable } from "./errors";
import { Image } from "./generated/sed/v1/image";
import {
  type CategoryThreshold,
  MaskEncoding,
  type OutputSize,
  OutputSizePreset,
  Overlay,
  Priority,
  ResizeMode,
  SegmentOptions,
} from "./generated/sed/v1/options";
import { SegmentRequest } from "./generated/sed/v1/segmentation_service";
import {
  CategoryList,
  type Contrast,
  CreateVocabularyRequest,
  PrepareVocabularyRequest,
  SynonymMode,
  type Vocabulary,
} from "./generated/sed/v1/vocabulary";
import { timeout } from "./timeouts";

/** Bytes in any of JavaScript's types for them. */
export type Bytes = ArrayBufferLike | ArrayBufferView;

/**
 * A path, the bytes of an image file (or a Blob of them, such as an uploaded File), RGB pixels row by row (3 bytes each),
 * or the id of an earlier picture.
 */
export type Picture = string | Bytes | Blob | { pixels: Bytes; width: number; height: number } | { imageId: string };

/** Categories, for each its name or a list of its name and synonyms; or the name of a vocabulary of the server. */
export type Words = readonly (string | readonly string[])[] | { vocabulary: string };

/** Options of the words; proto/sed/v1/vocabulary.proto explains each. Left out, a named vocabulary's own hold. */
export interface WordOptions {
  /**
   * `mean` looks for the mean of a category's phrases (the default of words written out), `best` for every phrase, of which
   * the best one counts at each pixel.
   */
  synonyms?: "mean" | "best";
  /**
   * Words for what else the picture may show. They compete with the categories, and their pixels are unlabelled. `auto` is
   * the server's choice, null is none.
   */
  contrast?: "auto" | Words | null;
}

/** Options of the segmentation and of its answer; proto/sed/v1/options.proto explains each. */
export interface Options extends WordOptions {
  topK?: number;
  scoreThreshold?: number;
  /** Thresholds by the name of a category, in a Map also by its index; they override `scoreThreshold`. */
  categoryThresholds?: Readonly<Record<string, number>> | ReadonlyMap<string | number, number>;
  /** Size of the mask; without it that of the picture. */
  size?: "model" | { width: number; height: number };
  resize?: "direct" | "two_step";
  minArea?: number;
  /**
   * Have the server paint the categories over the picture: `Segmentation.overlayPng`; `fade_unsure` fades the colours where
   * the margin is small.
   */
  overlay?: boolean | "fade_unsure";
  priority?: "low" | "normal" | "high";
  listRejected?: boolean;
  /** Have `Segmentation.confidence` in the answer. */
  confidence?: boolean;
  /** Have `Segmentation.runnerUp` in the answer. */
  runnerUp?: boolean;
  /** Have `Segmentation.margin` in the answer. */
  margin?: boolean;
  /** Have `Segmentation.ambiguities` in the answer. */
  reportAmbiguities?: boolean;
}

export const WORD_OPTIONS: Names<WordOptions> = { synonyms: true, contrast: true };

export const OPTIONS: Names<Options> = {
  topK: true,
  scoreThreshold: true,
  categoryThresholds: true,
  size: true,
  resize: true,
  minArea: true,
  overlay: true,
  priority: true,
  listRejected: true,
  confidence: true,
  runnerUp: true,
  margin: true,
  reportAmbiguities: true,
  ...WORD_OPTIONS,
};

/** A picture with words, a timeout or options of its own; what it leaves out is that of its stream or live session. */
export interface Request extends Options {
  picture: Picture;
  words?: Words;
  timeoutMs?: number;
}

const REQUEST_OPTIONS: Names<Request> = { picture: true, words: true, timeoutMs: true, ...OPTIONS };

const SYNONYMS = { mean: SynonymMode.SYNONYM_MODE_MEAN, best: SynonymMode.SYNONYM_MODE_BEST };

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
    vocabulary: vocabulary(words, options),
    options: segmentOptions(options),
    requestId: text("requestId", requestId),
  });
}

/** The words, the timeout and the options of requests that have none of their own. */
export class Defaults {
  readonly #words: Words | undefined;
  readonly #timeoutMs: number;
  readonly #options: Options;

  /** Throws for options that are wrong for every picture. */
  constructor(words: Words | undefined, timeoutMs: number, options: Options) {
    segmentOptions(options);
    synonymMode(options);
    this.#words = words;
    this.#timeoutMs = timeoutMs;
    this.#options = options;
  }

  /** Milliseconds that the server has for a picture; Infinity without a limit. */
  timeoutMsOf(picture: Picture | Request): number {
    return timeout("timeoutMs", isRequest(picture) ? picture.timeoutMs : undefined, this.#timeoutMs);
  }

  /** Makes the message for a picture; an InvalidRequest where its file cannot be read. */
  async message(item: Picture | Request, requestId: string): Promise<SegmentRequest> {
    const { picture, words, ...options } = isRequest(item) ? item : { picture: item };
    if (isRequest(item)) checkKnown(item, REQUEST_OPTIONS);
    try {
      // Checked when the message is made: words that are missing here and there are an error like wrong ones.
      return await segmentRequest(
        picture,
        (words ?? this.#words) as Words,
        { ...this.#options, ...options },
        requestId,
      );
    } catch (error) {
      throw isOfFile(error) ? unreadable(error) : error;
    }
  }
}

function isRequest(item: Picture | Request): item is Request {
  return typeof item === "object" && item !== null && "picture" in item;
}

/** Recognises the errors of reading a file or a Blob: faults of one picture, not of the caller's program. */
function isOfFile(error: unknown): error is Error {
  if (typeof error !== "object" || error === null) return false;
  return "syscall" in error || ("name" in error && error.name === "NotReadableError");
}

/** Makes the request that registers words. */
export function newVocabulary(
  categories: readonly (string | readonly string[])[],
  options: WordOptions & { embed?: boolean },
): CreateVocabularyRequest {
  return CreateVocabularyRequest.fromPartial({
    categories: categoryList(categories),
    embed: flag("embed", options.embed),
    synonymMode: synonymMode(options),
    contrast: contrast(options),
  });
}

/** Makes the request that prepares words. */
export function preparationRequest(words: Words, options: WordOptions): PrepareVocabularyRequest {
  return PrepareVocabularyRequest.fromPartial({ vocabulary: vocabulary(words, options) });
}

/** Converts categories into a message. */
export function categoryList(categories: readonly (string | readonly string[])[]): CategoryList {
  if (!Array.isArray(categories)) throw new TypeError(`categories are an array of names, not ${described(categories)}`);
  const made = categories.map((category, number) => {
    const phrases: unknown = typeof category === "string" ? [category] : category;
    if (!Array.isArray(phrases) || phrases.length === 0 || phrases.some((phrase) => typeof phrase !== "string")) {
      const found = described(category);
      throw new TypeError(`category ${number} is a name or an array of a name and its synonyms, not ${found}`);
    }
    const [name, ...synonyms] = phrases;
    return { name, synonyms };
  });
  return CategoryList.fromPartial({ categories: made });
}

function vocabulary(words: Words, options: WordOptions): Vocabulary {
  return { source: source(words), synonymMode: synonymMode(options), contrast: contrast(options) };
}

function source(words: Words): { $case: "categories"; value: CategoryList } | { $case: "name"; value: string } {
  if (Array.isArray(words)) return { $case: "categories", value: categoryList(words) };
  if (typeof words === "object" && words !== null && "vocabulary" in words) {
    return { $case: "name", value: text("vocabulary", words.vocabulary) };
  }
  throw new TypeError(`words are an array of names, or { vocabulary: NAME }, not ${described(words)}`);
}

function synonymMode({ synonyms }: WordOptions): SynonymMode {
  if (synonyms === undefined) return SynonymMode.SYNONYM_MODE_UNSPECIFIED;
  return chosen("synonyms", SYNONYMS, synonyms);
}

/** The contrast words; a message without a source where there are to be none. */
function contrast({ contrast }: WordOptions): Contrast | undefined {
  if (contrast === undefined) return undefined;
  if (contrast === null) return { source: undefined };
  if (contrast === "auto") return { source: { $case: "automatic", value: {} } };
  return { source: source(contrast) };
}

async function image(picture: Picture): Promise<Image> {
  if (typeof picture === "string") return encoded(await readFile(picture));
  if (isBytes(picture)) return encoded(buffer(picture));
  if (picture instanceof Blob) return encoded(buffer(await picture.arrayBuffer()));
  if (typeof picture === "object" && picture !== null) {
    if ("imageId" in picture)
      return Image.fromPartial({ source: { $case: "id", value: text("imageId", picture.imageId) } });
    if ("pixels" in picture && isBytes(picture.pixels)) {
      const pixels = buffer(picture.pixels);
      const [width, height] = [whole("width", picture.width), whole("height", picture.height)];
      return Image.fromPartial({ source: { $case: "raw", value: { pixels, width, height } } });
    }
  }
  const known = "a path, bytes, a Blob, { pixels, width, height } or { imageId }";
  throw new TypeError(`a picture is ${known}, not ${described(picture)}`);
}

function encoded(value: Buffer): Image {
  return Image.fromPartial({ source: { $case: "encoded", value } });
}

/** Recognises bytes of other realms, such as test environments, too, where `instanceof` fails. */
function isBytes(value: unknown): value is Bytes {
  return ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);
}

/** The same bytes, not copied. */
function buffer(bytes: Bytes): Buffer {
  return ArrayBuffer.isView(bytes)
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : Buffer.from(bytes as ArrayBuffer);
}

function encodings({ confidence, runnerUp, margin }: Options): MaskEncoding[] {
  const wanted = [MaskEncoding.MASK_ENCODING_RAW];
  if (flag("confidence", confidence)) wanted.push(MaskEncoding.MASK_ENCODING_SCORE_RAW);
  if (flag("runnerUp", runnerUp)) wanted.push(MaskEncoding.MASK_ENCODING_RUNNER_UP_PNG);
  if (flag("margin", margin)) wanted.push(MaskEncoding.MASK_ENCODING_MARGIN_RAW);
  return wanted;
}

function thresholds(wanted: Options["categoryThresholds"] = {}): CategoryThreshold[] {
  if (typeof wanted !== "object" || wanted === null) {
    throw new TypeError(`categoryThresholds are an object or a Map, not ${described(wanted)}`);
  }
  const entries: Iterable<[string | number, number]> = types.isMap(wanted) ? wanted : Object.entries(wanted);
  return Array.from(entries, ([category, value]) => {
    const threshold = score(`categoryThresholds of ${category}`, value);
    if (typeof category === "string") return { category: { $case: "name", value: category }, threshold };
    return { category: { $case: "index", value: whole("index in categoryThresholds", category) }, threshold };
  });
}

function segmentOptions(options: Options): SegmentOptions {
  const { topK, scoreThreshold, resize = "direct", priority = "normal", minArea = 0 } = options;
  return SegmentOptions.fromPartial({
    resizeMode: chosen("resize", RESIZE, resize),
    maskEncodings: encodings(options),
    categoryThresholds: thresholds(options.categoryThresholds),
    minArea: whole("minArea", minArea),
    priority: chosen("priority", PRIORITY, priority),
    listRejected: flag("listRejected", options.listRejected),
    topK: topK === undefined ? undefined : whole("topK", topK),
    scoreThreshold: scoreThreshold === undefined ? undefined : score("scoreThreshold", scoreThreshold),
    overlay: overlay(options),
    reportAmbiguities: flag("reportAmbiguities", options.reportAmbiguities),
    outputSize: outputSize(options),
  });
}

function overlay({ overlay = false }: Options): Overlay | undefined {
  if (overlay !== "fade_unsure" && typeof overlay !== "boolean") {
    throw new TypeError(`overlay is true, false or "fade_unsure", not ${described(overlay)}`);
  }
  return overlay ? Overlay.fromPartial({ fadeUnsure: overlay === "fade_unsure" }) : undefined;
}

function outputSize({ size }: Options): OutputSize | undefined {
  if (size === undefined) return undefined;
  if (size === "model") return { kind: { $case: "preset", value: OutputSizePreset.OUTPUT_SIZE_PRESET_MODEL } };
  if (typeof size !== "object" || size === null) {
    throw new TypeError(`size is "model" or { width, height }, not ${described(size)}`);
  }
  const [width, height] = [whole("width of size", size.width), whole("height of size", size.height)];
  return { kind: { $case: "exact", value: { width, height } } };
}
