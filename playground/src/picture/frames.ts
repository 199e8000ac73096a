import { decodeAnswer } from "../mask/answer";
import { problemOf } from "../rpc/problem";
import { frameRequest } from "../rpc/request";
import type { Server } from "../rpc/server";
import type { Store } from "../state";
import { frameOf } from "./camera";

/** Frames that may be under way: while one is computed, the next one travels. */
const UNDER_WAY = 2;
/** Answers over which the pace is averaged. */
const AVERAGED = 20;
/** The deadline of a frame. */
const TIMEOUT_MS = 10_000;

/**
 * The frames of a video, segmented as fast as the server answers. A frame goes only when fewer than two are under way,
 * so nothing piles up; an answer that a newer one has overtaken is dropped.
 */
export class Frames {
  readonly #store: Store;
  readonly #server: Server;
  readonly #video: HTMLVideoElement;
  readonly #ended = new AbortController();
  #underWay = 0;
  #sent = 0;
  #shown = 0;
  #skipped = 0;
  #lastTime = -1;
  #pausedUntil = 0;
  #answers: { at: number; latencyMs: number }[] = [];

  constructor(store: Store, server: Server, video: HTMLVideoElement) {
    this.#store = store;
    this.#server = server;
    this.#video = video;
  }

  /** Ends the frames; those under way are cancelled. */
  stop(): void {
    this.#ended.abort();
  }

  /** Runs until it is stopped, or until a frame fails with an error that waiting does not mend. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { signal } = this.#ended;
      const tick = () => {
        if (signal.aborted) return resolve();
        if (this.#takes()) this.#segment().catch((error) => (signal.aborted ? resolve() : reject(error)));
        requestAnimationFrame(tick);
      };
      tick();
    });
  }

  /** Reports whether the video has a new frame that may go now. */
  #takes(): boolean {
    const isNew = this.#video.currentTime !== this.#lastTime && this.#video.videoWidth > 0;
    this.#lastTime = this.#video.currentTime;
    if (!isNew) return false;
    if (this.#underWay < UNDER_WAY && performance.now() >= this.#pausedUntil) return true;
    this.#skipped++;
    return false;
  }

  async #segment(): Promise<void> {
    const number = ++this.#sent;
    const began = performance.now();
    this.#underWay++;
    try {
      const frame = await frameOf(this.#video);
      const options = { signal: this.#ended.signal, timeoutMs: TIMEOUT_MS };
      const response = await this.#server.segment(frameRequest(this.#store.now, frame), options);
      const answer = await decodeAnswer(response, performance.now() - began, false);
      if (number < this.#shown || this.#ended.signal.aborted) return;
      this.#shown = number;
      this.#store.set({ picture: frame, answer, example: "", phase: { kind: "idle" }, pace: this.#pace(began) });
    } catch (error) {
      const { retryAfterMs } = problemOf(error);
      if (retryAfterMs === null) throw error;
      this.#pausedUntil = performance.now() + retryAfterMs;
    } finally {
      this.#underWay--;
    }
  }

  #pace(began: number) {
    const at = performance.now();
    this.#answers = [...this.#answers, { at, latencyMs: at - began }].slice(-AVERAGED);
    const span = at - (this.#answers[0]?.at ?? at);
    const latencyMs = this.#answers.reduce((sum, one) => sum + one.latencyMs, 0) / this.#answers.length;
    const framesPerSecond = span > 0 ? ((this.#answers.length - 1) * 1000) / span : 0;
    return { framesPerSecond, latencyMs, skipped: this.#skipped };
  }
}
