// Errors of calls, read from the gRPC status and the google.rpc details that the server sends with it.

import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { Any } from "./generated/google/protobuf/any";
import { BadRequest, ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details";
import { Status } from "./generated/google/rpc/status";
import type { StreamError } from "./generated/sed/v1/segmentation_service";

/** A failed call. proto/sed/v1/error_reason.proto explains each `reason`. */
export class SedError extends Error {
  /** The gRPC status code. */
  readonly code: status;
  /** The stable reason, for example `IMAGE_CORRUPT`; empty where the server sent none. */
  readonly reason: string = "";
  /** Path of the offending field in the request, for example `image.encoded`; empty where there is none. */
  readonly field: string = "";
  /**
   * Milliseconds after which the call may succeed, with the reason DEADLINE_UNREACHABLE only under a later deadline;
   * undefined where waiting does not help.
   */
  readonly retryAfterMs: number | undefined;
  /** Details of the reason, for example the limit that was exceeded. */
  readonly metadata: Readonly<Record<string, string>> = {};

  constructor(code: status, message: string, details: readonly Any[]) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    for (const { typeUrl, value } of details) {
      switch (typeUrl.slice(typeUrl.lastIndexOf("/") + 1)) {
        case "google.rpc.ErrorInfo": {
          const info = ErrorInfo.decode(value);
          this.reason = info.reason;
          this.metadata = info.metadata;
          break;
        }
        case "google.rpc.BadRequest":
          this.field = BadRequest.decode(value).fieldViolations[0]?.field ?? "";
          break;
        case "google.rpc.RetryInfo": {
          const delay = RetryInfo.decode(value).retryDelay;
          this.retryAfterMs = delay && delay.seconds * 1e3 + delay.nanos / 1e6;
          break;
        }
      }
    }
  }
}

/** The request breaks a rule or a limit; sending it again does not help. */
export class InvalidRequest extends SedError {}

/** The server does not know this vocabulary or does not hold this image any more. */
export class NotFound extends SedError {}

/**
 * The server has too little room for the request: until the timeout, where `retryAfterMs` is set, else at all. With the reason
 * VOCABULARY_NOT_READY the words cannot be embedded within the deadline. Where `retryAfterMs` is set, the server prepares
 * them, and `metadata` says how many of its `phrases` are `embedded`; the client tries such calls again for its
 * `readyTimeoutMs`.
 */
export class Overloaded extends SedError {}

/** No server answers, or none was ready until the timeout. */
export class Unavailable extends SedError {}

/** The time was over, or is too short for the request. */
export class DeadlineExceeded extends SedError {}

/** The token is missing or not accepted. */
export class Unauthenticated extends SedError {}

/** The caller may not do this. */
export class PermissionDenied extends SedError {}

const KINDS = new Map<status, typeof SedError>([
  [status.INVALID_ARGUMENT, InvalidRequest],
  [status.OUT_OF_RANGE, InvalidRequest],
  [status.FAILED_PRECONDITION, InvalidRequest],
  [status.NOT_FOUND, NotFound],
  [status.RESOURCE_EXHAUSTED, Overloaded],
  [status.UNAVAILABLE, Unavailable],
  [status.DEADLINE_EXCEEDED, DeadlineExceeded],
  [status.UNAUTHENTICATED, Unauthenticated],
  [status.PERMISSION_DENIED, PermissionDenied],
]);

function ofStatus(code: status, message: string, details: readonly Any[]): SedError {
  const Kind = KINDS.get(code) ?? SedError;
  return new Kind(code, message, details);
}

/** Recognises what grpc-js throws for a failed call. */
export function isOfCall(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && error.metadata instanceof Metadata;
}

/** Returns the error of a failed call. */
export function ofCall(error: ServiceError): SedError {
  const raw = error.metadata.get("grpc-status-details-bin")[0];
  return ofStatus(error.code, error.details, raw instanceof Buffer ? Status.decode(raw).details : []);
}

/** Returns the error of a failed request on a stream. */
export function ofStreamItem(error: StreamError): SedError {
  return ofStatus(error.code, error.message, error.details);
}

/** The error of a stream that its server ended without one, before its last answer. */
export function unfinished(): SedError {
  return ofStatus(status.UNAVAILABLE, "the server ended the stream before its last answer", []);
}

/** The error of an answer to a request that is answered already, or was never sent. */
export function notOpen(id: string): SedError {
  return ofStatus(status.INTERNAL, `the server answered request ${id}, which was not open`, []);
}

/** The error of a server that answers, and does not accept requests yet. */
export function notReady(): SedError {
  return ofStatus(status.UNAVAILABLE, "the server is there, and not ready for requests", []);
}

/** The error of a frame whose time was over before it could be sent. */
export function tooOld(number: number, ageMs: number): SedError {
  const message = `frame ${number} waited ${(ageMs / 1e3).toFixed(1)} s and was not sent; give it more time`;
  return ofStatus(status.DEADLINE_EXCEEDED, message, []);
}

/** The error of one of several pictures whose file cannot be read; its `cause` is the system's error. */
export function unreadable(cause: Error): SedError {
  const message = `the picture cannot be read: ${cause.message}; nothing was sent`;
  return Object.assign(ofStatus(status.INVALID_ARGUMENT, message, []), { cause, field: "image" });
}

/** The error of a call that the caller's signal ended while nothing was sent. */
export function cancelled(): SedError {
  return ofStatus(status.CANCELLED, "the caller ended the call", []);
}
