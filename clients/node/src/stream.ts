// A stream of many requests, opened again if the server ends it before the last answer.

import { setTimeout as sleep } from "node:timers/promises";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import type { StreamAttempts } from "./connection";
import { cancelled, isOfCall, NOT_READY, notOpen, ofCall, ofStreamItem, type SedError, unfinished } from "./errors";
import type { SegmentStreamRequest, SegmentStreamResponse } from "./generated/sed/v1/segmentation_service";
import type { Picture } from "./request";
import { type Segmentation, segmentation } from "./result";

/** One picture of a stream, by its number from 0: its result, or the error that concerns it alone. */
export type StreamItem = { number: number; found: Segmentation } | { number: number; error: SedError };

type Call = ClientDuplexStream<SegmentStreamRequest, SegmentStreamResponse>;

/** Requests that are held until their answer. Of large ones the server reads fewer. */
const MOST_UNANSWERED = 128;

/** Yields the answers of one stream after the other; each first sends what the one before left unanswered. */
export async function* streamItems(
  open: () => Call,
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
  call: Call,
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
      const notReady = notReadyIn(answer);
      const pause = notReady && attempts.pause(notReady);
      if (pause !== undefined) return pause; // all that follow have the same words
      const item = requests.answered(answer);
      if (item === undefined) continue;
      if (notReady === undefined) attempts.answered();
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

/**
 * The requests of one stream, whose ids are their numbers. Each is held until it is answered, so that it can be sent again
 * when its stream ends before. A picture that comes after the end of a stream is held for the next one.
 */
export class StreamRequests {
  /** The error of the caller's iterator of pictures, if it failed. */
  failure: { error: unknown } | undefined;
  readonly #pictures: Iterator<Picture> | AsyncIterator<Picture>;
  readonly #make: (picture: Picture, number: number) => Promise<SegmentStreamRequest>;
  readonly #unanswered = new Map<number, SegmentStreamRequest>();
  #made = 0;
  #haveEnded = false;
  #taking: Promise<void> | undefined;
  #wake = () => {};
  /** True once the server of this stream shuts down: it answers no further requests. */
  #isLate = false;

  constructor(
    pictures: Iterable<Picture> | AsyncIterable<Picture>,
    make: (picture: Picture, number: number) => Promise<SegmentStreamRequest>,
  ) {
    this.#pictures = Symbol.asyncIterator in pictures ? pictures[Symbol.asyncIterator]() : pictures[Symbol.iterator]();
    this.#make = make;
  }

  /** Waits for a request to send; false where the last one is answered. */
  async hasNext(signal: AbortSignal): Promise<boolean> {
    const next = await this.#next(-1, signal);
    if (signal.aborted) throw cancelled();
    return next !== undefined;
  }

  /** True once all pictures are answered. */
  get isDone(): boolean {
    return this.#haveEnded && this.#unanswered.size === 0;
  }

  /** Sends the unanswered requests and all that follow, until the stream is over. */
  async send(call: Call, over: AbortSignal): Promise<void> {
    this.#isLate = false;
    let next = await this.#next(-1, over);
    while (next !== undefined && !over.aborted && !this.#isLate) {
      const [number, message] = next;
      if (!call.write(message)) await orAborted(new Promise((resolve) => call.once("drain", resolve)), over);
      next = await this.#next(number, over);
    }
    if (!over.aborted) call.end();
  }

  /** Reads an answer; nothing for a request that came too late for its server, as all that follow would. */
  answered(answer: SegmentStreamResponse): StreamItem | undefined {
    const number = Number(answer.requestId);
    if (!this.#unanswered.has(number)) throw notOpen(answer.requestId);
    const item = streamItem(number, answer);
    this.#isLate = "error" in item && item.error.reason === "SHUTTING_DOWN";
    if (!this.#isLate) this.#unanswered.delete(number);
    this.#wake();
    return this.#isLate ? undefined : item;
  }

  /** Stops reading pictures. */
  close(): void {
    // Not waited for: a generator of the caller's ends only with the picture that it is about to give.
    if (!this.#haveEnded) Promise.resolve(this.#pictures.return?.()).catch(() => {});
  }

  /** Waits for a held request after `sent`, and reads a picture if there is none; undefined after the last picture. */
  async #next(sent: number, over: AbortSignal): Promise<[number, SegmentStreamRequest] | undefined> {
    while (!over.aborted) {
      for (const held of this.#unanswered) if (held[0] > sent) return held;
      if (this.#haveEnded) return undefined;
      if (this.failure !== undefined) throw this.failure.error;
      if (this.#unanswered.size >= MOST_UNANSWERED) {
        await orAborted(new Promise((resolve) => (this.#wake = resolve)), over);
      } else {
        this.#taking ??= this.#take();
        await orAborted(this.#taking, over);
      }
    }
    return undefined;
  }

  async #take(): Promise<void> {
    try {
      const { done, value } = await this.#pictures.next();
      if (done) this.#haveEnded = true;
      else this.#unanswered.set(this.#made, await this.#make(value, this.#made));
      this.#made += 1;
    } catch (error) {
      this.failure = { error };
    } finally {
      this.#taking = undefined;
    }
  }
}

function streamItem(number: number, answer: SegmentStreamResponse): StreamItem {
  if (answer.outcome?.$case === "response") return { number, found: segmentation(answer.outcome.value) };
  return { number, error: ofStreamItem(answer.outcome?.value ?? { code: 2, message: "no outcome", details: [] }) };
}

/** The error of a request whose words are not embedded yet, as those of all its stream. */
function notReadyIn(answer: SegmentStreamResponse): SedError | undefined {
  const error = answer.outcome?.$case === "error" ? ofStreamItem(answer.outcome.value) : undefined;
  return error?.reason === NOT_READY ? error : undefined;
}

/** Waits for something that cannot fail, but no longer than until the signal. */
function orAborted(something: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done, { once: true });
    something.then(done);
    if (signal.aborted) done();
  });
}
