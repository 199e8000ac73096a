// Fields of requests and answers that say how sure the model is: a server of our own notes the request, and answers with
// known values.
//
// node fields.mjs

import assert from "node:assert/strict";
import { crc32, deflateSync } from "node:zlib";
import grpc from "@grpc/grpc-js";
import { Client } from "sed-serve-client";
import { SegmentationServiceService, SegmentResponse } from "sed-serve-client/dist/generated/sed/v1/segmentation_service.js";
import { CreateVocabularyResponse, ListVocabulariesResponse } from "sed-serve-client/dist/generated/sed/v1/vocabulary.js";
import { listen } from "./moody.mjs";

const ENCODING = { RAW: 6, SCORE_RAW: 9, RUNNER_UP_PNG: 10, MARGIN_RAW: 12 };
const NAMES = ["cat", "dog", "sky"];
const BEST = [0, 1, 2, 2, 2, 0, 1, 0, 1, 2, 0, 1, 1, 1, 0];
const NONE = -1;
const SECOND = [1, 0, NONE, 0, 1, 2, NONE, NONE, 2, 0, 1, 0, 2, 0, 1];
const [WIDTH, HEIGHT] = [3, 5]; // one row for each filter of PNG
// 16 bit floats, and what they are: normal, the smallest, subnormal, 0 and 1.
const HALVES = [[0x3800, 0.5], [0x3400, 0.25], [0x3bff, 1 - 2 ** -11], [0x0400, 2 ** -14], [0x0001, 2 ** -24], [0x03ff, 1023 * 2 ** -24], [0, 0], [0x3c00, 1]];
const scores = Array.from({ length: BEST.length }, (_, pixel) => HALVES[pixel % HALVES.length]);

let bits = 8;
let asked;
let created;
const words = { name: "voc-1", size: 3, phrases: 7, embeddedPhrases: 5, synonymMode: 2, contrastSize: 2 };

function segment({ request }, answer) {
  asked = request;
  answer(null, SegmentResponse.fromPartial({
    masks: request.options.maskEncodings.map(mask),
    maskSize: { width: WIDTH, height: HEIGHT },
    categories: NAMES.map((name, index) => ({ name, index })),
    rejection: { levels: [{ level: 1, candidates: 3, contrastCandidates: 4, contrastSurvivors: 2 }] },
    ambiguities: request.options.reportAmbiguities
      ? [
        { firstIndex: 0, secondIndex: 2, pixels: 3, areaShare: 0.5, meanMargin: 0.0625, textSimilarity: -0.5 },
        { firstIndex: 1, secondIndex: 2, pixels: 1, areaShare: 0.125, meanMargin: 0.25 },
      ]
      : [],
    contrast: request.vocabulary.contrast && { names: ["wall", "floor"], pixels: 2 ** 40 },
  }));
}

function mask(encoding) {
  const unlabelledIndex = encoding === ENCODING.RUNNER_UP_PNG ? 2 ** bits - 1 : 65535;
  const of = (halves) => Buffer.from(Uint16Array.from(halves, ([bits]) => bits).buffer);
  const content = {
    [ENCODING.RAW]: () => ({ $case: "rawIndices", value: Buffer.from(Uint16Array.from(BEST).buffer) }),
    [ENCODING.SCORE_RAW]: () => ({ $case: "rawScores", value: of(scores) }),
    [ENCODING.RUNNER_UP_PNG]: () => ({ $case: "runnerUpPng", value: png(SECOND.map((index) => index & unlabelledIndex)) }),
    [ENCODING.MARGIN_RAW]: () => ({ $case: "rawMargins", value: of(scores.toReversed?.() ?? [...scores].reverse()) }),
  }[encoding]();
  return { encoding, unlabelledIndex, content };
}

/** An index map as the server encodes it, with a palette or as 16 bits of grey, but each row with another filter. */
function png(indices) {
  const bytes = bits / 8;
  const pixels = Buffer.alloc(indices.length * bytes);
  indices.forEach((index, pixel) => pixels.writeUIntBE(index, bytes * pixel, bytes));
  const stride = bytes * WIDTH;
  const rows = Buffer.alloc(HEIGHT * (stride + 1));
  const at = (x, y) => (x < 0 || y < 0 ? 0 : pixels[y * stride + x]);
  const paeth = (a, b, c) => [a, b, c].reduce((best, one) => (Math.abs(a + b - c - one) < Math.abs(a + b - c - best) ? one : best));
  for (let y = 0; y < HEIGHT; y++) {
    rows[y * (stride + 1)] = y;
    for (let x = 0; x < stride; x++) {
      const [left, up, corner] = [at(x - bytes, y), at(x, y - 1), at(x - bytes, y - 1)];
      rows[y * (stride + 1) + x + 1] = at(x, y) - [0, left, up, (left + up) >> 1, paeth(left, up, corner)][y];
    }
  }
  const header = Buffer.from([0, 0, 0, WIDTH, 0, 0, 0, HEIGHT, bits, bits === 8 ? 3 : 0, 0, 0, 0]);
  const data = deflateSync(rows);
  const chunks = [["IHDR", header], ["PLTE", Buffer.alloc(9)], ["IDAT", data.subarray(0, 9)], ["IDAT", data.subarray(9)], ["IEND", Buffer.alloc(0)]];
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  return Buffer.concat([signature, ...chunks.map(([name, content]) => chunk(name, content))]);
}

function chunk(name, content) {
  const named = Buffer.concat([Buffer.from(name), content]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(content.length);
  sum.writeUInt32BE(crc32?.(named) ?? 0);
  return Buffer.concat([length, named, sum]);
}

const server = new grpc.Server();
server.addService(SegmentationServiceService, {
  segment,
  createVocabulary: ({ request }, answer) => {
    created = request;
    answer(null, CreateVocabularyResponse.fromPartial({ vocabulary: words }));
  },
  listVocabularies: (_, answer) => answer(null, ListVocabulariesResponse.fromPartial({ vocabularies: [words] })),
});
const client = new Client(`127.0.0.1:${await listen(server)}`);
const picture = Buffer.from("x");

// Arrays and reports.
for (bits of [8, 16]) {
  const options = { confidence: true, runnerUp: true, margin: true, reportAmbiguities: true, contrast: "auto" };
  const found = await client.segment(picture, NAMES, options);
  assert.deepEqual(asked.options.maskEncodings, Object.values(ENCODING));
  assert.deepEqual([...found.mask], BEST);
  assert.deepEqual([...found.runnerUp], SECOND.map((index) => (index === NONE ? found.unlabelledIndex : index)));
  assert(found.confidence instanceof Float32Array && found.margin instanceof Float32Array);
  assert.deepEqual([...found.confidence], scores.map(([, value]) => value));
  assert.deepEqual([...found.margin].reverse(), scores.map(([, value]) => value));
  assert.deepEqual(found.ambiguities, [
    { names: ["cat", "sky"], indices: [0, 2], pixels: 3, areaShare: 0.5, meanMargin: 0.0625, textSimilarity: -0.5 },
    { names: ["dog", "sky"], indices: [1, 2], pixels: 1, areaShare: 0.125, meanMargin: 0.25, textSimilarity: undefined },
  ]);
  assert.deepEqual(found.contrast, { names: ["wall", "floor"], pixels: 2 ** 40 });
  assert.deepEqual([found.rejection.levels[0].contrastCandidates, found.rejection.levels[0].contrastSurvivors], [4, 2]);
}
const plain = await client.segment(picture, NAMES);
assert.deepEqual(asked.options.maskEncodings, [ENCODING.RAW]);
assert.deepEqual([plain.confidence, plain.runnerUp, plain.margin, plain.ambiguities, plain.contrast], [undefined, undefined, undefined, [], undefined]);

// Options, as they are sent.
const sent = (words, options) => client.segment(picture, words, options).then(() => asked);
assert.deepEqual([asked.vocabulary.contrast, asked.vocabulary.synonymMode, asked.options.categoryThresholds], [undefined, 0, []]);
assert.deepEqual((await sent(NAMES, { contrast: null })).vocabulary.contrast, { source: undefined });
assert.equal((await sent(NAMES, { contrast: "auto" })).vocabulary.contrast.source.$case, "automatic");
const { vocabulary } = await sent({ vocabulary: "voc-1" }, { contrast: ["wall", ["floor", "ground"]], synonyms: "mean" });
assert.deepEqual([vocabulary.source.value, vocabulary.synonymMode], ["voc-1", 1]);
assert.deepEqual(vocabulary.contrast.source.value.categories, [{ name: "wall", synonyms: [] }, { name: "floor", synonyms: ["ground"] }]);
const named = await sent(NAMES, { contrast: { vocabulary: "ade20k-150" }, synonyms: "best" });
assert.deepEqual([named.vocabulary.contrast.source.value, named.vocabulary.synonymMode], ["ade20k-150", 2]);
const cat = { category: { $case: "name", value: "cat" }, threshold: 0.5 };
assert.deepEqual((await sent(NAMES, { categoryThresholds: { cat: 0.5 } })).options.categoryThresholds, [cat]);
const second = { category: { $case: "index", value: 2 }, threshold: 0.75 };
const both = new Map([["cat", 0.5], [2, 0.75]]);
assert.deepEqual((await sent(NAMES, { categoryThresholds: both })).options.categoryThresholds, [cat, second]);
assert.deepEqual([asked.options.reportAmbiguities, asked.options.overlay], [false, undefined]);
assert.equal((await sent(NAMES, { overlay: true, reportAmbiguities: true })).options.overlay.fadeUnsure, false);
assert(asked.options.reportAmbiguities);
assert.equal((await sent(NAMES, { overlay: "fade_unsure" })).options.overlay.fadeUnsure, true);
await assert.rejects(sent(NAMES, { synonyms: "all" }), /synonyms is "mean" or "best", not the text "all"/);
await assert.rejects(sent(NAMES, { contrast: "wall" }), /words are an array of names.*, not the text "wall"/);

// Vocabularies.
const { warnings, ...made } = await client.createVocabulary(NAMES, { synonyms: "best", contrast: ["wall"], embed: true });
assert.deepEqual([made, warnings], [{ ...words, builtIn: false, categories: [], synonymMode: "best" }, []]);
assert.deepEqual([created.synonymMode, created.contrast.source.value.categories[0].name, created.embed], [2, "wall", true]);
await client.createVocabulary(NAMES);
assert.deepEqual([created.synonymMode, created.contrast, created.embed], [0, undefined, false]);
for await (const known of client.listVocabularies()) assert.deepEqual([known.embeddedPhrases, known.synonymMode], [5, "best"]);

client.close();
server.forceShutdown();
console.log("scores, runner-up, margins, ambiguities, contrast words and thresholds: asked for and read as they are sent");
