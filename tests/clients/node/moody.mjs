// What servers of our own say to the client: statuses as error_reason.proto has them, and empty answers.

import grpc from "@grpc/grpc-js";
import { ErrorInfo, RetryInfo } from "sed-serve-client/dist/generated/google/rpc/error_details.js";
import { Status } from "sed-serve-client/dist/generated/google/rpc/status.js";
import { Mask } from "sed-serve-client/dist/generated/sed/v1/mask.js";
import { SegmentResponse } from "sed-serve-client/dist/generated/sed/v1/segmentation_service.js";

/** A status with the details that the server sends. */
export function failure(code, reason, retrySeconds) {
  const any = (kind, type, fields) => ({
    typeUrl: `type.googleapis.com/google.rpc.${kind}`,
    value: Buffer.from(type.encode(type.fromPartial(fields)).finish()),
  });
  const details = [any("ErrorInfo", ErrorInfo, { reason, domain: "sed-serve", metadata: { limit: "1" } })];
  if (retrySeconds !== undefined) {
    const nanos = Math.round((retrySeconds % 1) * 1e9);
    details.push(any("RetryInfo", RetryInfo, { retryDelay: { seconds: Math.floor(retrySeconds), nanos } }));
  }
  return Status.fromPartial({ code, message: "not now", details });
}

/** The same as an error of grpc-js. */
export function fails(failure) {
  const trailer = new grpc.Metadata();
  trailer.set("grpc-status-details-bin", Buffer.from(Status.encode(failure).finish()));
  return { code: failure.code, details: failure.message, metadata: trailer };
}

/** An answer with a mask without pixels. */
export function nothing(unlabelledPixels, warnings = []) {
  const mask = Mask.fromPartial({ content: { $case: "rawIndices", value: Buffer.alloc(0) } });
  return SegmentResponse.fromPartial({ unlabelledPixels, masks: [mask], warnings });
}

/** Has a server listen; gives its port. */
export function listen(server) {
  return new Promise((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure();
    server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
}
