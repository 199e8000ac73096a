import { Code, ConnectError } from "@connectrpc/connect";
import { milliseconds } from "../format";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../generated/google/rpc/error_details_pb";

/** An error as the server words it, with its google.rpc details. */
export interface Problem {
  /** The gRPC code, for example `INVALID_ARGUMENT`. */
  code: string;
  /** The reason of error_reason.proto; empty if the error is not the server's own. */
  reason: string;
  message: string;
  /** The fields of the request that are at fault, the resources that are missing and the quotas that are used up. */
  places: readonly { name: string; description: string }[];
  metadata: Readonly<Record<string, string>>;
  /** The delay after which the server wants to be asked again; `null` if it names none. */
  retryAfterMs: number | null;
}

/** Reads an error of a call. */
export function problemOf(error: unknown): Problem {
  const failed = ConnectError.from(error);
  const info = failed.findDetails(ErrorInfoSchema)[0];
  const retry = failed.findDetails(RetryInfoSchema)[0];
  return {
    code: Code[failed.code]?.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase() ?? "UNKNOWN",
    reason: info?.reason ?? "",
    message: failed.rawMessage || "the server cannot be reached",
    places: placesOf(failed),
    metadata: info?.metadata ?? {},
    retryAfterMs: retry ? milliseconds(retry.retryDelay) : null,
  };
}

/** A problem that the page itself has found, without a call. */
export function ownProblem(message: string): Problem {
  return { code: "", reason: "", message, places: [], metadata: {}, retryAfterMs: null };
}

function placesOf(failed: ConnectError): Problem["places"] {
  const fields = failed.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations);
  const quotas = failed.findDetails(QuotaFailureSchema).flatMap((detail) => detail.violations);
  return [
    ...fields.map(({ field, description }) => ({ name: field, description })),
    ...failed.findDetails(ResourceInfoSchema).map((one) => ({ name: one.resourceName, description: one.description })),
    ...quotas.map(({ subject, description }) => ({ name: subject, description })),
  ].map(({ name, description }) => ({ name, description: failed.rawMessage.includes(description) ? "" : description }));
}
