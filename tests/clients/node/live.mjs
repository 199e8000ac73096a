// Live sessions, and waiting for a server: a server of our own answers when it is told to.
//
// node live.mjs

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import { Client, DeadlineExceeded, InvalidRequest, SedError, Unauthenticated, Unavailable } from "sed-serve-client";
import { SegmentationServiceService } from "sed-serve-client/dist/generated/sed/v1/segmentation_service.js";
import { failure, fails, listen, nothing } from "./moody.mjs";

process.on("warning", (warning) => {
  throw warning; // for example of listeners that pile up
});
const { INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNAUTHENTICATED, UNAVAILABLE } = grpc.status;
const [NOT_SERVING, SERVING] = [2, 1];

let arrived = []; // calls that wait for their answer: the frame, its time in ms, and the answer to give
let notify = () => {};

function segment({ request, getDeadline }, answer) {
  const leftMs = getDeadline() - Date.now();
  arrived.push({ frame: Number(Buffer.from(request.image.source.value).toString()), leftMs, answer, request });
  notify();
}

/** Waits for a call to arrive. */
async function arrival() {
  while (arrived.length === 0) await new Promise((resolve) => (notify = resolve));
  return arrived.shift();
}

const good = ({ frame, answer }) => answer(null, nothing(frame));
const bad = ({ answer }, status) => answer(fails(status));
const frame = (number) => Buffer.from(`${number}`);

const server = new grpc.Server();
server.addService(SegmentationServiceService, {
  segment: (call, answer) => segment({ request: call.request, getDeadline: () => call.getDeadline() }, answer),
});
let health = [];
let checks = 0;
server.addService(
  {
    check: {
      path: "/grpc.health.v1.Health/Check",
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes) => bytes.subarray(2).toString(),
      responseSerialize: (status) => Buffer.from([8, status]),
    },
  },
  {
    check: ({ request }, answer) => {
      assert.equal(request, "sed.v1.SegmentationService");
      checks += 1;
      const next = health.shift() ?? SERVING;
      if (typeof next === "number") answer(null, next);
      else answer(fails(next));
    },
  },
);
const port = await listen(server);
const client = new Client(`127.0.0.1:${port}`, { timeoutMs: 5000 });

// One at a time: while frame 0 is computed, 1 to 4 arrive, and the last of them is the next.
{
  const live = client.live(undefined, ["cat"], { inFlight: 1, topK: 3 });
  const answers = live[Symbol.asyncIterator]();
  assert.equal(live.offer(frame(0)), 0);
  const first = await arrival();
  assert.equal(first.request.options.topK, 3);
  for (let number = 1; number < 5; number++) assert.equal(live.offer(frame(number)), number);
  await sleep(300);
  assert.equal(arrived.length, 0, "more frames are under way than one");
  good(first);
  let { value } = await answers.next();
  assert.deepEqual([value.number, value.found.unlabelledPixels, value.dropped], [0, 0, 3]);
  assert(value.ageMs >= 299, value.ageMs);
  // The clock of a frame runs from when it was handed over.
  const second = await arrival();
  assert(second.frame === 4 && second.leftMs <= 4750 && second.leftMs > 3000, second.leftMs);
  good(second);
  ({ value } = await answers.next());
  assert.deepEqual([value.number, value.dropped], [4, 0]);
  // Answers that find no reader are replaced, too.
  for (const number of [5, 6]) {
    live.offer(frame(number));
    good(await arrival());
    await sleep(100);
  }
  ({ value } = await answers.next());
  assert.deepEqual([value.number, value.dropped], [6, 1]);
  // Refused for now: held for the delay, then the newest is sent.
  live.offer(frame(7));
  const begin = performance.now();
  bad(await arrival(), failure(RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.3));
  await sleep(50);
  live.offer(frame(8));
  const held = await arrival();
  assert(held.frame === 8 && performance.now() - begin >= 290, "the server's delay was not kept");
  good(held);
  ({ value } = await answers.next());
  assert.deepEqual([value.number, value.dropped], [8, 1]);
  // The newest one itself is sent again.
  live.offer(frame(9));
  bad(await arrival(), failure(UNAVAILABLE, "SHUTTING_DOWN", 0.1));
  good(await arrival());
  ({ value } = await answers.next());
  assert.deepEqual([value.number, value.dropped], [9, 0]);
  // An error of one frame is its outcome, and a request may have its own words, options and time.
  live.offer({ picture: frame(10), words: { vocabulary: "voc" }, topK: 0, timeoutMs: 900 });
  const own = await arrival();
  assert.deepEqual([own.request.vocabulary.source.value, own.request.options.topK, own.leftMs <= 900], ["voc", 0, true]);
  bad(own, failure(INVALID_ARGUMENT, "IMAGE_CORRUPT"));
  ({ value } = await answers.next());
  assert(value.error instanceof InvalidRequest && value.number === 10);
  live.offer({ picture: frame(11), timeoutMs: 200 });
  const late = await arrival();
  ({ value } = await answers.next());
  assert(value.error instanceof DeadlineExceeded && value.number === 11);
  good(late);
  live.finish();
  assert.throws(() => live.offer(frame(12)), /the live session is closed/);
  assert((await answers.next()).done);
}

// Two at a time; an answer that a newer one has overtaken is dropped.
{
  const live = client.live(undefined, ["cat"]);
  const answers = live[Symbol.asyncIterator]();
  for (const number of [0, 1, 2]) live.offer(frame(number));
  const [older, newer] = [await arrival(), await arrival()];
  assert.deepEqual([older.frame, newer.frame], [0, 1]);
  good(newer);
  let { value } = await answers.next();
  assert.deepEqual([value.number, value.dropped], [1, 0]);
  good(older);
  good(await arrival());
  ({ value } = await answers.next());
  assert.deepEqual([value.number, value.dropped], [2, 1]);
  // Leaving the loop ends the session.
  live.offer(frame(3));
  const left = await arrival();
  await answers.return();
  assert.throws(() => live.offer(frame(4)), /closed/);
  good(left);
}

// Frames from a generator, which is ended with the session; each has an answer or is counted as dropped.
{
  let ended = false;
  async function* camera(count) {
    try {
      for (let number = 0; number < count; number++) {
        await sleep(20);
        yield frame(number);
      }
    } finally {
      ended = true;
    }
  }
  const serving = (async () => {
    for (;;) {
      const call = await arrival();
      if (call.frame === -1) return;
      await sleep(70);
      good(call);
    }
  })();
  let [answered, dropped, last] = [0, 0, -1];
  for await (const answer of client.live(camera(40), ["cat"])) {
    assert(answer.found && answer.number > last);
    [last, answered, dropped] = [answer.number, answered + 1, dropped + answer.dropped];
  }
  assert.deepEqual([answered + dropped, last], [40, 39]);
  assert(answered >= 5 && dropped >= 10, `${answered} answered, ${dropped} dropped`);
  ended = false;
  for await (const { number } of client.live(camera(1e9), ["cat"])) if (number > 3) break;
  await sleep(200);
  assert(ended, "the caller's generator was not ended");
  client.live(undefined, ["cat"]).offer(frame(-1));
  await serving;
}

// Faults of the caller end the session.
await assert.rejects(client.live([frame(0)])[Symbol.asyncIterator]().next(), /words are an array of names/);
const broken = (async function* () { throw new RangeError("no camera"); })();
await assert.rejects(client.live(broken, ["cat"])[Symbol.asyncIterator]().next(), { name: "RangeError", message: "no camera" });
assert.throws(() => client.live(undefined, ["cat"], { inFlight: 0 }), /inFlight is 0/);
const aborter = new AbortController();
const waiting = client.live(undefined, ["cat"], { signal: aborter.signal })[Symbol.asyncIterator]().next();
aborter.abort();
await assert.rejects(waiting, (error) => error instanceof SedError && error.code === grpc.status.CANCELLED);

// Waiting for a server that starts, and for one that is never there.
health = [NOT_SERVING, failure(UNAVAILABLE, "MODEL_NOT_READY", 1), NOT_SERVING];
await client.waitUntilReady();
assert.equal(checks, 4);
health = Array(99).fill(NOT_SERVING);
await assert.rejects(client.waitUntilReady({ timeoutMs: 500 }), (error) => error instanceof Unavailable && /not ready/.test(error.message));
for (const [status, kind] of [[failure(UNAUTHENTICATED, "TOKEN_MISSING"), Unauthenticated], [failure(NOT_FOUND, ""), SedError]]) {
  [health, checks] = [[status], 0];
  await assert.rejects(client.waitUntilReady(), kind);
  assert.equal(checks, 1);
}
const empty = new grpc.Server();
const free = await listen(empty);
empty.forceShutdown();
const absent = new Client(`127.0.0.1:${free}`);
await assert.rejects(absent.waitUntilReady({ timeoutMs: 400 }), Unavailable);

for (const one of [client, absent]) one.close();
server.forceShutdown();
console.log("live: the newest frame is sent, older ones are counted; waiting until a server is ready");
