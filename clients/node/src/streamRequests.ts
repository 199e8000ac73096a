// The requests of a stream, held until they are answered.

import type { ClientDuplexStream } from "@grpc/grpc-js";
import { cancelled, notOpen, ofStreamItem, SedError } from "./errors";
import type { SegmentStreamRequest, SegmentStreamResponse } from "./generated/sed/v1/segmentation_service";
import type { Picture, Request } from "./request";
import { milliseconds, type Segmentation, segmentation } from "./result";
import { rule } from "./retries";

/** One picture of a stream, by its number from 0: its result, or the error that concerns it alone. */
export type StreamItem = { number: number; found: Segmentation } | { number: number; error: SedError };

/** A call of `SegmentStream`. */
export type StreamCall = ClientDuplexStream<SegmentStreamRequest, SegmentStreamResponse>;

/** Pictures as callers give them. */
export type Pictures = Iterable<Picture | Request> | AsyncIterable<Picture | Request>;

/** Makes the request of a picture; without a timeout there is no limit. Throws a SedError for an unreadable picture. */
type Make = (picture: Picture | Request, number: number) => Promise<SegmentStreamRequest>;

/** Requests that are held until their answer. Of large ones the server reads fewer. */
const MOST_UNANSWERED = 128;

/** The reason of a request that came too late for a server that goes away. */
const LATE = "SHUTTING_DOWN";

/**
 * The requests of one stream, whose ids are their numbers. Each is held until it is answered, so that it can be sent again
 * when its stream ends before. A picture that comes after the end of a stream is held for the next one.
 */
export class StreamRequests {
  /** The error of the caller's iterator of pictures, if it failed. */
  failure: { error: unknown } | undefined;
  readonly #pictures: Iterator<Picture | Request> | AsyncIterator<Picture | Request>;
  /** By number, rising: the requests, and the errors of pictures that could not be read. */
  readonly #unanswered = new Map<number, SegmentStreamRequest | SedError>();
  #haveEnded = false;
  /** The number of the next picture. */
  #count = 0;
  #wake = () => {};
  #reportUnreadable = () => {};
  readonly #make: Make;
  readonly #anyOrder: boolean;
  /** The times at which requests were first refused, in milliseconds since 1970. */
  readonly #refused = new Map<number, number>();
  #taking: Promise<void> | undefined;
  /** True once the server of this stream shuts down: it answers no further requests. */
  #isLate = false;

  constructor(pictures: Pictures, make: Make, anyOrder: boolean) {
    this.#pictures = Symbol.asyncIterator in pictures ? pictures[Symbol.asyncIterator]() : pictures[Symbol.iterator]();
    this.#make = make;
    this.#anyOrder = anyOrder;
  }

  /** Waits for a request to send or a picture that cannot be read; false where the last picture is answered. */
  async hasNext(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted && !this.#haveEnded && this.#unanswered.size === 0) await this.#more(signal);
    if (signal.aborted) throw cancelled();
    return this.#unanswered.size > 0;
  }

  /** Removes a picture that could not be read, once those before it are answered or the order does not matter. */
  unreadable(): StreamItem | undefined {
    for (const [number, held] of this.#unanswered) {
      if (held instanceof SedError) {
        this.#unanswered.delete(number);
        this.#wake();
        return { number, error: held };
      }
      if (!this.#anyOrder) return undefined;
    }
    return undefined;
  }

  /** Waits until another picture cannot be read, but no longer than for something that cannot fail. */
  anotherUnreadable(orElse: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      this.#reportUnreadable = resolve;
      orElse.then(resolve);
    });
  }

  /** True once all pictures are answered. */
  get isDone(): boolean {
    return this.#haveEnded && this.#unanswered.size === 0;
  }

  /** Sends the unanswered requests and all that follow, until the stream is over. */
  async send(call: StreamCall, over: AbortSignal): Promise<void> {
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
    if (!this.#isSent(number)) throw notOpen(answer.requestId);
    const item = streamItem(number, answer);
    this.#isLate = "error" in item && item.error.reason === LATE;
    if (!this.#isLate) {
      this.#unanswered.delete(number);
      this.#refused.delete(number);
    }
    this.#wake();
    return this.#isLate ? undefined : item;
  }

  /**
   * Returns the error of a request that the server refused for now, with a delay after which to come again; nothing for
   * all other answers, and once the request has been refused for its timeout, or for its words for `readyTimeoutMs`.
   */
  refusal(answer: SegmentStreamResponse, readyTimeoutMs: number): SedError | undefined {
    const error = answer.outcome?.$case === "error" ? ofStreamItem(answer.outcome.value) : undefined;
    const how = error && rule(error);
    const number = Number(answer.requestId);
    const request = this.#unanswered.get(number);
    // One that came too late for its server is not answered: see `answered`.
    if (
      request === undefined ||
      request instanceof SedError ||
      (how !== "advice" && how !== "words") ||
      error?.reason === LATE
    )
      return undefined;
    const first = this.#refused.get(number) ?? Date.now();
    this.#refused.set(number, first);
    const timeoutMs = request.timeout === undefined ? Number.POSITIVE_INFINITY : milliseconds(request.timeout);
    const limit = how === "words" ? readyTimeoutMs : timeoutMs;
    return Date.now() - first < limit ? error : undefined;
  }

  /** Stops reading pictures. */
  close(): void {
    // Not waited for: a generator of the caller's ends only with the picture that it is about to yield.
    if (!this.#haveEnded) Promise.resolve(this.#pictures.return?.()).catch(() => {});
  }

  /** Waits for a held request after `sent`, and reads a picture if there is none; undefined after the last picture. */
  async #next(sent: number, over: AbortSignal): Promise<[number, SegmentStreamRequest] | undefined> {
    while (!over.aborted) {
      for (const [number, held] of this.#unanswered) {
        if (number > sent && !(held instanceof SedError)) return [number, held];
      }
      if (this.#haveEnded) return undefined;
      await this.#more(over);
    }
    return undefined;
  }

  /** Reads a picture, or waits for an answer where no more may be held. */
  async #more(over: AbortSignal): Promise<void> {
    if (this.failure !== undefined) throw this.failure.error;
    if (this.#unanswered.size >= MOST_UNANSWERED) {
      await orAborted(new Promise((resolve) => (this.#wake = resolve)), over);
    } else {
      this.#taking ??= this.#take();
      await orAborted(this.#taking, over);
    }
  }

  #isSent(number: number): boolean {
    const held = this.#unanswered.get(number);
    return held !== undefined && !(held instanceof SedError);
  }

  async #take(): Promise<void> {
    try {
      const { done, value } = await this.#pictures.next();
      if (done) this.#haveEnded = true;
      else await this.#hold(value);
      this.#count += 1;
    } catch (error) {
      this.failure = { error };
    } finally {
      this.#taking = undefined;
    }
  }

  async #hold(picture: Picture | Request): Promise<void> {
    try {
      this.#unanswered.set(this.#count, await this.#make(picture, this.#count));
    } catch (error) {
      if (!(error instanceof SedError)) throw error;
      this.#unanswered.set(this.#count, error);
      this.#reportUnreadable();
    }
  }
}

function streamItem(number: number, answer: SegmentStreamResponse): StreamItem {
  if (answer.outcome?.$case === "response") return { number, found: segmentation(answer.outcome.value) };
  return { number, error: ofStreamItem(answer.outcome?.value ?? { code: 2, message: "no outcome", details: [] }) };
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
