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
export { Live, type LiveAnswer } from "./live";
export type { Preparation } from "./preparation";
export type { Bytes, Options, Picture, Request, WordOptions, Words } from "./request";
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
export { RETRIES, type Retry } from "./retries";
export { type CocoResult, type CocoRle, type Point, type Polygon, polygons, rle, toCoco } from "./shapes";
export type { Pictures, StreamItem } from "./streamRequests";
export type { NamedVocabulary } from "./vocabulary";
