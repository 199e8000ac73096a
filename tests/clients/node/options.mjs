// Wrong options, timeouts and targets: refused before anything is sent, by errors that can be caught and name them. Right
// timeouts of any length, and unreadable pictures of a stream.
//
// node options.mjs

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import { Client, InvalidRequest } from "sed-serve-client";
import { SegmentationServiceService, SegmentStreamResponse } from "sed-serve-client/dist/generated/sed/v1/segmentation_service.js";
import { CreateVocabularyResponse, ListVocabulariesResponse, PrepareVocabularyResponse } from "sed-serve-client/dist/generated/sed/v1/vocabulary.js";
import { failure, listen, nothing } from "./moody.mjs";

process.on("warning", (warning) => {
  throw warning; // for example of timers that hold no such timeout
});
let calls = 0;
let deadline; // of the last call
let asked = []; // the messages of streams
let refusal; // of the next request of a stream
let end; // of the next stream, after as many answers

const server = new grpc.Server();
server.addService(SegmentationServiceService, {
  segment: (call, answer) => counted(call, () => answer(null, nothing(1))),
  createVocabulary: (call, answer) => counted(call, () => answer(null, CreateVocabularyResponse.fromPartial({ vocabulary: { name: "voc" } }))),
  listVocabularies: (call, answer) => counted(call, () => answer(null, ListVocabulariesResponse.fromPartial({}))),
  prepareVocabulary: (call) => counted(call, () => {
    call.write(PrepareVocabularyResponse.fromPartial({ ready: true }));
    call.end();
  }),
  segmentStream: (call) => counted(call, async () => {
    call.on("error", () => {});
    let answers = end ?? Infinity;
    end = undefined;
    for await (const message of call.iterator({ destroyOnReturn: false })) {
      asked.push(message);
      const { requestId } = message.request;
      const error = refusal;
      refusal = undefined;
      const outcome = error ? { $case: "error", value: error } : { $case: "response", value: nothing(Number(requestId)) };
      call.write(SegmentStreamResponse.fromPartial({ requestId, outcome }));
      if (--answers === 0) break;
    }
    call.end();
  }),
});
server.addService(
  { check: { path: "/grpc.health.v1.Health/Check", requestStream: false, responseStream: false, requestDeserialize: String, responseSerialize: Buffer.from } },
  { check: (call, answer) => counted(call, () => answer(null, [8, 1])) },
);
const target = `127.0.0.1:${await listen(server)}`;
const client = new Client(target);
const [picture, words] = [Buffer.from("x"), ["cat"]];

function counted(call, act) {
  calls += 1;
  deadline = call.getDeadline();
  act();
}

async function collect(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Every call that has options. */
const CALLS = {
  segment: (options) => client.segment(picture, words, options),
  segmentStream: (options) => collect(client.segmentStream([picture], words, options)),
  live: async (options) => collect(client.live([picture], words, options)),
  createVocabulary: (options) => client.createVocabulary(words, options),
  prepareVocabulary: (options) => client.prepareVocabulary(words, options),
  listVocabularies: (options) => collect(client.listVocabularies(options)),
  waitUntilReady: (options) => client.waitUntilReady(options),
  ownOfStream: (options) => collect(client.segmentStream([{ picture, ...options }], words)),
  ownOfLive: async (options) => collect(client.live([{ picture, ...options }], words)),
};
const SEGMENTING = ["segment", "segmentStream", "live", "ownOfStream", "ownOfLive"];

async function refused(name, options, wanted) {
  calls = 0;
  await assert.rejects(CALLS[name](options), wanted, `${name} ${Object.keys(options)}`);
  assert.equal(calls, 0, `${name} sent a request`);
}

// Timeouts.
const WRONG = [[NaN, "RangeError", "NaN"], [-1, "RangeError", "-1"], [-Infinity, "RangeError", "-Infinity"], ["5", "TypeError", '"5"'], [null, "TypeError", "null"], [5n, "TypeError", "5"]];
for (const [timeoutMs, name, found] of WRONG) {
  const wanted = (option) => ({ name, message: new RegExp(`^${option} is ${found}, and must be `) });
  for (const call of Object.keys(CALLS)) await refused(call, { timeoutMs }, wanted("timeoutMs"));
  for (const option of ["timeoutMs", "readyTimeoutMs"]) assert.throws(() => new Client(target, { [option]: timeoutMs }), wanted(option));
  assert.throws(() => client.live(undefined, words, { timeoutMs }), wanted("timeoutMs"));
  const live = client.live(undefined, words);
  assert.throws(() => live.offer({ picture, timeoutMs }), wanted("timeoutMs"));
  assert.equal(live.offer(picture), 0, "a frame that was refused is counted");
  live.close();
}
for (const timeoutMs of [Infinity, 1e16, 1e15, 2 ** 31]) {
  for (const [name, call] of Object.entries(CALLS)) {
    deadline = undefined;
    await call({ timeoutMs });
    assert.equal(deadline, Infinity, name);
  }
  assert(asked.every(({ timeout }) => timeout === undefined || timeout.seconds === 60), "the timeout of a request");
  const patient = new Client(target, { timeoutMs, readyTimeoutMs: timeoutMs });
  await patient.segment(picture, words);
  assert.equal(deadline, Infinity);
  patient.close();
}
for (const name of ["segment", "waitUntilReady", "prepareVocabulary"]) {
  await CALLS[name]({ timeoutMs: 2e9 }); // gRPC sends it in seconds
  assert(Math.abs(deadline - Date.now() - 2e9) < 6e4, `${name}: ${deadline - Date.now()}`);
  await CALLS[name]({ timeoutMs: 2 ** 31 - 1 }); // the longest
  assert.notEqual(deadline, Infinity);
}
// A request without a limit that is refused for now is sent again.
[refusal, calls] = [failure(grpc.status.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.1), 0];
const again = await collect(client.segmentStream([picture], words, { timeoutMs: Infinity }));
assert.deepEqual([again.length, again[0].found.unlabelledPixels, calls], [1, 0, 2]);

// Names and values.
for (const name of Object.keys(CALLS)) {
  await refused(name, { zeal: 2, nonsense: 1 }, { name: "TypeError", message: /^unknown options: nonsense, zeal; known are .*timeoutMs/ });
}
assert.throws(() => new Client(target, { tokens: "x" }), { name: "TypeError", message: /unknown options: tokens; known are token, / });
await assert.rejects(client.segment(picture, words, null), { name: "TypeError", message: /options are an object, not null/ });
await refused("listVocabularies", { topK: 1 }, /unknown options: topK/);
const VALUES = [
  [{ overlay: "x" }, "TypeError", /^overlay is true, false or "fade_unsure", not the text "x"/],
  [{ priority: "x" }, "TypeError", /^priority is "low" or "normal" or "high", not the text "x"/],
  [{ priority: "toString" }, "TypeError", /^priority is/],
  [{ resize: 1 }, "TypeError", /^resize is "direct" or "two_step", not the number 1/],
  [{ synonyms: "all" }, "TypeError", /^synonyms is "mean" or "best"/],
  [{ topK: -1 }, "RangeError", /^topK is -1, and must be an integer from 0 to 4294967295/],
  [{ topK: 1.5 }, "RangeError", /^topK is 1.5/],
  [{ topK: "7" }, "TypeError", /^topK is a number, not the text "7"/],
  [{ minArea: 2 ** 32 }, "RangeError", /^minArea is 4294967296/],
  [{ size: { width: NaN, height: 2 } }, "RangeError", /^width of size is NaN/],
  [{ size: { width: 2 } }, "TypeError", /^height of size is a number, not undefined/],
  [{ size: "large" }, "TypeError", /^size is "model" or \{ width, height \}, not the text "large"/],
  [{ scoreThreshold: NaN }, "RangeError", /^scoreThreshold is NaN, and must be a number from 0 to 1/],
  [{ categoryThresholds: { cat: "x" } }, "TypeError", /^categoryThresholds of cat is a number, not the text "x"/],
  [{ categoryThresholds: new Map([[-1, 0.5]]) }, "RangeError", /^index in categoryThresholds is -1/],
  [{ categoryThresholds: 7 }, "TypeError", /^categoryThresholds are an object or a Map, not the number 7/],
  ...["listRejected", "confidence", "runnerUp", "margin", "reportAmbiguities"].map((name) => {
    return [{ [name]: "no" }, "TypeError", new RegExp(`^${name} is true or false, not the text "no"`)];
  }),
];
for (const [options, name, message] of VALUES) for (const call of SEGMENTING) await refused(call, options, { name, message });
await refused("segment", { requestId: 7 }, { name: "TypeError", message: /^requestId is a text, not the number 7/ });
await refused("segmentStream", { anyOrder: "yes" }, { name: "TypeError", message: /^anyOrder is true or false/ });
await refused("createVocabulary", { embed: 1 }, { name: "TypeError", message: /^embed is true or false/ });
for (const [wrong, name, message] of [
  [{ pixels: picture, width: NaN, height: 1 }, "RangeError", /^width is NaN/],
  [{ imageId: 7 }, "TypeError", /^imageId is a text, not the number 7/],
]) await assert.rejects(client.segment(wrong, words), { name, message });
await assert.rejects(client.segment(picture, { vocabulary: 7 }), { name: "TypeError", message: /^vocabulary is a text/ });

// Targets.
for (const wrong of ["HTTP://host", "https://HTTPS://host", " host", "host ", "ho st:1", "", "http://", "https:///", 7, undefined]) {
  const found = typeof wrong === "string" ? JSON.stringify(wrong) : String(wrong);
  assert.throws(() => new Client(wrong), (error) => error instanceof TypeError && error.message.includes(`${found}; give HOST:PORT`), found);
}
for (const right of [`http://${target}/`, `dns:///${target}`, `ipv4:${target}`]) {
  const other = new Client(right);
  await other.segment(picture, words);
  other.close();
}

// Pictures that cannot be read are errors of their own, in their turn; a stream has no request for them.
const ABSENT = "no/such/file.png";
const numbers = (items) => items.map(({ number, error }) => (error ? `${number}!` : `${number}`)).join(" ");
for (const [pictures, wanted] of [
  [[ABSENT, picture, ABSENT, ABSENT, picture], "0! 1 2! 3! 4"],
  [[picture, ABSENT], "0 1!"],
  [[ABSENT, { picture: ABSENT, topK: 3 }], "0! 1!"],
]) {
  [calls, end] = [0, 1]; // the first stream of each ends after its first answer
  const items = await collect(client.segmentStream(pictures, words));
  assert.equal(numbers(items), wanted);
  const sent = pictures.filter((one) => one === picture).length;
  assert.equal(calls, sent, "streams");
  for (const { error } of items.filter(({ error }) => error)) {
    assert(error instanceof InvalidRequest);
    assert.deepEqual([error.cause.code, error.field], ["ENOENT", "image"]);
    assert.match(error.message, /^the picture cannot be read: ENOENT.*no\/such\/file\.png/);
  }
}
end = undefined;
const unordered = await collect(client.segmentStream([picture, ABSENT, picture], words, { anyOrder: true }));
assert.equal(numbers(unordered.sort((one, other) => one.number - other.number)), "0 1! 2");
// They do not wait for the next picture, and are no more than may be held.
let taken = 0;
const slow = client.segmentStream((async function* () {
  yield picture;
  await sleep(100);
  yield ABSENT;
  await new Promise(() => {});
})(), words);
assert.equal(numbers([(await slow.next()).value, (await slow.next()).value]), "0 1!");
await slow.return();
const many = client.segmentStream((function* () {
  for (;;) {
    taken += 1;
    yield ABSENT;
  }
})(), words);
for (let number = 0; number < 200; number++) assert.equal(numbers([(await many.next()).value]), `${number}!`);
await sleep(100);
assert(taken <= 200 + 129, taken);
await many.return();
const [frame] = await collect(client.live([ABSENT], words));
assert(frame.error instanceof InvalidRequest && frame.error.cause.code === "ENOENT");
await assert.rejects(client.segment(ABSENT, words), { code: "ENOENT" });

client.close();
server.forceShutdown();
console.log("wrong options, timeouts and targets are refused by name, long timeouts are no limit, unreadable pictures errors of their own");
