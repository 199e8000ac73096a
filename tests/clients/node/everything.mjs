// Every call and option of the Node client against a running server.
//
// node everything.mjs HOST:PORT PICTURE

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Client, InvalidRequest, maskOf, NotFound } from "sed-serve-client";

process.on("warning", (warning) => {
  throw warning; // for example of listeners that pile up
});
const [target, path] = process.argv.slice(2);
const client = new Client(target);
const words = ["cat", ["bus", "autobus", "coach"], "sky", ["painting", "picture"]];
const file = readFileSync(path);

await client.waitUntilReady();
assert.equal((await client.serverInfo()).model.name, "sed-nano");
const found = await client.segment(path, words, { topK: 2, listRejected: true, requestId: "mine" });
assert.equal(found.requestId, "mine");
assert.equal(found.mask.length, found.width * found.height);
assert.deepEqual(found.imageSize, { width: found.width, height: found.height });
assert.deepEqual(found.categories.map(({ name }) => name), ["cat", "bus", "sky", "painting"]);
for (const { name, pixels } of found.categories) {
  assert.equal(maskOf(found, name).reduce((sum, one) => sum + one, 0), pixels);
}
assert.deepEqual(found.rejection.levels.map(({ level }) => level), [1, 2, 3]);
assert.equal(found.rejection.topK, 2);
assert.equal(found.timings.stages[0].stage, "image_decode");
assert(found.timings.totalMs > 0);

// Ways to give the picture.
assert.deepEqual((await client.segment(file, words, { topK: 2 })).mask, found.mask);
const again = await client.segment({ imageId: found.imageId }, words, { topK: 2 });
assert(again.timings.imageCacheHit);
assert.deepEqual(again.mask, found.mask);
const [raw, bmp] = checkers(24, 20);
const ofRaw = await client.segment({ pixels: raw, width: 24, height: 20 }, words);
assert.deepEqual(ofRaw.mask, (await client.segment(bmp, words)).mask);

// Options.
const small = await client.segment(path, words, { size: { width: 31, height: 17 }, scoreThreshold: 0.99 });
assert.deepEqual([small.width, small.height, small.mask.length], [31, 17, 31 * 17]);
assert.equal(small.mask.filter((index) => index === small.unlabelledIndex).length, small.unlabelledPixels);
assert(small.unlabelledPixels > 0);
const painted = await client.segment(path, words, { size: "model", overlay: true, priority: "high", minArea: 4 });
assert.deepEqual([painted.width, painted.height], [48, 48]);
assert.equal(Buffer.from(painted.overlayPng.subarray(1, 4)).toString(), "PNG");

const expected = found.mask;

// Warnings.
const long = ["cat", `${"a ".repeat(110)}cat`];
for (const { warnings } of [await client.segment(path, long), await client.createVocabulary(long)]) {
  assert.deepEqual(warnings.map(({ reason }) => reason), ["PHRASE_CUT"]);
  assert.match(warnings[0].field, /categories\[1\]\.name$/);
}
assert.deepEqual(found.warnings, []);

// Vocabularies and streams.
const { name } = await client.createVocabulary(words, { embed: true });
assert.equal((await client.getVocabulary(name)).categories.length, 4);
assert((await collect(client.listVocabularies())).some((known) => known.name === name));
const pictures = [path, { imageId: found.imageId }, Buffer.from("no picture"), file];
for (const anyOrder of [false, true]) {
  const items = await collect(client.segmentStream(pictures, { vocabulary: name }, { topK: 2, anyOrder }));
  const byNumber = new Map(items.map((item) => [item.number, item]));
  if (!anyOrder) assert.deepEqual([...byNumber.keys()], [0, 1, 2, 3]);
  for (const number of [0, 1, 3]) assert.deepEqual(byNumber.get(number).found.mask, found.mask);
  const { error } = byNumber.get(2);
  assert(error instanceof InvalidRequest);
  assert.deepEqual([error.reason, error.field], ["IMAGE_UNSUPPORTED", "image.encoded"]);
}
for await (const { number } of client.segmentStream(forever(file), words)) if (number === 2) break; // leaves it early
const absent = await collect(client.segmentStream([file, "no/such/file.png", file], words, { topK: 2 }));
assert.deepEqual(absent.map(({ number, found }) => [number, found?.mask]), [[0, found.mask], [1, undefined], [2, found.mask]]);
assert(absent[1].error instanceof InvalidRequest && absent[1].error.cause.code === "ENOENT");
await assert.rejects(client.segment("no/such/file.png", words), { code: "ENOENT" });
const mixed = await collect(client.segmentStream([file, { picture: path, words: ["sky", "bus"], topK: 0 }], words, { topK: 2 }));
assert.deepEqual(mixed.map(({ found }) => found.categories.length), [4, 2]);
const live = await collect(client.live(Array(30).fill(file), { vocabulary: name }, { topK: 2 }));
assert.equal(live.reduce((sum, { dropped }) => sum + dropped + 1, 0), 30, "a frame is neither answered nor dropped");
for (const { found, ageMs } of live) {
  assert.deepEqual(found.mask, expected);
  assert(ageMs > 0);
}
await client.deleteVocabulary(name);
await assert.rejects(client.segment(file, { vocabulary: name }), (error) => {
  return error instanceof NotFound && error.reason === "VOCABULARY_NOT_FOUND";
});
client.close();
console.log("pictures as path, bytes, pixels and id; options; vocabularies; streams in both orders, live: all as it should be");

async function collect(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

function* forever(picture) {
  for (;;) yield picture;
}

/** The same picture as RGB pixels and as a BMP file, whose rows go upwards in BGR order. */
function checkers(width, height) {
  const raw = Buffer.alloc(3 * width * height);
  const bmp = Buffer.alloc(54 + raw.length);
  bmp.write("BM");
  bmp.writeUInt32LE(bmp.length, 2);
  bmp.writeUInt32LE(54, 10);
  bmp.writeUInt32LE(40, 14);
  bmp.writeInt32LE(width, 18);
  bmp.writeInt32LE(height, 22);
  bmp.writeUInt16LE(1, 26);
  bmp.writeUInt16LE(24, 28);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [red, green, blue] = (x >> 3) % 2 === (y >> 3) % 2 ? [250, 40, 3 * x] : [10, 8 * y, 200];
      raw.set([red, green, blue], 3 * (y * width + x));
      bmp.set([blue, green, red], 54 + 3 * ((height - 1 - y) * width + x));
    }
  }
  return [raw, bmp];
}
