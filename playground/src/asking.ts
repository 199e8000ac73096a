import { type Answer, decodeAnswer } from "./mask/answer";
import type { Picture } from "./picture/picture";
import { ownProblem, problemOf } from "./rpc/problem";
import { drawnRequest } from "./rpc/request";
import { retrying } from "./rpc/retrying";
import type { Server } from "./rpc/server";
import type { Store } from "./state";

/** The deadline of a question. */
const TIMEOUT_MS = 60_000;

/** Asks the server, one question at a time: a new one ends the one before. */
export class Asking {
  readonly #store: Store;
  readonly #server: Server;
  /** The ids of pictures that the server has answered, which stand for their bytes. */
  readonly #ids = new WeakMap<Picture, string>();
  #running: AbortController | null = null;

  constructor(store: Store, server: Server) {
    this.#store = store;
    this.#server = server;
  }

  /** The id that the server has given a picture; empty if it has not seen it yet. */
  idOf(picture: Picture): string {
    return this.#ids.get(picture) ?? "";
  }

  /** Ends the question that runs. */
  stop(): void {
    this.#running?.abort();
    this.#running = null;
    this.#store.set({ phase: { kind: "idle" } });
  }

  /** Asks about the picture of the state, and puts the answer there. */
  async ask(): Promise<void> {
    this.#running?.abort();
    const { picture, words, vocabulary } = this.#store.now;
    if (!picture) return;
    if (words.length === 0 && !vocabulary) {
      this.#store.set({ phase: { kind: "failed", problem: ownProblem("no words yet: type what to look for") } });
      return;
    }
    const running = new AbortController();
    this.#running = running;
    try {
      const call = () => this.#segment(picture, running.signal);
      const answer = await retrying(call, running.signal, (wait) => {
        this.#store.set({ phase: { kind: "waiting", ...wait } });
      });
      if (!running.signal.aborted) this.#store.set({ answer, isolated: null, phase: { kind: "idle" } });
    } catch (error) {
      if (!running.signal.aborted) this.#store.set({ phase: { kind: "failed", problem: problemOf(error) } });
    }
  }

  /** Asks by the picture's id if there is one, and with its bytes where the server has dropped it. */
  async #segment(picture: Picture, signal: AbortSignal): Promise<Answer> {
    const id = this.idOf(picture);
    this.#store.set({ phase: { kind: "asking", since: Date.now() } });
    const began = performance.now();
    try {
      const request = drawnRequest(this.#store.now, picture, id);
      const response = await this.#server.segment(request, { signal, timeoutMs: TIMEOUT_MS });
      if (response.imageId) this.#ids.set(picture, response.imageId);
      return await decodeAnswer(response, performance.now() - began, id !== "");
    } catch (error) {
      if (!id || problemOf(error).reason !== "IMAGE_NOT_FOUND") throw error;
      this.#ids.delete(picture);
      return this.#segment(picture, signal);
    }
  }
}
