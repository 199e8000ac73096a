// The readiness of a server, asked of grpc.health.v1.

import { setTimeout as sleep } from "node:timers/promises";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type Client, type Metadata, status } from "@grpc/grpc-js";
import { cancelled, notReady, ofCall, type SedError } from "./errors";

const SERVICE = "sed.v1.SegmentationService";
const SERVING = 1;

/** Codes of a server that may be ready later. */
const CODES_OF_WAITING = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.RESOURCE_EXHAUSTED];

/** Waits until the server accepts requests; throws the last error at the deadline, and at once one that stays. */
export async function untilServing(stub: Client, metadata: Metadata, deadline: number, signal?: AbortSignal) {
  for (;;) {
    const error = await check(stub, metadata, deadline, signal);
    if (error === undefined) return;
    const pause = 100 + 200 * Math.random();
    if (!CODES_OF_WAITING.includes(error.code) || Date.now() + pause >= deadline) throw error;
    await sleep(pause, undefined, { signal }).catch(() => {
      throw cancelled();
    });
  }
}

/** Calls `Check`; undefined where the server is serving, else the reason why not. */
function check(
  stub: Client,
  metadata: Metadata,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<SedError | undefined> {
  return new Promise((resolve) => {
    const cancel = () => call.cancel();
    const call = stub.makeUnaryRequest(
      "/grpc.health.v1.Health/Check",
      question,
      serving,
      SERVICE,
      metadata,
      { deadline },
      (error, isServing) => {
        signal?.removeEventListener("abort", cancel);
        if (error !== null) resolve(ofCall(error));
        else resolve(isServing ? undefined : notReady());
      },
    );
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) cancel();
  });
}

/** Writes a HealthCheckRequest, whose field 1 is the name of the service. */
function question(service: string): Buffer {
  return Buffer.from(new BinaryWriter().tag(1, 2).string(service).finish());
}

/** Reads a HealthCheckResponse, whose field 1 is the status. */
function serving(answer: Buffer): boolean {
  const reader = new BinaryReader(answer);
  let found = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) found = reader.int32();
    else reader.skip(wireType);
  }
  return found === SERVING;
}
