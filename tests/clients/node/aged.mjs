// Streams that outlive their connections, against a server whose connections become old within seconds.
//
// node aged.mjs HOST:PORT OPS_HOST:OPS_PORT QUESTION

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "sed-serve-client";

const PICTURES = 300;
const [target, operations, questionFile] = process.argv.slice(2);
const question = JSON.parse(readFileSync(questionFile, "utf8"));
const picture = readFileSync(resolve(dirname(questionFile), question.image));
const client = new Client(target);
const expected = (await client.segment(picture, question.categories, { topK: 2 })).mask;
for (const anyOrder of [false, true]) {
  const before = await reconnects();
  const numbers = [];
  for await (const { number, found, error } of client.segmentStream(paced(), question.categories, { topK: 2, anyOrder })) {
    assert.equal(error, undefined);
    assert.deepEqual(found.mask, expected);
    numbers.push(number);
  }
  if (anyOrder) numbers.sort((one, other) => one - other);
  assert.deepEqual(numbers, Array.from({ length: PICTURES }, (_, number) => number));
  const again = (await reconnects()) - before;
  assert(again >= 2, `only ${again} streams were ended for the age of their connection`);
  console.log(`${PICTURES} pictures, each answered once, over a stream that was opened again ${again} times`);
}
client.close();

/** Bursts, so that some requests wait unread when a connection is old, and the stream outlives several. */
async function* paced() {
  for (let number = 0; number < PICTURES; number++) {
    if (number % 20 === 0) await sleep(400);
    yield picture;
  }
}

/** Streams that the server ended because their connection was old. */
async function reconnects() {
  const metrics = await (await fetch(`http://${operations}/metrics`)).text();
  return Number(/^sed_requests_rejected_total\{reason="reconnect"\} (\d+)/m.exec(metrics)[1]);
}
