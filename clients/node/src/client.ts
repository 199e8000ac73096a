// The client.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { CallOptions, ClientUnaryCall, Metadata, ServiceError } from "@grpc/grpc-js";
import { Attempts, PreparationAttempts, StreamAttempts } from "./attempts";
import { checkKnown, flag, type Names } from "./checks";
import {
  address,
  CHANNEL_OPTIONS,
  CONNECTION_OPTIONS,
  type ConnectionOptions,
  callMetadata,
  channelCredentials,
} from "./connection";
import { isOfCall, ofCall, SedError, unfinished } from "./errors";
import {
  GetServerInfoRequest,
  type GetServerInfoResponse,
  SegmentationServiceClient,
  type SegmentRequest,
  type SegmentResponse,
  SegmentStreamRequest,
} from "./generated/sed/v1/segmentation_service";
import type { PrepareVocabularyRequest, PrepareVocabularyResponse } from "./generated/sed/v1/vocabulary";
import { untilServing } from "./health";
import { Live } from "./live";
import { type Preparation, preparation } from "./preparation";
import {
  Defaults,
  newVocabulary,
  OPTIONS,
  type Options,
  type Picture,
  preparationRequest,
  type Request,
  segmentRequest,
  WORD_OPTIONS,
  type WordOptions,
  type Words,
} from "./request";
import { duration, type InputWarning, type Segmentation, segmentation, warningsOf } from "./result";
import { streamItems } from "./stream";
import { type Pictures, type StreamItem, StreamRequests } from "./streamRequests";
import { timeout } from "./timeouts";
import { type NamedVocabulary, named } from "./vocabulary";

/** Options of a call, besides those of its request. */
export interface Call {
  /**
   * Milliseconds for the call with all its retries. Infinity, and more than 2,147,483,647 (24 days), is no limit of the
   * client's; that of the server, `Limits.max_timeout`, remains.
   */
  timeoutMs?: number;
  /** Ends the call. */
  signal?: AbortSignal;
}

const CALL: Names<Call> = { timeoutMs: true, signal: true };

type Method<Request, Answer> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, answer: Answer) => void,
) => ClientUnaryCall;

/**
 * A connection to a sed-serve server, or to several behind one name. The target is HOST:PORT, a URL (https:// means TLS,
 * http:// none), or any target of gRPC. Calls fail with a SedError. A call is tried again where that may help, by the rules
 * of `RETRIES`: a refusal for now after the server's delay, until the timeout is used up. A call whose words cannot be
 * embedded within its timeout has them prepared by the server, and is tried again until they are ready, each time with its
 * full timeout (VOCABULARY_NOT_READY).
 */
export class Client {
  readonly timeoutMs: number;
  readonly readyTimeoutMs: number;
  readonly #metadata: Metadata;
  readonly #stub: SegmentationServiceClient;

  constructor(target: string, options: ConnectionOptions = {}) {
    checkKnown(options, CONNECTION_OPTIONS);
    this.timeoutMs = timeout("timeoutMs", options.timeoutMs, 60_000);
    this.readyTimeoutMs = timeout("readyTimeoutMs", options.readyTimeoutMs, 900_000);
    this.#metadata = callMetadata(options.token);
    this.#stub = new SegmentationServiceClient(address(target), channelCredentials(target, options), CHANNEL_OPTIONS);
  }

  /** Segments one picture. */
  async segment(
    picture: Picture,
    words: Words,
    options: Options & Call & { requestId?: string } = {},
  ): Promise<Segmentation> {
    checkKnown(options, { ...OPTIONS, ...CALL, requestId: true });
    timeout("timeoutMs", options.timeoutMs, this.timeoutMs);
    const { requestId = randomUUID() } = options;
    const request = await segmentRequest(picture, words, options, requestId);
    return segmentation(await this.#call(this.#stub.segment, request, options));
  }

  /**
   * Segments many pictures over one stream, and yields a result or an error for each. A picture `{ picture, ... }` may have
   * words, a timeout and options of its own, in place of those given here. Pictures are taken only as fast as the server
   * works; `timeoutMs` is that of each picture; `anyOrder` yields answers as they are ready. A stream that its server ends
   * before the last answer is opened again, and what was not answered is sent again; so it is where a picture is refused
   * for now.
   */
  async *segmentStream(
    pictures: Pictures,
    words?: Words,
    options: Options & Call & { anyOrder?: boolean } = {},
  ): AsyncGenerator<StreamItem> {
    checkKnown(options, { ...OPTIONS, ...CALL, anyOrder: true });
    const timeoutMs = timeout("timeoutMs", options.timeoutMs, this.timeoutMs);
    const anyOrder = flag("anyOrder", options.anyOrder);
    const defaults = new Defaults(words, timeoutMs, options);
    const make = async (picture: Picture | Request, number: number) => {
      const timeout = duration(defaults.timeoutMsOf(picture));
      const request = await defaults.message(picture, String(number));
      return SegmentStreamRequest.fromPartial({ request, timeout, anyOrder });
    };
    const requests = new StreamRequests(pictures, make, anyOrder);
    const open = () => this.#stub.segmentStream(this.#metadata, {});
    yield* streamItems(open, requests, new StreamAttempts(timeoutMs, this.readyTimeoutMs), options.signal);
  }

  /**
   * Segments the newest frame of a camera, again and again, and drops the frames that it has no time for. `frames` are read
   * as fast as they come; without them frames are handed over by `Live.offer`. Do not write into bytes that were handed
   * over. `inFlight`, 2 without it, are under way at the same time: one travels while the other is computed. `timeoutMs` is
   * for each frame, from when it was handed over to its answer.
   */
  live(frames?: Pictures, words?: Words, options: Options & Call & { inFlight?: number } = {}): Live {
    checkKnown(options, { ...OPTIONS, ...CALL, inFlight: true });
    const timeoutMs = timeout("timeoutMs", options.timeoutMs, this.timeoutMs);
    const { inFlight = 2, signal } = options;
    const segment = (request: SegmentRequest, deadline: number, signal: AbortSignal) =>
      this.#once(this.#stub.segment as Method<SegmentRequest, SegmentResponse>, request, deadline, signal);
    const attempts = new StreamAttempts(timeoutMs, this.readyTimeoutMs);
    const live = new Live(segment, new Defaults(words, timeoutMs, options), attempts, inFlight, signal);
    if (frames !== undefined) live.read(frames);
    return live;
  }

  /** Registers words under a name; with `embed` their text embeddings are computed at once. */
  async createVocabulary(
    categories: readonly (string | readonly string[])[],
    options: WordOptions & Call & { embed?: boolean } = {},
  ): Promise<NamedVocabulary & { warnings: InputWarning[] }> {
    checkKnown(options, { ...WORD_OPTIONS, ...CALL, embed: true });
    const request = newVocabulary(categories, options);
    const { vocabulary, warnings } = await this.#call(this.#stub.createVocabulary, request, options);
    return { ...named(vocabulary), warnings: warningsOf(warnings) };
  }

  /**
   * Has the server compute the text embeddings of words, and waits for them. This is background work: other requests go
   * before it. `onProgress` is called with each state that the server reports; the last one is returned. Without
   * `timeoutMs` the call lasts as long as the work. What is embedded stays when the call ends early.
   */
  async prepareVocabulary(
    words: Words,
    options: WordOptions & Call & { onProgress?: (state: Preparation) => void } = {},
  ): Promise<Preparation> {
    checkKnown(options, { ...WORD_OPTIONS, ...CALL, onProgress: true });
    const timeoutMs = timeout("timeoutMs", options.timeoutMs, Number.POSITIVE_INFINITY);
    const request = preparationRequest(words, options);
    const attempts = new PreparationAttempts(timeoutMs, this.readyTimeoutMs);
    for (;;) {
      const end = await this.#prepare(request, attempts, options);
      if (!(end instanceof SedError)) return end;
      await sleep(attempts.pauseOrThrow(end), undefined, { signal: options.signal });
    }
  }

  /** Returns a vocabulary with its categories. */
  async getVocabulary(name: string, options: Call = {}): Promise<NamedVocabulary> {
    checkKnown(options, CALL);
    return named((await this.#call(this.#stub.getVocabulary, { name }, options)).vocabulary);
  }

  /** Yields the vocabularies that the server knows, without their categories. */
  async *listVocabularies(options: Call = {}): AsyncGenerator<NamedVocabulary> {
    checkKnown(options, CALL);
    let pageToken = "";
    do {
      const page = await this.#call(this.#stub.listVocabularies, { pageSize: 0, pageToken }, options);
      for (const vocabulary of page.vocabularies) yield named(vocabulary);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** Deletes a registered vocabulary. */
  async deleteVocabulary(name: string, options: Call = {}): Promise<void> {
    checkKnown(options, CALL);
    await this.#call(this.#stub.deleteVocabulary, { name }, options);
  }

  /** Returns the server's model, limits, defaults and vocabularies. */
  async serverInfo(options: Call = {}): Promise<GetServerInfoResponse> {
    checkKnown(options, CALL);
    return this.#call(this.#stub.getServerInfo, GetServerInfoRequest.fromPartial({}), options);
  }

  /**
   * Waits until a server is there and ready for requests: its model is loaded and warmed up. Throws the last error when the
   * timeout is over, and at once what waiting does not mend, for example Unauthenticated.
   */
  async waitUntilReady(options: Call = {}): Promise<void> {
    checkKnown(options, CALL);
    const deadline = Date.now() + timeout("timeoutMs", options.timeoutMs, this.timeoutMs);
    await untilServing(this.#stub, this.#metadata, deadline, options.signal);
  }

  /** Closes the connection once the running calls are done. */
  close(): void {
    this.#stub.close();
  }

  async #call<Request, Answer>(method: Method<Request, Answer>, request: Request, options: Call): Promise<Answer> {
    const timeoutMs = timeout("timeoutMs", options.timeoutMs, this.timeoutMs);
    const attempts = new Attempts(timeoutMs, this.readyTimeoutMs);
    for (;;) {
      try {
        return await this.#once(method, request, attempts.deadline, options.signal);
      } catch (error) {
        await sleep(attempts.pauseOrThrow(error as SedError), undefined, { signal: options.signal });
      }
    }
  }

  /** Reads one stream of a preparation; returns its last state, or the error with which it ended before. */
  async #prepare(
    request: PrepareVocabularyRequest,
    attempts: PreparationAttempts,
    { onProgress, signal }: { onProgress?: (state: Preparation) => void } & Call,
  ): Promise<Preparation | SedError> {
    const call = this.#stub.prepareVocabulary(request, this.#metadata, { deadline: attempts.deadline });
    const cancel = () => call.cancel();
    call.on("error", () => {}); // the loop below sees it
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) cancel();
    let state: Preparation | undefined;
    try {
      for await (const answer of call as AsyncIterable<PrepareVocabularyResponse>) {
        attempts.answered();
        state = preparation(answer);
        onProgress?.(state);
      }
    } catch (error) {
      if (!isOfCall(error)) throw error;
      return ofCall(error);
    } finally {
      signal?.removeEventListener("abort", cancel);
      call.cancel();
    }
    return state?.ready ? state : unfinished();
  }

  #once<Request, Answer>(
    method: Method<Request, Answer>,
    request: Request,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = method.call(this.#stub, request, this.#metadata, { deadline }, (error, answer) => {
        signal?.removeEventListener("abort", cancel);
        if (error === null) resolve(answer);
        else reject(ofCall(error));
      });
      const cancel = () => call.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
      if (signal?.aborted) cancel();
    });
  }
}
