// What the client does when a server puts it off: a server of our own answers with errors first, then with a result.
//
// node retries.mjs

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { Client, Overloaded, RETRIES, SedError, Unavailable } from "sed-serve-client";
import { ErrorReason } from "sed-serve-client/dist/generated/sed/v1/error_reason.js";
import { SegmentationServiceService } from "sed-serve-client/dist/generated/sed/v1/segmentation_service.js";
import { failure, fails, listen, nothing } from "./moody.mjs";

let failures = [];
let calls = 0;
let round = 0;
const tokens = new Set();

/** Answers with the size of the picture's file, or fails as it is told to. */
function segment({ request, metadata }, answer) {
  // An attempt whose time was over on its way must not use up a failure of the next round.
  if (request.requestId !== `${round}`) return answer(null, nothing(0));
  calls += 1;
  tokens.add(metadata.get("authorization")[0]);
  const failure = failures.shift();
  if (failure === undefined) {
    return answer(null, nothing(request.image.source.value.length));
  }
  return answer(fails(failure));
}

/** Lets the calls before fail in these ways, and tells how often a call was made and how it ended. */
async function tried(these, picture = Buffer.from("x"), options = {}) {
  failures = these;
  calls = 0;
  round += 1;
  const end = await client.segment(picture, ["cat"], { requestId: `${round}`, ...options }).catch((error) => error);
  return [calls, end];
}

const server = new grpc.Server({ "grpc.max_receive_message_length": 32 << 20 });
server.addService(SegmentationServiceService, { segment });
const port = await listen(server);
const client = new Client(`http://127.0.0.1:${port}`, { token: "s3cret" });
const { ABORTED, RESOURCE_EXHAUSTED, UNAVAILABLE, INTERNAL } = grpc.status;
const full = failure(RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.1);
const away = failure(UNAVAILABLE, "SHUTTING_DOWN", 1);

const begin = performance.now();
let [times, end] = await tried([full, full]);
assert.deepEqual([times, end.unlabelledPixels], [3, 1]);
assert(performance.now() - begin >= 200, "the server's delay was not kept");

[times, end] = await tried([away], Buffer.alloc(3 << 20)); // larger than grpc-js' own buffer for retries
assert.deepEqual([times, end.unlabelledPixels], [2, 3 << 20]);

// A refusal for now is tried again until the timeout is used up, however often.
[times, end] = await tried(Array(9).fill(full));
assert.deepEqual([times, end.unlabelledPixels], [10, 1]);
[times, end] = await tried(Array(99).fill(full), undefined, { timeoutMs: 1000 });
assert(end instanceof Overloaded);
assert.deepEqual([end.reason, end.retryAfterMs, end.metadata], ["QUEUE_FULL", 100, { limit: "1" }]);
assert(times > 5 && times <= 10, times);
const atOnce = failure(RESOURCE_EXHAUSTED, "QUEUE_FULL", 0);
[times, end] = await tried(Array(99).fill(atOnce), undefined, { timeoutMs: 500 });
assert(times > 2 && times <= 6, `a server without a delay is asked ${times} times`);

[times, end] = await tried([failure(RESOURCE_EXHAUSTED, "QUEUE_FULL", 30)], undefined, { timeoutMs: 5000 });
assert(end instanceof Overloaded);
assert.deepEqual([times, end.retryAfterMs], [1, 30_000], "it waits beyond its own deadline");

[times, end] = await tried([failure(RESOURCE_EXHAUSTED, "DEVICE_OUT_OF_MEMORY")]);
assert.deepEqual([times, end.reason, end.retryAfterMs], [1, "DEVICE_OUT_OF_MEMORY", undefined]);

const shared = failure(RESOURCE_EXHAUSTED, "MEMORY_EXHAUSTED", 0.1);
[times, end] = await tried([shared, shared]);
assert.deepEqual([times, end.unlabelledPixels], [3, 1]);
[times, end] = await tried([failure(RESOURCE_EXHAUSTED, "MEMORY_EXHAUSTED")]);
assert(end instanceof Overloaded);
assert.deepEqual([times, end.reason, end.retryAfterMs], [1, "MEMORY_EXHAUSTED", undefined], "it can never fit");

const slow = failure(ABORTED, "UPLOAD_TOO_SLOW");
[times, end] = await tried([slow]);
assert.deepEqual([times, end.unlabelledPixels], [2, 1]);
[times, end] = await tried([slow, slow]);
assert.deepEqual([times, end.code, end.reason], [2, ABORTED, "UPLOAD_TOO_SLOW"]);

// The delay is advice for a later deadline; under this one, no try can succeed.
[times, end] = await tried(Array(9).fill(failure(RESOURCE_EXHAUSTED, "DEADLINE_UNREACHABLE", 0.1)));
assert(end instanceof Overloaded);
assert.deepEqual([times, end.reason, end.retryAfterMs], [1, "DEADLINE_UNREACHABLE", 100]);

[times, end] = await tried(Array(9).fill(away), undefined, { timeoutMs: 2900 });
assert(end instanceof Unavailable);
assert.deepEqual([end.reason, end.name], ["SHUTTING_DOWN", "Unavailable"]);
assert(times === 2 || times === 3, times);

// Where no server says when to come again, a few tries are enough.
[times, end] = await tried(Array(9).fill(failure(UNAVAILABLE, "")));
assert(end instanceof Unavailable);
assert.equal(times, 5);

// The table has a rule for each reason of the proto; by "never", nothing is tried again, whatever comes with it.
const reasons = Object.keys(ErrorReason).filter((name) => name.startsWith("ERROR_REASON_")).map((name) => name.replace("ERROR_REASON_", ""));
assert.deepEqual(reasons.filter((name) => name !== "UNSPECIFIED").sort(), Object.keys(RETRIES).sort());
for (const [reason, rule] of Object.entries(RETRIES)) {
  const wanted = { never: 1, once: 2 }[rule] ?? 3;
  [times] = await tried(Array(2).fill(failure(RESOURCE_EXHAUSTED, reason, 0.01)), undefined, { timeoutMs: 5000 });
  assert.equal(times, wanted, reason);
}

[times, end] = await tried([failure(INTERNAL, "INTERNAL")]);
assert.equal(end.constructor, SedError);

// What is plain is taken, what is not is refused in a sentence.
const nine = new Uint8Array(18).subarray(9);
for (const picture of [nine, nine.slice().buffer, new DataView(nine.buffer, 9), new Uint16Array(9).buffer.slice(9), new Blob([nine])]) {
  assert.deepEqual(await tried([], picture).then(([times, end]) => [times, end.unlabelledPixels]), [1, 9]);
}
for (const [picture, found] of [[null, "null"], [7, "the number 7"], [{ width: 1 }, "a Object"]]) {
  [times, end] = await tried([], picture);
  assert.match(`${end.name}: ${end.message}`, new RegExp(`^TypeError: a picture is .*, not ${found}`));
}
for (const [words, found] of [["cat", /words are an array of names.*, not the text "cat"/], [undefined, /words are .*, not undefined/],
  [[undefined], /category 0 is a name.*, not undefined/], [["cat", []], /category 1 is .*, not an empty array/], [[["cat", 7]], /category 0/]]) {
  await assert.rejects(client.segment(nine, words), (error) => error instanceof TypeError && found.test(error.message));
}
await assert.rejects(client.createVocabulary("cat"), /categories are an array of names, not the text "cat"/);

for (const file of ["picture.bin", "./picture.bin"]) {
  writeFileSync("picture.bin", nine);
  assert.deepEqual(await tried([], file).then(([times, end]) => [times, end.unlabelledPixels]), [1, 9]);
}

[times, end] = await tried([], undefined, { signal: AbortSignal.abort() });
assert.equal(end.code, grpc.status.CANCELLED);
assert.deepEqual([...tokens], ["Bearer s3cret"]);
client.close();
server.forceShutdown();
console.log("retries: after the server's delay, within the timeout, large requests too; typed errors when they end");
