// The table of retries: for each reason of a failed call, whether the same call may succeed later, and when.

import { status } from "@grpc/grpc-js";
import type { SedError } from "./errors";

/**
 * A rule for trying a failed call again.
 *
 * - `never`: the same call fails again, or only the caller can change what it failed for.
 * - `advice`: after the delay that the server sends, until the call's timeout is used up.
 * - `words`: after the server's delay, each time with the full timeout, until `readyTimeoutMs` is used up.
 * - `once`: at once, but a single time. A line that was held up may flow again; one that is slow is slow again.
 * - `backoff`: after growing pauses, a few times: nothing says that a server will be there.
 */
export type Retry = "never" | "advice" | "words" | "once" | "backoff";

/** The rule for each reason of proto/sed/v1/error_reason.proto. */
export const RETRIES: Readonly<Record<string, Retry>> = {
  // The request itself is at fault, or exceeds a limit.
  FIELD_MISSING: "never",
  IMAGE_CORRUPT: "never",
  IMAGE_TOO_LARGE: "never",
  IMAGE_UNSUPPORTED: "never",
  VOCABULARY_EMPTY: "never",
  VOCABULARY_TOO_LARGE: "never",
  CATEGORY_NAME_INVALID: "never",
  CATEGORY_DUPLICATE: "never",
  OPTION_INVALID: "never",
  OUTPUT_TOO_LARGE: "never",
  MESSAGE_TOO_LARGE: "never",
  REQUEST_MALFORMED: "never",
  STREAM_ID_INVALID: "never",
  TENSOR_INVALID: "never",
  VOCABULARY_BUILT_IN: "never",
  // The server does not have it, and gets it only from the caller: send the picture or the words.
  VOCABULARY_NOT_FOUND: "never",
  IMAGE_NOT_FOUND: "never",
  MODEL_NOT_FOUND: "never",
  // The credentials are at fault.
  TOKEN_MISSING: "never",
  TOKEN_INVALID: "never",
  VOCABULARY_NOT_OWNED: "never",
  // The time is over or too short. Under the same deadline, the work ahead shrinks no faster than the time that is left.
  DEADLINE_EXCEEDED: "never",
  DEADLINE_TOO_SHORT: "never",
  DEADLINE_UNREACHABLE: "never",
  // The device, the registry or the model cannot do it at all.
  DEVICE_OUT_OF_MEMORY: "never",
  TOO_MANY_VOCABULARIES: "never",
  RESULT_NOT_FINITE: "never",
  INTERNAL: "never",
  // The server has no room, is not ready, or goes away: it sends the delay after which to come again.
  QUEUE_FULL: "advice",
  MEMORY_EXHAUSTED: "advice",
  MODEL_NOT_READY: "advice",
  SHUTTING_DOWN: "advice",
  DEVICE_LOST: "advice",
  RECONNECT: "advice",
  VOCABULARY_NOT_READY: "words",
  UPLOAD_TOO_SLOW: "once",
};

/**
 * Returns the rule for an error. One with an unknown reason, or without any, is judged by its code and delay.
 * RESOURCE_EXHAUSTED without a delay is never tried again: the server says so of what can never fit.
 */
export function rule(error: SedError): Retry {
  const isUnavailable = error.code === status.UNAVAILABLE;
  const mayPass = isUnavailable || error.code === status.RESOURCE_EXHAUSTED;
  const known = RETRIES[error.reason] ?? (mayPass ? "advice" : "never");
  if (error.retryAfterMs !== undefined || known === "never" || known === "once") return known;
  return known === "advice" && isUnavailable ? "backoff" : "never";
}
