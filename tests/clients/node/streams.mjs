// What the client makes of a stream that ends too early: a server of our own reads and answers as many requests of each
// stream as it is told to, and then ends it. Every picture is answered once, in order, or the caller learns why not.
//
// node streams.mjs

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import { Client, Overloaded, SedError, Unavailable } from "sed-serve-client";
import { SegmentationServiceService, SegmentStreamResponse } from "sed-serve-client/dist/generated/sed/v1/segmentation_service.js";
import { failure, fails, listen, nothing } from "./moody.mjs";

process.on("warning", (warning) => {
  throw warning; // for example of listeners that pile up
});
const { ABORTED, INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE } = grpc.status;
const RECONNECT = failure(UNAVAILABLE, "RECONNECT", 0);
const SHUTTING_DOWN = failure(UNAVAILABLE, "SHUTTING_DOWN", 0.1);
const WARNING = { reason: 2, field: "vocabulary.categories.categories[0].name", message: "too long", metadata: { tokens: "112", room: "70" } };

let acts = [];
let seen = []; // numbers of the requests, by stream
let asked = []; // the messages of all streams
let timeoutMs = 2000;

/**
 * Plays the next act: `read` requests are read, the first `answered` of them answered, all others refused if there is a
 * `refusal`, and then the stream ends with `end`: a status, "cut" (without a reason), undefined (without an error).
 * Answers everything once the acts are over.
 */
async function segmentStream(call) {
  const act = acts.shift() ?? { read: Infinity, answered: Infinity };
  const numbers = [];
  seen.push(numbers);
  call.on("error", () => {});
  for await (const message of call.iterator({ destroyOnReturn: false })) {
    const { request } = message;
    asked.push(message);
    assert.equal(Buffer.from(request.image.source.value).toString(), request.requestId, "another picture under this number");
    numbers.push(Number(request.requestId));
    const { requestId } = request;
    if (numbers.length <= act.answered) {
      const value = nothing(Number(requestId), [WARNING]);
      call.write(SegmentStreamResponse.fromPartial({ requestId, outcome: { $case: "response", value } }));
    } else if (act.refusal) {
      const { code, message, details } = act.refusal;
      const value = { code, message, details };
      call.write(SegmentStreamResponse.fromPartial({ requestId, outcome: { $case: "error", value } }));
    }
    if (numbers.length === act.read) break;
  }
  if (act.end === undefined) call.end();
  else call.emit("error", act.end === "cut" ? { code: UNAVAILABLE, details: "gone" } : fails(act.end));
}

/** Has pictures asked that are known by their bytes; gives the items. */
async function ask(pictures) {
  const items = [];
  for await (const item of client.segmentStream(pictures, ["cat"], { timeoutMs })) items.push(item);
  return items;
}

const pictures = (count) => Array.from({ length: count }, (_, number) => Buffer.from(`${number}`));
const upTo = (from, to) => pictures(to).map(Number).slice(from);

function expectAll(items, count) {
  assert.deepEqual(items.map(({ number }) => number), upTo(0, count));
  assert.deepEqual(items.map(({ found }) => found.unlabelledPixels), upTo(0, count));
  for (const { found } of items) assert.deepEqual(found.warnings, [{ ...WARNING, reason: "PHRASE_CUT" }]);
}

/** Has all pictures answered; gives what each stream brought. */
async function play(...these) {
  [acts, seen] = [these, []];
  expectAll(await ask(pictures(12)), 12);
  assert.equal(acts.length, 0);
  return seen;
}

/** Has a stream fail for its caller; gives the error, and how many streams there were. */
async function fail(...these) {
  [acts, seen] = [these, []];
  const error = await ask(pictures(12)).then(() => assert.fail("no error"), (error) => error);
  assert(error instanceof SedError, error);
  return [error, seen.length];
}

const server = new grpc.Server();
server.addService(SegmentationServiceService, { segmentStream });
const client = new Client(`127.0.0.1:${await listen(server)}`, { timeoutMs: 2000 });

assert.deepEqual(await play(), [upTo(0, 12)]);
const [first, second] = await play({ read: 5, answered: 3, end: RECONNECT });
assert.deepEqual([first, second], [upTo(0, 5), upTo(3, 12)]);
const four = { read: 4, answered: 4, end: RECONNECT };
assert.deepEqual((await play(four, four, four)).slice(0, 3), [upTo(0, 4), upTo(4, 8), upTo(8, 12)]);
assert.deepEqual(await play({ read: 12, answered: 12, end: RECONNECT }), [upTo(0, 12)], "nothing is left to open a stream for");
const early = { read: 3, answered: 1 };
assert.deepEqual(await play({ ...early, end: "cut" }, early), [upTo(0, 3), upTo(1, 4), upTo(2, 12)]);
// Requests that came too late for a server that goes away are refused one by one; then their stream ends.
const [late, again] = await play({ read: 6, answered: 2, refusal: SHUTTING_DOWN, end: SHUTTING_DOWN });
assert.deepEqual([late.slice(0, 3), again], [upTo(0, 3), upTo(2, 12)]);
// Its tries begin again with every answer.
assert.equal((await play(...Array(9).fill({ read: 2, answered: 1, end: RECONNECT }))).length, 10);

const begin = performance.now();
assert.equal((await play({ ...early, end: failure(RESOURCE_EXHAUSTED, "MEMORY_EXHAUSTED", 0.3) })).length, 2);
assert(performance.now() - begin >= 300, "the server's delay was not kept");
const slow = failure(ABORTED, "UPLOAD_TOO_SLOW");
assert.equal((await play({ ...early, end: slow }, { ...early, end: slow })).length, 3);

let [error, streams] = await fail(...Array(99).fill({ read: 2, answered: 0, end: RECONNECT }));
assert(error instanceof Unavailable);
assert.equal(error.reason, "RECONNECT");
assert(streams > 5 && streams <= 21, streams); // until the time without an answer is that of a picture
timeoutMs = 9000;
[error, streams] = await fail(...Array(9).fill({ read: 2, answered: 0 }));
assert.deepEqual([error.constructor, streams], [Unavailable, 5], "a stream that ends without a reason");
timeoutMs = 2000;
[error, streams] = await fail({ ...early, end: failure(RESOURCE_EXHAUSTED, "MEMORY_EXHAUSTED") });
assert(error instanceof Overloaded);
assert.deepEqual([error.reason, streams], ["MEMORY_EXHAUSTED", 1]);
[error, streams] = await fail({ read: 2, answered: 0, end: slow }, { read: 2, answered: 0, end: slow });
assert.deepEqual([error.code, error.reason, streams], [ABORTED, "UPLOAD_TOO_SLOW", 2]);
[error, streams] = await fail({ ...early, end: failure(INTERNAL, "INTERNAL") });
assert.deepEqual([error.code, error.reason, streams], [INTERNAL, "INTERNAL", 1]);

// A picture that is refused for now is sent again on another stream, until its own time is used up.
const FULL = failure(RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.1);
assert.deepEqual((await play({ read: Infinity, answered: 3, refusal: FULL }))[1], upTo(3, 12));
[acts, seen] = [Array(99).fill({ read: Infinity, answered: 0, refusal: FULL }), []];
const refused = [];
for await (const item of client.segmentStream(pictures(2), ["cat"], { timeoutMs: 700 })) refused.push(item);
assert.deepEqual(refused.map(({ number, error }) => [number, error.reason]), [[0, "QUEUE_FULL"], [1, "QUEUE_FULL"]]);
assert(seen.length > 3 && seen.length <= 15, seen.length);

// Words, options and timeouts of single pictures.
[acts, seen, asked] = [[], [], []];
const own = [
  Buffer.from("0"),
  { picture: Buffer.from("1"), words: { vocabulary: "voc-1" }, topK: 7, timeoutMs: 1500 },
  { picture: Buffer.from("2"), contrast: null, minArea: 9 },
  { picture: new Blob(["3"]), words: ["dog"] },
];
const items = [];
for await (const item of client.segmentStream(own, ["cat"], { topK: 3, contrast: "auto" })) items.push(item);
assert(items.every(({ found }) => found));
assert.deepEqual(asked.map(({ request }) => request.vocabulary.source.value.categories?.[0].name ?? request.vocabulary.source.value), ["cat", "voc-1", "cat", "dog"]);
assert.deepEqual(asked.map(({ request }) => request.options.topK), [3, 7, 3, 3]);
assert.deepEqual(asked.map(({ request }) => request.options.minArea), [0, 0, 9, 0]);
assert.deepEqual(asked.map(({ request }) => request.vocabulary.contrast.source?.$case), ["automatic", "automatic", undefined, "automatic"]);
assert.deepEqual(asked.map(({ timeout }) => [timeout.seconds, timeout.nanos]), [[2, 0], [1, 5e8], [2, 0], [2, 0]]);
await assert.rejects(client.segmentStream([Buffer.from("0")]).next(), /words are an array of names.*, not undefined/);

// A generator of the caller's that waits when a stream ends goes on for the next.
let left = false;
async function* slowly() {
  try {
    for (const picture of pictures(6)) {
      await sleep(100);
      yield picture;
    }
  } finally {
    left = true;
  }
}
const two = { read: 2, answered: 2, end: RECONNECT };
[acts, seen] = [[two, two], []];
expectAll(await ask(slowly()), 6);
assert.deepEqual(seen, [[0, 1], [2, 3], [4, 5]]);
left = false;
for await (const { number } of client.segmentStream(slowly(), ["cat"])) if (number === 1) break;
await sleep(300);
assert(left, "the caller's generator was not ended");

// Requests are held until their answer, so no more are made than may be held.
let taken = 0;
function* counted() {
  for (;;) yield Buffer.from(`${taken++}`);
}
[acts, seen] = [[{ read: 128, answered: 1, end: RECONNECT }, { read: Infinity, answered: 0 }], []];
const aborter = new AbortController();
const stream = client.segmentStream(counted(), ["cat"], { signal: aborter.signal });
assert.equal((await stream.next()).value.number, 0);
const waiting = stream.next();
for (let tries = 0; seen[1]?.length !== 128 && tries < 1500; tries++) await sleep(20);
await sleep(200);
assert.deepEqual([taken, seen[1].length], [129, 128], "more were made than may wait for their answer");
aborter.abort();
await assert.rejects(waiting, { code: grpc.status.CANCELLED });

// A caller that gives up while nothing is sent.
const tired = new AbortController();
const never = client.segmentStream((async function* () { await new Promise(() => {}); yield Buffer.alloc(1); })(), ["cat"], { signal: tired.signal });
setTimeout(() => tired.abort(), 100);
await assert.rejects(never.next(), { code: grpc.status.CANCELLED });

client.close();
server.forceShutdown();
console.log("streams that end too early: opened again, nothing lost or answered twice; errors where that does not help");
