// Words that are not embedded yet: a server of our own refuses calls with VOCABULARY_NOT_READY, and prepares words, as
// error_reason.proto and vocabulary.proto define it.
//
// node ready.mjs

import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";
import { Client, DeadlineExceeded, Overloaded, SedError, Unavailable } from "sed-serve-client";
import { SegmentationServiceService, SegmentStreamResponse } from "sed-serve-client/dist/generated/sed/v1/segmentation_service.js";
import { CreateVocabularyResponse, PrepareVocabularyResponse } from "sed-serve-client/dist/generated/sed/v1/vocabulary.js";
import { failure, fails, listen, nothing } from "./moody.mjs";

process.on("warning", (warning) => {
  throw warning; // for example of listeners that pile up
});
const { INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE } = grpc.status;
const REASON = "VOCABULARY_NOT_READY";
const NOT_READY = failure(RESOURCE_EXHAUSTED, REASON, 0.1);
const NEVER_READY = failure(RESOURCE_EXHAUSTED, REASON);
const AWAY = failure(UNAVAILABLE, "RECONNECT", 0);
const WARNING = { reason: 3, field: "vocabulary", message: "alike", metadata: { similarity: "0.99" } };

let failures = [];
let courses = [];
let calls = 0;
let prepared = [];
let gone; // resolves once the caller of the preparation that began last is gone

function segment(_, answer) {
  refuseOr(answer, nothing(1));
}

function createVocabulary({ request }, answer) {
  const { length } = request.categories.categories;
  refuseOr(answer, CreateVocabularyResponse.fromPartial({ vocabulary: { name: "voc-1", size: length } }));
}

function refuseOr(answer, found) {
  calls += 1;
  const failure = failures.shift();
  if (failure === undefined) answer(null, found);
  else answer(fails(failure));
}

/** Refuses one request for each failure that is left, and answers the others. */
async function segmentStream(call) {
  calls += 1;
  call.on("error", () => {});
  for await (const { request } of call.iterator({ destroyOnReturn: false })) {
    const { requestId } = request;
    const value = failures.shift();
    const outcome = value
      ? { $case: "error", value: { code: value.code, message: value.message, details: value.details } }
      : { $case: "response", value: nothing(Number(requestId)) };
    call.write(SegmentStreamResponse.fromPartial({ requestId, outcome }));
  }
  call.end();
}

/** States up to `embedded` phrases of 5, and then `end`: a status, "wait" (never), undefined (without an error). */
function prepareVocabulary(call) {
  const { embedded, end } = courses.shift() ?? { embedded: 5 };
  calls += 1;
  prepared.push(call.request.vocabulary);
  gone = new Promise((resolve) => call.once("cancelled", resolve));
  for (let ready = 2; ready <= embedded; ready++) call.write(state(ready));
  if (end === undefined) call.end();
  else if (end !== "wait") call.emit("error", fails(end));
}

function state(embedded) {
  return PrepareVocabularyResponse.fromPartial({
    phrases: 5,
    known: 2,
    embedded,
    replica: "sed-0",
    devices: [{ device: "cuda:0", embedded }, { device: "cuda:1", embedded: 5 }],
    ready: embedded === 5,
    remaining: embedded === 5 ? undefined : { seconds: 1, nanos: 5e8 },
    warnings: embedded === 5 ? [WARNING] : [],
  });
}

const server = new grpc.Server();
server.addService(SegmentationServiceService, { segment, createVocabulary, segmentStream, prepareVocabulary });
const target = `127.0.0.1:${await listen(server)}`;
const client = new Client(target);
const hasty = new Client(target, { readyTimeoutMs: 0 });
const brief = new Client(target, { readyTimeoutMs: 500 });
const picture = Buffer.from("x");

/** Lets the calls before fail in these ways; gives the result or error, and how many calls there were. */
async function tried(these, call = client, options = {}) {
  [failures, calls] = [these, 0];
  const end = await call.segment(picture, ["cat"], options).catch((error) => error);
  return [end, calls];
}

let [end, times] = await tried(Array(7).fill(NOT_READY));
assert.deepEqual([end.unlabelledPixels, times], [1, 8], "these refusals are no attempts");
// A delay that is longer than the timeout: the next attempt has all of its time.
[end, times] = await tried([failure(RESOURCE_EXHAUSTED, REASON, 2)], client, { timeoutMs: 1500 });
assert.deepEqual([end.unlabelledPixels, times], [1, 2]);
// Attempts begin again after each of them.
const SILENT = failure(UNAVAILABLE, "");
[end, times] = await tried([SILENT, SILENT, SILENT, NOT_READY, SILENT, SILENT, SILENT]);
assert.deepEqual([end.unlabelledPixels, times], [1, 8]);
[failures, calls] = [[NOT_READY, NOT_READY], 0];
assert.equal((await client.createVocabulary(["cat", "dog"], { embed: true })).size, 2);
assert.equal(calls, 3);

[end, times] = await tried([NEVER_READY]);
assert(end instanceof Overloaded);
assert.deepEqual([end.reason, end.retryAfterMs, times], [REASON, undefined, 1], "nothing prepares these words");
[end, times] = await tried(Array(9).fill(NOT_READY), hasty);
assert(end instanceof Overloaded);
assert.deepEqual([end.reason, end.retryAfterMs, end.metadata, times], [REASON, 100, { limit: "1" }, 1]);
// Where the server names no delay worth its name, the client still makes a pause.
for (const refusal of [NOT_READY, failure(RESOURCE_EXHAUSTED, REASON, 0)]) {
  [end, times] = await tried(Array(99).fill(refusal), brief);
  assert.equal(end.reason, REASON);
  assert(times > 1 && times <= 6, times);
}

// Requests of a stream are sent again on another one.
async function streamed(these, call = client) {
  [failures, calls] = [these, 0];
  const pictures = Array.from({ length: 12 }, (_, number) => Buffer.from(`${number}`));
  const items = [];
  for await (const item of call.segmentStream(pictures, ["cat"])) items.push(item);
  assert.deepEqual(items.map(({ number }) => number), pictures.map(Number));
  return items;
}

let items = await streamed(Array(7).fill(NOT_READY));
assert.deepEqual(items.map(({ found }) => found.unlabelledPixels), items.map(({ number }) => number));
assert(calls > 1 && calls <= 8, calls); // several refusals may be on the way when a stream is left
items = await streamed([NEVER_READY]);
assert.deepEqual([items[0].error.reason, items[11].found.unlabelledPixels, calls], [REASON, 11, 1]);
items = await streamed(Array(12).fill(NOT_READY), hasty);
assert(items.every(({ error }) => error.reason === REASON));
assert.equal(calls, 1);
// After one wait for nothing, the other pictures do not wait as long again.
items = await streamed(Array(999).fill(NOT_READY), brief);
assert(items.every(({ error }) => error.reason === REASON));
assert(calls > 1 && calls <= 6, calls);

// Preparing ends with the last state, however many streams it takes.
async function prepare(these = [], words = ["cat"], options = {}) {
  [courses, calls, prepared] = [these, 0, []];
  const states = [];
  const last = await client.prepareVocabulary(words, { onProgress: (state) => states.push(state), ...options });
  assert.deepEqual(states.at(-1), last);
  return [last, states.map(({ embedded }) => embedded)];
}
const failed = (...these) => prepare(...these).then(() => assert.fail("no error"), (error) => error);

let [last, embedded] = await prepare();
assert.deepEqual(last, {
  phrases: 5,
  known: 2,
  embedded: 5,
  remainingMs: undefined,
  ready: true,
  replica: "sed-0",
  devices: [{ device: "cuda:0", embedded: 5 }, { device: "cuda:1", embedded: 5 }],
  warnings: [{ ...WARNING, reason: "CATEGORIES_ALIKE" }],
});
assert.deepEqual(embedded, [2, 3, 4, 5]);
assert.deepEqual(await client.prepareVocabulary(["cat"]), last);
await prepare([], { vocabulary: "ade20k-150" }, { synonyms: "best", contrast: ["wall"] });
assert.deepEqual(prepared[0].source, { $case: "name", value: "ade20k-150" });
assert.equal(prepared[0].synonymMode, 2);
assert.deepEqual(prepared[0].contrast.source.value.categories, [{ name: "wall", synonyms: [] }]);

[, embedded] = await prepare([{ embedded: 3, end: AWAY }, { embedded: 3 }]); // one is cut off, one ends too early
assert.deepEqual([embedded, calls], [[2, 3, 2, 3, 2, 3, 4, 5], 3]);
await prepare(Array(9).fill({ embedded: 2, end: AWAY }));
assert.equal(calls, 10, "its attempts begin again with every state");
let error = await failed(Array(99).fill({ embedded: 0, end: AWAY }), ["cat"], { timeoutMs: 800 });
assert(error instanceof Unavailable);
assert.equal(error.reason, "RECONNECT");
assert(calls > 2 && calls <= 10, calls);
error = await failed([{ embedded: 2, end: failure(INTERNAL, "INTERNAL") }]);
assert.deepEqual([error.constructor, error.reason, calls], [SedError, "INTERNAL", 1]);
error = await failed([{ embedded: 0, end: NEVER_READY }]);
assert.deepEqual([error.reason, calls], [REASON, 1]);
error = await failed([{ embedded: 2, end: "wait" }], ["cat"], { timeoutMs: 500 });
assert(error instanceof DeadlineExceeded, error);
assert.equal(calls, 1);
const refusal = new RangeError("enough");
error = await failed([{ embedded: 2, end: "wait" }], ["cat"], { onProgress: () => { throw refusal; } });
assert.equal(error, refusal);
await gone;
const aborter = new AbortController();
error = await failed([{ embedded: 2, end: "wait" }], ["cat"], { onProgress: () => aborter.abort(), signal: aborter.signal });
assert.equal(error.code, grpc.status.CANCELLED);
await gone;

for (const one of [client, hasty, brief]) one.close();
server.forceShutdown();
console.log("words that are not ready: waited for, beside the timeout and the attempts; prepared with their progress");
