// Client of sed-serve, a gRPC server for open-vocabulary semantic segmentation.

export { type Call, Client } from "./client";
export type { ConnectionOptions, Pem } from "./connection";
export {
  DeadlineExceeded,
  InvalidRequest,
  NotFound,
  Overloaded,
  PermissionDenied,
  SedError,
  Unauthenticated,
  Unavailable,
} from "./errors";
export type { GetServerInfoResponse } from "./generated/sed/v1/segmentation_service";
export type { NamedVocabulary } from "./generated/sed/v1/vocabulary";
export type { Bytes, Options, Picture, Words } from "./request";
export {
  type BoundingBox,
  type CategoryResult,
  type InputWarning,
  maskOf,
  type RejectionReport,
  type Segmentation,
  type StageTime,
  type Timings,
} from "./result";
export type { StreamItem } from "./stream";
