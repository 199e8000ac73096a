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
export type { Preparation } from "./preparation";
export type { Bytes, Options, Picture, WordOptions, Words } from "./request";
export {
  type Ambiguity,
  type BoundingBox,
  type CategoryResult,
  type ContrastReport,
  type InputWarning,
  maskOf,
  type RejectionReport,
  type Segmentation,
  type StageTime,
  type Timings,
} from "./result";
export type { StreamItem } from "./stream";
export type { NamedVocabulary } from "./vocabulary";
