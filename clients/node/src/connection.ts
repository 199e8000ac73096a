// Connections to a server: address, credentials, limits and retries.

import { readFileSync } from "node:fs";
import { type ChannelCredentials, type ClientOptions, credentials, Metadata, status } from "@grpc/grpc-js";
import { NOT_READY, type SedError } from "./errors";

/** The path of a PEM file, or its content. */
export type Pem = string | Uint8Array;

/** Credentials and timeout of a connection. */
export interface ConnectionOptions {
  /** The bearer token. Without TLS it can be read on the network. */
  token?: string;
  /** The certificates of authorities to trust; without it, public ones. */
  ca?: Pem;
  /** Our own certificate, where the server asks for one. */
  certificate?: Pem;
  /** The key of our certificate. */
  key?: Pem;
  /** Milliseconds for a call with all its retries, unless the call has a timeout of its own. 60,000 without it. */
  timeoutMs?: number;
  /**
   * Milliseconds that a call may wait for its words (VOCABULARY_NOT_READY), beside its timeout. 900,000 without it; 0
   * turns it off.
   */
  readyTimeoutMs?: number;
}

const MAX_REQUEST_BYTES = 32 << 20;
const MAX_ANSWER_BYTES = 128 << 20;
const ATTEMPTS = 5;
/** Milliseconds between two attempts of a call that waits for its words, however short the server's delay. */
const SHORTEST_WAIT = 100;
/** gRPC tries a stream again only until its first answer; `StreamAttempts` does so all along. */
const STREAMS = ["SegmentStream", "PrepareVocabulary"];

const SERVICE_CONFIG = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{ service: "sed.v1.SegmentationService" }],
      retryPolicy: {
        maxAttempts: ATTEMPTS,
        initialBackoff: "0.2s",
        maxBackoff: "3s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
    { name: STREAMS.map((method) => ({ service: "sed.v1.SegmentationService", method })) },
  ],
};

export const CHANNEL_OPTIONS: ClientOptions = {
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
  "grpc.max_send_message_length": MAX_REQUEST_BYTES,
  "grpc.max_receive_message_length": MAX_ANSWER_BYTES,
  // A request that is larger than this buffer, 1 MiB by default, is never sent again.
  "grpc.per_rpc_retry_buffer_size": MAX_REQUEST_BYTES + (1 << 20),
  // All requests that wait for their answer, together.
  "grpc.retry_buffer_size": 8 * MAX_REQUEST_BYTES,
  // Detects a server that vanished without closing the connection while a call waits for it.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.primary_user_agent": "sed-serve-client-node",
};

/** Strips the scheme of a URL, which only says whether to use TLS; other targets are gRPC's own. */
export function address(target: string): string {
  return target.replace(/^https?:\/\//, "").replace(/\/$/, "");
}

/** TLS for an https URL and wherever a certificate is given, else none. */
export function channelCredentials(target: string, { ca, certificate, key }: ConnectionOptions): ChannelCredentials {
  if ((certificate === undefined) !== (key === undefined)) {
    throw new TypeError("certificate and key belong together: give both or neither");
  }
  if (!target.startsWith("https://") && ca === undefined && certificate === undefined) {
    return credentials.createInsecure();
  }
  if (target.startsWith("http://")) {
    throw new TypeError("an http URL has no TLS: write https, or leave ca, certificate and key out");
  }
  return credentials.createSsl(pem(ca), pem(key), pem(certificate));
}

/** The metadata of every call: the bearer token, if there is one. */
export function callMetadata(token: string | undefined): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

function pem(source: Pem | undefined): Buffer | null {
  if (source === undefined) return null;
  return typeof source === "string" ? readFileSync(source) : Buffer.from(source);
}

/**
 * The time and the attempts of one call. A full server sends a retry delay; the call waits for it if time allows. A call
 * that is refused because its words are not embedded yet is made again, with all of its time and attempts, until
 * `readyTimeoutMs` after the first such refusal.
 */
export class Attempts {
  protected readonly timeoutMs: number;
  protected made = 1;
  readonly #readyTimeoutMs: number;
  /** Undefined until the call waits for its words. */
  #readyEnd: number | undefined;
  #deadline: number;
  #wasSlow = false;

  constructor(timeoutMs: number, readyTimeoutMs: number) {
    this.timeoutMs = timeoutMs;
    this.#readyTimeoutMs = readyTimeoutMs;
    this.#deadline = Date.now() + timeoutMs;
  }

  /** The deadline of the next attempt. */
  get deadline(): number {
    return this.#deadline;
  }

  /** Milliseconds to wait before the next attempt; undefined when there is none. */
  pause(error: SedError): number | undefined {
    if (error.reason === NOT_READY) return this.pauseForWords(error.retryAfterMs);
    let delay = this.delay(error);
    if (error.reason === "UPLOAD_TOO_SLOW") {
      // A line that was held up may flow again; one that is slow is slow again.
      delay = this.#wasSlow ? undefined : 0;
      this.#wasSlow = true;
    }
    if (delay === undefined || this.made >= ATTEMPTS) return undefined;
    delay = stretched(delay);
    if (delay >= this.left()) return undefined;
    this.made += 1;
    return delay;
  }

  /** Milliseconds to wait before the next attempt; throws the error when there is none. */
  pauseOrThrow(error: SedError): number {
    const pause = this.pause(error);
    if (pause === undefined) throw error;
    return pause;
  }

  protected pauseForWords(retryAfterMs: number | undefined): number | undefined {
    if (retryAfterMs === undefined) return undefined;
    this.#readyEnd ??= Date.now() + this.#readyTimeoutMs;
    const delay = stretched(Math.max(retryAfterMs, SHORTEST_WAIT));
    if (Date.now() + delay > this.#readyEnd) return undefined;
    this.#begin(delay);
    return delay;
  }

  /** Milliseconds until the deadline. */
  protected left(): number {
    return this.#deadline - Date.now();
  }

  /** Milliseconds after which the same may succeed; undefined where it cannot, or where gRPC itself tries it again. */
  protected delay(error: SedError): number | undefined {
    // Under the same deadline: the work ahead shrinks no faster than the time that is left.
    if (error.code !== status.RESOURCE_EXHAUSTED || error.reason === "DEADLINE_UNREACHABLE") return undefined;
    return error.retryAfterMs;
  }

  /** Resets the count of attempts, and the wait for words. */
  protected progressed(): void {
    this.#readyEnd = undefined;
    this.#begin(0);
  }

  /** Begins the call again after a delay, with all of its time and attempts. */
  #begin(delay: number): void {
    this.#deadline = Date.now() + delay + this.timeoutMs;
    this.made = 1;
    this.#wasSlow = false;
  }
}

/** The attempts of a stream, counted from its last answer; each of its requests has its own time. */
export class StreamAttempts extends Attempts {
  /** Resets the count of attempts, and the wait for words: the stream makes progress. */
  answered(): void {
    this.progressed();
  }

  /** A request that is sent again has all its time. */
  protected override left(): number {
    return this.timeoutMs;
  }

  protected override delay(error: SedError): number | undefined {
    if (error.code !== status.UNAVAILABLE) return super.delay(error);
    return error.retryAfterMs ?? Math.min(200 * 2 ** (this.made - 1), 3000);
  }
}

/** The attempts of a preparation, counted from its last answer, within one time for all of them; Infinity is endless. */
export class PreparationAttempts extends StreamAttempts {
  readonly #last = Date.now() + this.timeoutMs;

  override get deadline(): number {
    return this.#last;
  }

  protected override left(): number {
    return this.#last - Date.now();
  }

  protected override pauseForWords(retryAfterMs: number | undefined): number | undefined {
    const pause = super.pauseForWords(retryAfterMs);
    return pause !== undefined && pause < this.left() ? pause : undefined;
  }
}

/** A somewhat longer delay, by chance: clients that were refused together must not return together. */
function stretched(delay: number): number {
  return delay * (1 + Math.random() / 4);
}
