// Run lengths and polygons of masks that are drawn here, and those that the server itself makes of its own.
//
// node shapes.mjs [HOST:PORT PICTURE]

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { Client, maskOf, polygons, rle, toCoco } from "sed-serve-client";
import { SegmentationServiceClient, SegmentRequest } from "sed-serve-client/dist/generated/sed/v1/segmentation_service.js";

/** A result with one category, `x` in the rows. */
function drawn(...rows) {
  const [width, height] = [rows[0].length, rows.length];
  const mask = Uint16Array.from(rows.join(""), (letter) => (letter === "x" ? 0 : 65535));
  return { mask, width, height, categories: [{ index: 0, name: "x" }] };
}

/** Pixels of the polygons, by the even-odd rule at the middle of each. */
function filled(shapes, width, height) {
  const rings = shapes.flatMap(({ exterior, holes }) => [exterior, ...holes]);
  return Uint8Array.from({ length: width * height }, (_, pixel) => {
    const [x, y] = [(pixel % width) + 0.5, Math.floor(pixel / width) + 0.5];
    let crossings = 0;
    for (const ring of rings) {
      ring.forEach(([x0, y0], at) => {
        const [x1, y1] = ring[(at + 1) % ring.length];
        crossings += Number(x0 === x1 && x0 > x && (y0 > y) !== (y1 > y));
      });
    }
    return crossings % 2;
  });
}

/** Pixels of run lengths, read as COCO's documents say. */
function decoded({ size: [height, width], counts }) {
  const values = [];
  for (let at = 0; at < counts.length; ) {
    let [value, shift, letter] = [0, 0, 0];
    do {
      letter = counts.charCodeAt(at++) - 48;
      value |= (letter & 31) << shift;
      shift += 5;
    } while (letter & 32);
    if (letter & 16) value |= -1 << shift;
    values.push(values.length > 2 ? value + values[values.length - 2] : value);
  }
  const mask = new Uint8Array(width * height);
  let pixel = 0;
  values.forEach((run, at) => {
    for (const end = pixel + run; pixel < end; pixel++) mask[(pixel % height) * width + Math.floor(pixel / height)] = at % 2;
  });
  assert.equal(pixel, width * height);
  return mask;
}

const square = drawn("....", ".xx.", ".xx.", "....");
assert.deepEqual(rle(square, "x"), { size: [4, 4], counts: "52203" });
assert.deepEqual(polygons(square, "x"), [{ exterior: [[3, 1], [3, 3], [1, 3], [1, 1]], holes: [], pixels: 4 }]);
const [ring, ...none] = polygons(drawn("xxx", "x.x", "xxx"), "x");
assert.deepEqual([ring.pixels, ring.exterior.length, ring.holes, none], [8, 4, [[[2, 2], [2, 1], [1, 1], [1, 2]]], []]);
const corners = polygons(drawn("x.", ".x"), "x"); // touch at a corner only: two regions
assert.deepEqual(corners.map(({ pixels, exterior }) => [pixels, exterior.length]), [[1, 4], [1, 4]]);
const holes = polygons(drawn("xxxx", "x.xx", "xx.x", "xxxx"), "x"); // two holes that touch are one
assert.deepEqual(holes.map(({ pixels, holes }) => [pixels, holes.map(({ length }) => length)]), [[14, [8]]]);
const inner = polygons(drawn("xxxxx", "x...x", "x.x.x", "x...x", "xxxxx"), "x"); // an island in a hole
assert.deepEqual(inner.map(({ pixels, holes }) => [pixels, holes.length]), [[16, 1], [1, 0]]);
assert.deepEqual([polygons(drawn(".."), "x"), rle(drawn(".."), "x").counts, rle(drawn("xx"), "x").counts], [[], "2", "02"]);
for (const wrong of [() => rle(square, "y"), () => toCoco(square, 1, { y: 5 }), () => toCoco(square, 1, { x: 5, y: 6 })]) {
  assert.throws(wrong, { name: "RangeError", message: "the vocabulary has no category y" });
}
let state = 7;
const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
for (let round = 0; round < 200; round++) {
  const [width, height] = [1 + Math.floor(40 * random()), 1 + Math.floor(40 * random())];
  const share = random();
  const rows = Array.from({ length: height }, () => Array.from({ length: width }, () => (random() < share ? "x" : ".")).join(""));
  const found = drawn(...rows);
  const mask = maskOf(found, "x");
  const shapes = polygons(found, "x");
  assert.deepEqual(filled(shapes, width, height), mask);
  assert.equal(shapes.reduce((sum, { pixels }) => sum + pixels, 0), mask.filter(Boolean).length);
  assert.deepEqual(decoded(rle(found, "x")), mask);
}

const [target, path] = process.argv.slice(2);
if (target !== undefined) {
  const client = new Client(target);
  const words = ["cat", "bus", "sky", "painting", "no such thing at all"];
  const found = await client.segment(path, words, { topK: 0, scoreThreshold: 0.2 });
  const [RLE, POLYGONS] = [4, 5];
  const stub = new SegmentationServiceClient(target, grpc.credentials.createInsecure());
  const request = SegmentRequest.fromPartial({
    image: { source: { $case: "encoded", value: readFileSync(path) } },
    vocabulary: { source: { $case: "categories", value: { categories: words.map((name) => ({ name })) } } },
    options: { topK: 0, scoreThreshold: 0.2, maskEncodings: [RLE, POLYGONS], polygonTolerance: 0 },
  });
  const { masks } = await new Promise((resolve, reject) => stub.segment(request, (error, answer) => (error ? reject(error) : resolve(answer))));
  const present = found.categories.filter(({ pixels }) => pixels > 0);
  const theirs = new Map(masks[0].content.value.masks.map(({ categoryIndex, counts }) => [categoryIndex, Buffer.from(counts).toString()]));
  assert.deepEqual(new Map(present.map(({ index, name }) => [index, rle(found, name).counts])), theirs);
  for (const { index, name } of present) {
    const pairs = ({ coordinates }) => Array.from({ length: coordinates.length / 2 }, (_, at) => [coordinates[2 * at], coordinates[2 * at + 1]]);
    const wanted = masks[1].content.value.polygons.filter(({ categoryIndex }) => categoryIndex === index).map(({ exterior, holes, pixels }) => ({ exterior: pairs(exterior), holes: holes.map(pairs), pixels }));
    assert.deepEqual(polygons(found, name).map(normal), wanted.map(normal));
  }
  const coco = toCoco(found, 42);
  assert.deepEqual(coco.map(({ category_id }) => category_id).sort(), present.map(({ index }) => index + 1));
  assert(coco.every(({ area }, at) => at === 0 || area <= coco[at - 1].area));
  for (const { image_id, category_id, segmentation, area, bbox, score } of coco) {
    const { name, pixels, meanScore, boundingBox } = found.categories[category_id - 1];
    const box = [boundingBox.x, boundingBox.y, boundingBox.width, boundingBox.height];
    assert.deepEqual([image_id, segmentation, area, bbox, score], [42, rle(found, name), pixels, box, meanScore]);
  }
  const [first] = present;
  assert.deepEqual(toCoco(found, "a", { [first.name]: 7 }).map(({ category_id }) => category_id), [7]);
  client.close();
  stub.close();
  console.log(`run lengths and polygons of ${present.length} categories are those of the server; COCO results`);
}

/** The same polygon, each outline from its first corner on, and the holes in order. */
function normal({ exterior, holes, pixels }) {
  const key = ([x, y]) => y * 65536 + x;
  const turned = (ring) => {
    const at = ring.reduce((best, point, at) => (key(point) < key(ring[best]) ? at : best), 0);
    return [...ring.slice(at), ...ring.slice(0, at)];
  };
  return { exterior: turned(exterior), holes: holes.map(turned).sort((one, other) => key(one[0]) - key(other[0])), pixels };
}
