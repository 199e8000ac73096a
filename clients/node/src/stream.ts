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
    for await (const answer of call as AsyncIterable<SegmentStreamResponse>) {
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
