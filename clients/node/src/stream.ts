// A stream of many requests, opened again if the server ends it before the last answer.

import { setTimeout as sleep } from "node:timers/promises";
import type { StreamAttempts } from "./attempts";
import { isOfCall, ofCall, unfinished } from "./errors";
import type { SegmentStreamResponse } from "./generated/sed/v1/segmentation_service";
import type { StreamCall, StreamItem, StreamRequests } from "./streamRequests";

/** Yields the answers of one stream after the other; each first sends what the one before left unanswered. */
export async function* streamItems(
  open: () => StreamCall,
  requests: StreamRequests,
  attempts: StreamAttempts,
  signal: AbortSignal = new AbortController().signal,
): AsyncGenerator<StreamItem> {
  try {
    while (await requests.hasNext(signal)) {
      const unreadable = requests.unreadable();
      if (unreadable !== undefined) {
        yield unreadable;
        continue;
      }
      const pause = yield* oneStream(open(), requests, attempts, signal);
      if (pause === undefined) return;
      await sleep(pause, undefined, { signal }).catch(() => {}); // an abort is seen above
    }
  } finally {
    requests.close();
  }
}

/** Yields the answers of one stream; returns the pause before the next one, nothing where all pictures are answered. */
async function* oneStream(
  call: StreamCall,
  requests: StreamRequests,
  attempts: StreamAttempts,
  signal: AbortSignal,
): AsyncGenerator<StreamItem, number | undefined> {
  const over = new AbortController();
  const cancel = () => call.cancel();
  call.on("error", () => {}); // the loop below sees it; one that comes after its end makes no difference
  signal.addEventListener("abort", cancel, { once: true });
  requests.send(call, over.signal).catch(cancel);
  let end = unfinished();
  try {
    for await (const answer of answersOrUnreadable(call, requests)) {
      if ("number" in answer) {
        yield answer;
        continue;
      }
      const refusal = requests.refusal(answer, attempts.readyTimeoutMs);
      const pause = refusal && attempts.pause(refusal);
      if (pause !== undefined) return pause; // all that follow would most likely be refused as well
      const item = requests.answered(answer);
      if (item === undefined) continue;
      if (!("error" in item) || item.error.retryAfterMs === undefined) attempts.answered();
      yield item;
    }
    if (requests.isDone) return undefined;
  } catch (error) {
    if (requests.failure !== undefined) throw requests.failure.error;
    if (!isOfCall(error)) throw error;
    end = ofCall(error);
  } finally {
    over.abort();
    signal.removeEventListener("abort", cancel);
    call.cancel();
  }
  return attempts.pauseOrThrow(end);
}

/** Yields the answers of a stream, and between them, as soon as it is their turn, the pictures that could not be read. */
async function* answersOrUnreadable(
  call: StreamCall,
  requests: StreamRequests,
): AsyncGenerator<SegmentStreamResponse | StreamItem> {
  const answers = (call as AsyncIterable<SegmentStreamResponse>)[Symbol.asyncIterator]();
  for (;;) {
    const next = answers.next();
    let isThere = false;
    const arrived = () => {
      isThere = true;
    };
    const arrival = next.then(arrived, arrived); // a failure is thrown below
    for (;;) {
      for (let item = requests.unreadable(); item !== undefined; item = requests.unreadable()) yield item;
      if (isThere) break;
      await requests.anotherUnreadable(arrival);
    }
    const { done, value } = await next;
    if (done) return;
    yield value;
  }
}
