// A live session: the newest frame is sent, older ones are dropped.

import { randomUUID } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { StreamAttempts } from "./attempts";
import { cancelled, SedError, tooOld } from "./errors";
import type { SegmentRequest, SegmentResponse } from "./generated/sed/v1/segmentation_service";
import type { Defaults, Picture, Request } from "./request";
import { type Segmentation, segmentation } from "./result";
import type { Pictures } from "./streamRequests";

/** Milliseconds for which a session sends nothing after an error that ends the attempts: it must not add to an overload. */
const LONGEST_HOLD = 1000;

type Outcome = { found: Segmentation } | { error: SedError };

/** The answer to one frame of a live session: its result, or the error that concerns this frame alone. */
export type LiveAnswer = Outcome & {
  /** The number of the frame, from 0, as `offer` returned it; it rises from answer to answer. */
  number: number;
  /** Milliseconds from when the frame was handed over to its answer. */
  ageMs: number;
  /** Frames since the answer before that were given up for newer ones. */
  dropped: number;
};

/** A frame that was handed over; its times are in milliseconds since 1970. */
interface Frame {
  number: number;
  picture: Picture | Request;
  begin: number;
  end: number;
}

/** One attempt of a call: its message, its deadline in milliseconds since 1970, and what ends it. */
type Call = (message: SegmentRequest, deadline: number, signal: AbortSignal) => Promise<SegmentResponse>;

/**
 * Frames go in by `offer`, or from an iterable; the answers come out by iteration, the newest first to be had. A frame that
 * waits is replaced by the next one, and so is an answer that waits for its reader: an answer is never older than the frames
 * before it took to compute. A refusal for now holds the session for the server's delay, and then the newest frame is sent.
 * An error that does not pass is the outcome of its frame, and the session goes on.
 */
export class Live implements AsyncIterable<LiveAnswer> {
  readonly #call: Call;
  readonly #defaults: Defaults;
  readonly #attempts: StreamAttempts;
  readonly #inFlight: number;
  readonly #signal: AbortSignal | undefined;
  readonly #over = new AbortController();
  #failure: { error: unknown } | undefined;
  #isClosed = false;
  #offered = 0;
  #newest: Frame | undefined;
  #underWay = 0;
  #heldUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  /** The number of the newest frame that was answered. */
  #answered = -1;
  #dropped = 0;
  #answer: LiveAnswer | undefined;
  #wake = () => {};

  constructor(call: Call, defaults: Defaults, attempts: StreamAttempts, inFlight: number, signal?: AbortSignal) {
    if (!Number.isInteger(inFlight) || inFlight < 1) {
      throw new RangeError(`inFlight is ${inFlight}, and must be an integer of 1 or more`);
    }
    this.#call = call;
    this.#defaults = defaults;
    this.#attempts = attempts;
    this.#inFlight = inFlight;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#abort, { once: true });
    if (signal?.aborted) this.#abort();
  }

  /** Hands over the newest frame, whose clock starts now, and returns its number. Never waits. */
  offer(picture: Picture | Request): number {
    if (this.#isClosed) throw new TypeError("the live session is closed");
    const begin = Date.now();
    const end = begin + this.#defaults.timeoutMsOf(picture);
    this.#dropped += Number(this.#newest !== undefined);
    const number = this.#offered++;
    this.#newest = { number, picture, begin, end };
    this.#sendNewest();
    return number;
  }

  /** Accepts no more frames; iteration ends after the answers to those that are left. */
  finish(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /** Ends the session, and gives up what was not answered. */
  close(): void {
    this.#isClosed = true;
    this.#newest = this.#answer = undefined;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#over.abort();
    this.#wake();
  }

  /** Reads frames as fast as they come, until the last one or the end of the session. */
  async read(frames: Pictures): Promise<void> {
    try {
      for await (const picture of frames) {
        if (this.#isClosed) return;
        this.offer(picture);
        await setImmediate(); // an iterable that never waits must not hold up the connection
      }
      this.finish();
    } catch (error) {
      this.#fail(error);
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<LiveAnswer> {
    try {
      for (;;) {
        const answer = this.#answer;
        this.#answer = undefined;
        if (answer !== undefined) yield answer;
        else if (this.#failure !== undefined) throw this.#failure.error;
        else if (this.#isOver) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.close();
    }
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted || (this.#isClosed && this.#newest === undefined && this.#underWay === 0);
  }

  /** Sends the newest frame, if there is one and it may be sent now; else comes back when it may. */
  #sendNewest(): void {
    const frame = this.#newest;
    if (frame === undefined || this.#underWay >= this.#inFlight) return;
    const hold = this.#heldUntil - Date.now();
    if (hold > 0) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#sendNewest(), hold + 1);
      return;
    }
    this.#newest = undefined;
    this.#send(frame);
  }

  async #send(frame: Frame): Promise<void> {
    this.#underWay += 1;
    try {
      const message = await this.#defaults.message(frame.picture, randomUUID());
      if (Date.now() >= frame.end) throw tooOld(frame.number, Date.now() - frame.begin);
      const answer = await this.#call(message, frame.end, this.#over.signal);
      this.#attempts.answered();
      this.#store(frame, { found: segmentation(answer) });
    } catch (error) {
      if (error instanceof SedError) this.#failed(frame, error);
      else this.#fail(error);
    }
    this.#underWay -= 1;
    this.#sendNewest();
    this.#wake();
  }

  /** Holds the session where the error passes, to send the newest frame after it; else stores the error. */
  #failed(frame: Frame, error: SedError): void {
    const pause = this.#attempts.pause(error);
    const hold = pause ?? Math.min(error.retryAfterMs ?? 0, LONGEST_HOLD);
    this.#heldUntil = Math.max(this.#heldUntil, Date.now() + hold);
    if (pause === undefined) this.#store(frame, { error });
    else if (this.#newest !== undefined || frame.number < this.#answered) this.#dropped += 1;
    else if (this.#heldUntil < frame.end && !this.#over.signal.aborted) this.#newest = frame;
    else this.#store(frame, { error });
  }

  #store(frame: Frame, outcome: Outcome): void {
    if (this.#over.signal.aborted) return;
    // A newer frame may have been faster, and an answer may have found no reader in time.
    this.#dropped += Number(frame.number < this.#answered);
    if (frame.number < this.#answered) return;
    if (this.#answer !== undefined) this.#dropped += this.#answer.dropped + 1;
    this.#answered = frame.number;
    const { number, begin } = frame;
    this.#answer = { ...outcome, number, ageMs: Date.now() - begin, dropped: this.#dropped };
    this.#dropped = 0;
  }

  /** Ends the session for a fault of its caller's frames. */
  #fail(error: unknown): void {
    this.#isClosed = true;
    this.#newest = undefined;
    this.#failure ??= { error };
    this.#wake();
  }

  readonly #abort = (): void => {
    this.#failure ??= { error: cancelled() };
    this.close();
  };
}
