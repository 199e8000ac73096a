// Connections to a server: address, credentials and limits.

import { readFileSync } from "node:fs";
import { type ChannelCredentials, type ClientOptions, credentials, Metadata } from "@grpc/grpc-js";
import { described, type Names } from "./checks";

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
  /**
   * Milliseconds for a call with all its retries, unless the call has a timeout of its own. 60,000 without it; Infinity, and
   * more than 2,147,483,647 (24 days), is no limit.
   */
  timeoutMs?: number;
  /**
   * Milliseconds that a call may wait for its words (VOCABULARY_NOT_READY), beside its timeout. 900,000 without it; 0
   * turns it off, and no limit is as for `timeoutMs`.
   */
  readyTimeoutMs?: number;
}

export const CONNECTION_OPTIONS: Names<ConnectionOptions> = {
  token: true,
  ca: true,
  certificate: true,
  key: true,
  timeoutMs: true,
  readyTimeoutMs: true,
};

const MAX_REQUEST_BYTES = 32 << 20;
const MAX_ANSWER_BYTES = 128 << 20;

/** Without a retry policy of gRPC: it knows neither the server's delay nor its reason. See `RETRIES`. */
const SERVICE_CONFIG = { loadBalancingConfig: [{ round_robin: {} }] };

export const CHANNEL_OPTIONS: ClientOptions = {
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
  "grpc.max_send_message_length": MAX_REQUEST_BYTES,
  "grpc.max_receive_message_length": MAX_ANSWER_BYTES,
  // A request that is larger than this buffer, 1 MiB by default, is not sent again where no server has seen it.
  "grpc.per_rpc_retry_buffer_size": MAX_REQUEST_BYTES + (1 << 20),
  // All requests that wait for their answer, together.
  "grpc.retry_buffer_size": 8 * MAX_REQUEST_BYTES,
  // Detects a server that vanished without closing the connection while a call waits for it.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // A replica that comes back is used within seconds; by default gRPC waits up to two minutes before it looks again.
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.primary_user_agent": "sed-serve-client-node",
};

/**
 * Strips the scheme of a URL, which only says whether to use TLS; other targets are gRPC's own. Throws a TypeError for a
 * target without a host, with a space, or with HTTP:// in capitals.
 */
export function address(target: string): string {
  const found = typeof target === "string" ? target.replace(/^https?:\/\//, "").replace(/\/$/, "") : "";
  if (found === "" || /\s|^https?:/i.test(found)) {
    const known = "HOST:PORT, a URL (http://HOST:PORT, https:// for TLS, in lower case) or a target of gRPC";
    throw new TypeError(`the target is ${described(target)}; give ${known}, without spaces`);
  }
  return found;
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
