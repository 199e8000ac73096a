import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { SegmentationService } from "../generated/sed/v1/segmentation_service_pb";
import { token } from "./token";

/** The server that this page comes from. */
export type Server = Client<typeof SegmentationService>;

const withToken: Interceptor = (next) => (request) => {
  const secret = token();
  if (secret) request.header.set("authorization", `Bearer ${secret}`);
  return next(request);
};

/** Returns a client of the server that this page comes from; it talks to no other. */
export function connect(): Server {
  return createClient(
    SegmentationService,
    createGrpcWebTransport({ baseUrl: window.location.origin, interceptors: [withToken], useBinaryFormat: true }),
  );
}
