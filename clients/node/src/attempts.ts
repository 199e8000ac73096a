// The time and the attempts of a call, of a stream and of a preparation.

import type { SedError } from "./errors";
import { rule } from "./retries";

/** Attempts of a call that no server answers: a wrong address must not cost the whole timeout. */
const UNANSWERED_ATTEMPTS = 5;

/** Milliseconds between two attempts that are refused one after the other, however short the server's delay. */
const SHORTEST_WAIT = 100;

/** The time and the attempts of one call, by the rules of `RETRIES`. */
export class Attempts {
  protected readonly timeoutMs: number;
  readonly readyTimeoutMs: number;
  /** Undefined until the call waits for its words. */
  #readyEnd: number | undefined;
  #end = 0;
  #unanswered = 1;
  #wasRefused = false;
  #wasSlow = false;

  /**
   * `timeoutMs` is for the call with all its attempts. `readyTimeoutMs` is from the first refusal for words that are not
   * embedded yet to the last attempt; each of these attempts has the full timeout.
   */
  constructor(timeoutMs: number, readyTimeoutMs: number) {
    this.timeoutMs = timeoutMs;
    this.readyTimeoutMs = readyTimeoutMs;
    this.#begin(0);
  }

  /** The deadline of the next attempt, in milliseconds since 1970. */
  get deadline(): number {
    return this.#end;
  }

  /** Milliseconds to wait before the next attempt; undefined when there is none. */
  pause(error: SedError): number | undefined {
    const advice = error.retryAfterMs ?? 0;
    switch (rule(error)) {
      case "words":
        return this.pauseForWords(advice);
      case "advice":
        return this.#within(this.#afterRefusal(advice));
      case "backoff":
        if (this.#unanswered >= UNANSWERED_ATTEMPTS) return undefined;
        this.#unanswered += 1;
        return this.#within(100 * 2 ** (this.#unanswered - 1));
      case "once":
        if (this.#wasSlow) return undefined;
        this.#wasSlow = true;
        return this.#within(0);
      case "never":
        return undefined;
    }
  }

  /** Milliseconds to wait before the next attempt; throws the error when there is none. */
  pauseOrThrow(error: SedError): number {
    const pause = this.pause(error);
    if (pause === undefined) throw error;
    return pause;
  }

  protected pauseForWords(advice: number): number | undefined {
    this.#readyEnd ??= Date.now() + this.readyTimeoutMs;
    const delay = stretched(Math.max(advice, SHORTEST_WAIT));
    if (Date.now() + delay > this.#readyEnd) return undefined;
    this.#begin(delay);
    return delay;
  }

  /** Milliseconds within which another attempt may begin. */
  protected left(): number {
    return this.#end - Date.now();
  }

  /** Resets the attempts, their time and the wait for words. */
  protected progressed(): void {
    this.#readyEnd = undefined;
    this.#begin(0);
  }

  #afterRefusal(advice: number): number {
    const delay = this.#wasRefused ? Math.max(advice, SHORTEST_WAIT) : advice;
    this.#wasRefused = true;
    return delay;
  }

  /** A somewhat longer delay; undefined where the time would be over by then. */
  #within(delay: number): number | undefined {
    const left = this.left();
    if (delay >= left) return undefined;
    const longer = stretched(delay);
    return longer < left ? longer : delay;
  }

  /** Begins the call again after a delay, with all of its time and attempts. */
  #begin(delay: number): void {
    this.#end = Date.now() + delay + this.timeoutMs;
    this.#unanswered = 1; // the attempt that begins counts
    this.#wasRefused = false;
    this.#wasSlow = false;
  }
}

/** The attempts of a stream, counted from its last answer; each of its requests has its own time. */
export class StreamAttempts extends Attempts {
  /** Resets the attempts, their time and the wait for words: the stream makes progress. */
  answered(): void {
    this.progressed();
  }
}

/**
 * The attempts of a preparation, within one time for all of them. An endless one, with Infinity, is tried again for
 * `readyTimeoutMs` after its last answer.
 */
export class PreparationAttempts extends StreamAttempts {
  readonly #last: number;

  constructor(timeoutMs: number, readyTimeoutMs: number) {
    super(Number.isFinite(timeoutMs) ? timeoutMs : readyTimeoutMs, readyTimeoutMs);
    this.#last = Date.now() + timeoutMs;
  }

  override get deadline(): number {
    return this.#last;
  }

  protected override left(): number {
    return Math.min(super.left(), this.#last - Date.now());
  }

  protected override pauseForWords(advice: number): number | undefined {
    const pause = super.pauseForWords(advice);
    return pause !== undefined && pause < this.#last - Date.now() ? pause : undefined;
  }
}

/** A longer delay, by chance up to half: clients that were refused together must not return together. */
function stretched(delay: number): number {
  return delay * (1 + Math.random() / 2);
}
