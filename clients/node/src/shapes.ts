// Masks of one category in the forms that other programs read: COCO run lengths, and polygons along pixel borders.

import { categoryOf, maskOf, type Segmentation } from "./result";

/** A mask as pycocotools writes it: `size` is [height, width], `counts` are compressed run lengths, as text. */
export interface CocoRle {
  size: [number, number];
  counts: string;
}

/** One category of one picture in the COCO format of results; `area` in pixels, `bbox` [x, y, width, height]. */
export interface CocoResult {
  image_id: number | string;
  category_id: number;
  segmentation: CocoRle;
  area: number;
  bbox: [number, number, number, number];
  score: number;
}

/** The x and y of a point, in pixels from the top left corner of the mask. */
export type Point = [number, number];

/** One connected region of a mask; pixels that only touch at a corner are not connected. */
export interface Polygon {
  /** The outer outline along the borders of pixels, clockwise on the screen; its last point connects to the first. */
  exterior: Point[];
  /** The outlines of the holes, counter-clockwise. */
  holes: Point[][];
  /** The pixels of the region, holes left out. */
  pixels: number;
}

/** Returns the pixels of one category as COCO run lengths, of the size of the mask; RangeError as `maskOf`. */
export function rle(found: Segmentation, name: string): CocoRle {
  const mask = maskOf(found, name);
  const { width, height } = found;
  // Runs go down the columns, and the first one counts pixels outside.
  const runs: number[] = [];
  let [value, run] = [0, 0];
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const pixel = mask[y * width + x] ?? 0;
      if (pixel !== value) {
        runs.push(run);
        [value, run] = [pixel, 0];
      }
      run += 1;
    }
  }
  runs.push(run);
  // From the third on, each run is written as the difference to the one before it of the same kind.
  const differences = runs.map((run, at) => (at > 2 ? run - (runs[at - 2] ?? 0) : run));
  return { size: [height, width], counts: differences.map(asText).join("") };
}

/** Writes a number of 32 bits with its sign, 5 bits a letter, the lowest first; bit 5 says that more follow. */
function asText(value: number): string {
  let text = "";
  for (;;) {
    const bits = value & 31;
    value >>= 5;
    const isLast = value === (bits & 16 ? -1 : 0);
    text += String.fromCharCode(48 + (isLast ? bits : bits | 32));
    if (isLast) return text;
  }
}

/** Returns the regions of one category with their outlines along pixel borders, exact; RangeError as `maskOf`. */
export function polygons(found: Segmentation, name: string): Polygon[] {
  const { width, height } = found;
  const mask = maskOf(found, name);
  const { labels, regions } = labelled(mask, width, height);
  const isTraced = new Uint8Array(mask.length);
  for (let pixel = 0; pixel < mask.length; pixel++) {
    // Every outline goes along the upper border of some pixel, left to right.
    if (!mask[pixel] || isTraced[pixel] || mask[pixel - width]) continue;
    const ring = traced(mask, width, height, pixel, isTraced);
    const region = regions[labels[pixel] ?? 0];
    if (region === undefined) continue;
    // A region's topmost pixel comes first, and lies on its outer outline.
    if (region.exterior.length === 0) region.exterior = ring;
    else region.holes.push(ring);
  }
  return regions;
}

/** Numbers the regions in the order of their topmost pixels, and counts their pixels. */
function labelled(mask: Uint8Array, width: number, height: number): { labels: Int32Array; regions: Polygon[] } {
  const labels = new Int32Array(mask.length).fill(-1);
  const regions: Polygon[] = [];
  const waiting: number[] = [];
  const reach = (pixel: number) => {
    if (!mask[pixel] || labels[pixel] !== -1) return;
    labels[pixel] = regions.length;
    waiting.push(pixel);
  };
  for (let first = 0; first < width * height; first++) {
    reach(first);
    let pixels = 0;
    for (let pixel = waiting.pop(); pixel !== undefined; pixel = waiting.pop()) {
      pixels += 1;
      if (pixel % width > 0) reach(pixel - 1);
      if (pixel % width < width - 1) reach(pixel + 1);
      reach(pixel - width);
      reach(pixel + width);
    }
    if (pixels > 0) regions.push({ exterior: [], holes: [], pixels });
  }
  return { labels, regions };
}

/** A direction along borders: a step, and the pixels ahead on the right and on the left, as they lie from the corner. */
interface Way {
  step: Point;
  right: Point;
  left: Point;
}

/** Right, down, left, up. */
const WAYS: readonly Way[] = [
  { step: [1, 0], right: [0, 0], left: [0, -1] },
  { step: [0, 1], right: [-1, 0], left: [0, 0] },
  { step: [-1, 0], right: [-1, -1], left: [-1, 0] },
  { step: [0, -1], right: [0, -1], left: [-1, -1] },
];

/** Follows an outline from the upper left corner of a pixel, with the region on the right hand. */
function traced(mask: Uint8Array, width: number, height: number, pixel: number, isTraced: Uint8Array): Point[] {
  const isInside = (x: number, y: number) => x >= 0 && x < width && y >= 0 && y < height && mask[y * width + x] === 1;
  const begin: Point = [pixel % width, Math.floor(pixel / width)];
  const ring: Point[] = [];
  let [x, y] = begin;
  let direction = 0;
  do {
    if (direction === 0) isTraced[y * width + x] = 1;
    const { step, right, left } = WAYS[direction] as Way;
    x += step[0];
    y += step[1];
    let turn = 0;
    if (!isInside(x + right[0], y + right[1])) turn = 1;
    else if (isInside(x + left[0], y + left[1])) turn = 3;
    if (turn !== 0) ring.push([x, y]);
    direction = (direction + turn) % 4;
  } while (x !== begin[0] || y !== begin[1] || direction !== 0);
  return ring;
}

/**
 * Returns the present categories as COCO results, the largest first, as `pycocotools.coco.COCO.loadRes` accepts them.
 * `imageId` is the picture's id in the data set. `categoryIds` are the data set's, by the names of categories; without them
 * an id is the category's index plus 1. Categories that `categoryIds` lacks are left out; RangeError as `maskOf` for a name
 * that the vocabulary lacks.
 */
export function toCoco(
  found: Segmentation,
  imageId: number | string,
  categoryIds?: Readonly<Record<string, number>>,
): CocoResult[] {
  const ids = new Map(
    categoryIds === undefined
      ? found.categories.map(({ name, index }) => [name, index + 1])
      : Object.entries(categoryIds),
  );
  for (const name of ids.keys()) categoryOf(found, name);
  const results: CocoResult[] = [];
  for (const { name, pixels, meanScore, boundingBox } of found.categories) {
    const category_id = ids.get(name);
    if (boundingBox === undefined || category_id === undefined) continue;
    const { x, y, width, height } = boundingBox;
    const segmentation = rle(found, name);
    results.push({
      image_id: imageId,
      category_id,
      segmentation,
      area: pixels,
      bbox: [x, y, width, height],
      score: meanScore,
    });
  }
  return results.sort((one, other) => other.area - one.area);
}
